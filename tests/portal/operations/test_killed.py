"""Workers that are killed in the middle of a real operation."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from automation import processes
from course_stack.local.layout import Layout
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Attempt, Course
from portal.operations.leases import engine_id
from tests.automation.tiny import journal
from tests.portal.makers import make_course, make_target
from tests.portal.operations.real import things
from tests.portal.operations.test_processes import CLOCK, scheduler, status
from tests.support.portal import environment_of
from tests.support.waiting import wait_for


@contextmanager
def real_worker(settings: PortalSettings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = environment_of(settings, JHAAS_LEASE_SECONDS="4", JHAAS_RETRY_SECONDS="0.2")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.portal.operations.real"],
            env=environment,
            cwd=Path(__file__).parents[3],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)
            print(log.read_text())  # shown where the test fails


@pytest.mark.parametrize("child_too", [False, True], ids=["the child lives on", "the child dies too"])
def test_a_deploy_whose_worker_is_killed_is_finished_by_another_and_nothing_of_the_first_lives_beside_it(
    session_factory: Sessions, settings: PortalSettings, short_home: Layout, child_too: bool
) -> None:
    quick = settings.model_copy(update={"tick_seconds": 0.1, "retry_seconds": 0.2, "lease_seconds": 4.0})
    home = short_home.home
    with transaction(session_factory) as session:
        target = make_target(session)
        target.target = {**target.target, "home": str(home)}
        today = CLOCK.today()
        dates = {"first_day": today, "last_day": today + timedelta(days=5)}
        course = make_course(session, CLOCK, status=Status.APPROVED, spec=dates, target=target)
    folder = things(home, course.slug)
    folder.mkdir(parents=True)
    (home / "state").mkdir()
    slow = folder / "slow.json"
    slow.write_text(json.dumps({"create one": 120}))
    log = home / "worker.log"

    with scheduler(quick):
        with real_worker(quick, log) as first:
            wait_for(lambda: "dwell create one" in journal(folder), "the provider has made the first file")
            with session_factory() as session:
                mine = session.query(Attempt).one()
            operation = engine_id(course.slug, "deploy", mine.id)
            first.send_signal(signal.SIGKILL)
            first.wait(30)
            children = processes.of_operation(operation)
            assert children, "the child outlives its worker"
            if child_too:
                for pid in children:
                    processes.send(pid, signal.SIGKILL)
        slow.unlink()
        with real_worker(quick, log):
            wait_for(lambda: status(session_factory, course.id) == Status.ACTIVE, "active", seconds=120)
    assert processes.of_operation(operation) == []
    with session_factory() as session:
        attempts = session.query(Attempt).order_by(Attempt.id).all()
        assert [one.result for one in attempts] == ["lost", "succeeded", "succeeded"]
        lost, second, _ = attempts
        assert lost.released_at is not None
        assert second.finished_at is not None
        assert lost.released_at < second.finished_at, "proven dead before the second began its work"
        assert session.get_one(Course, course.id).hub_url == f"https://{course.slug}.hubs.example.net/"
    assert sorted(path.name for path in folder.iterdir() if path.name != "journal") == ["one", "two"]
    assert "very-secret-value" not in log.read_text()
