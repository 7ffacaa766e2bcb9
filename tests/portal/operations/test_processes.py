"""Scheduler and worker as they really run: loops, the queue, connections that break."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select, text, update

from automation.failures import Cancelled
from portal import db, migrations
from portal.actor import Actor
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.ending import end_early
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Attempt, Course, Lead, Operation, User
from portal.operations.attempts import Claim
from portal.operations.kinds import Kind
from portal.scheduler.leadership import LeadershipLost, leadership
from portal.scheduler.main import run as run_scheduler
from portal.scheduler.tick import tick
from portal.worker.kinds import Work
from portal.worker.main import SILENCE, _is_deaf
from portal.worker.main import run as run_worker
from portal.worker.runner import Runner
from tests.portal.makers import make_course
from tests.portal.operations.fakes import FakeWorld
from tests.support.database import database_server
from tests.support.waiting import wait_for

CLOCK = SiteClock(ZoneInfo("Europe/Berlin"))


@contextmanager
def scheduler(settings: PortalSettings) -> Iterator[None]:
    with _thread(lambda stop: run_scheduler(settings, stop, settled=lambda *_: True)):
        yield


@contextmanager
def worker(settings: PortalSettings, works: Mapping[Kind, Work], **changes: Any) -> Iterator[threading.Event]:
    with _thread(lambda stop: run_worker(settings, stop, works, beside=[], **changes)) as stop:
        yield stop


@contextmanager
def _thread(loop: Callable[[threading.Event], object]) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=loop, args=(stop,))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def quick(settings: PortalSettings) -> PortalSettings:
    return settings.model_copy(update={"tick_seconds": 0.1, "retry_seconds": 0.2})


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_a_process_that_nobody_can_call_shows_that_it_goes_on(name: str, quick: PortalSettings, tmp_path: Path) -> None:
    """Whoever watches over it sees one that hangs by the age of its file."""
    pulse = tmp_path / "pulse"
    shown = quick.model_copy(update={"pulse_file": pulse})
    with scheduler(shown) if name == "scheduler" else worker(shown, {}):
        wait_for(pulse.exists, "the process begins")
        os.utime(pulse, (0, 0))
        wait_for(lambda: pulse.stat().st_mtime > 0, "it goes on")


def course_for_today(sessions: Sessions) -> uuid.UUID:
    today = CLOCK.today()
    with transaction(sessions) as session:
        dates = {"first_day": today, "last_day": today + timedelta(days=5)}
        return make_course(session, CLOCK, status=Status.APPROVED, spec=dates).id


def status(sessions: Sessions, course_id: uuid.UUID) -> str:
    with sessions() as session:
        return session.get_one(Course, course_id).status


def test_a_due_course_becomes_active_by_two_schedulers_and_two_workers_with_each_effect_once(
    session_factory: Sessions, quick: PortalSettings
) -> None:
    world = FakeWorld()
    with scheduler(quick), scheduler(quick), worker(quick, world.works()), worker(quick, world.works()):
        courses = [course_for_today(session_factory) for _ in range(5)]
        for course_id in courses:
            wait_for(lambda c=course_id: status(session_factory, c) == Status.ACTIVE, "active")  # type: ignore[misc]
    assert len(world.done) == len(set(world.done)) == 10


def test_a_worker_that_ends_finishes_what_it_does(session_factory: Sessions, quick: PortalSettings) -> None:
    world = FakeWorld()
    begun, go_on = threading.Event(), threading.Event()

    def hang(_: str) -> None:
        begun.set()
        assert go_on.wait(30)

    world.before["deploy"] = hang
    course_id = course_for_today(session_factory)
    with scheduler(quick):
        with worker(quick, world.works()) as stop:
            assert begun.wait(30)
            stop.set()
            go_on.set()
        with session_factory() as session:
            # the check may have been handed out by now, or even taken: the worker looks five times a second
            deploy = session.query(Attempt.result).join(Operation).filter(Operation.kind == Kind.DEPLOY)
            assert deploy.one() == ("succeeded",)
        with worker(quick, world.works()):
            wait_for(lambda: status(session_factory, course_id) == Status.ACTIVE, "active")


def test_a_worker_that_ends_gives_back_what_it_cannot_finish(session_factory: Sessions, quick: PortalSettings) -> None:
    world = FakeWorld()
    begun = threading.Event()

    def hang(_: str) -> None:
        begun.set()
        assert world.cancelled.wait(30)
        world.before.clear()
        raise Cancelled("The operation was cancelled.")

    world.before["deploy"] = hang
    course_id = course_for_today(session_factory)
    with scheduler(quick):
        with worker(quick, world.works(), patience=0.1) as stop:
            assert begun.wait(30)
            stop.set()
        with worker(quick, world.works()):
            wait_for(lambda: status(session_factory, course_id) == Status.ACTIVE, "active")
    with session_factory() as session:
        results = [row.result for row in session.query(Attempt.result).order_by(Attempt.id)]
    assert results == ["cancelled", "succeeded", "succeeded"]


def test_a_worker_that_ends_waits_for_what_it_is_just_taking(
    session_factory: Sessions, quick: PortalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(session_factory, CLOCK, quick, FakeWorld().works())
    asked, answered = threading.Event(), threading.Event()
    claim = runner.claim

    def slow(attempt_id: int) -> Claim | None:
        asked.set()
        assert answered.wait(30)
        return claim(attempt_id)

    monkeypatch.setattr(runner, "claim", slow)
    course_id = course_for_today(session_factory)
    tick(session_factory, CLOCK, quick, lambda *_: True)
    with session_factory() as session:
        attempt_id = session.query(Attempt.id).one().id
    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(runner.work, attempt_id)
        assert asked.wait(30)
        assert not runner.leave(0, 0), "a thread of it is still at the database"
        answered.set()
        taken.result(30)
        assert runner.leave(0, 0)
    with session_factory() as session:
        assert [row.result for row in session.query(Attempt.result)] == ["cancelled"], "another worker goes on"
    assert status(session_factory, course_id) == Status.DEPLOYING


def test_a_deploy_that_is_ended_early_is_stopped_at_once_and_removed(
    session_factory: Sessions, quick: PortalSettings
) -> None:
    world = FakeWorld()
    begun = threading.Event()

    def hang(_: str) -> None:
        begun.set()
        assert world.cancelled.wait(30), "nobody asked the engine to stop"
        raise Cancelled("The operation was cancelled.")

    world.before["deploy"] = hang
    course_id = course_for_today(session_factory)
    with scheduler(quick), worker(quick.model_copy(update={"lease_seconds": 4}), world.works()):
        assert begun.wait(30)
        with transaction(session_factory) as session:
            lead = session.scalars(select(User).join(Lead, Lead.user_id == User.id)).one()
            end_early(session, CLOCK, Actor(lead), course_id, reason="Everybody is ill.")
        wait_for(lambda: status(session_factory, course_id) == Status.ARCHIVED, "archived")
    with session_factory() as session:
        kinds = session.execute(select(Operation.kind, Operation.status).order_by(Operation.number)).all()
    assert kinds == [("deploy", "cancelled"), ("destroy", "succeeded")]


def test_a_worker_that_is_idle_while_attempts_wait_takes_its_connection_for_dead(
    session_factory: Sessions, quick: PortalSettings
) -> None:
    course_id = course_for_today(session_factory)
    runner = Runner(session_factory, CLOCK, quick, {})
    assert not _is_deaf(session_factory, runner, places=1)
    tick(session_factory, CLOCK, quick, lambda *_: True)
    assert not _is_deaf(session_factory, runner, places=1), "it has just been queued"
    with transaction(session_factory) as session:
        session.execute(update(Attempt).values(queued_at=func.clock_timestamp() - 2 * SILENCE))
    assert _is_deaf(session_factory, runner, places=1)
    assert not _is_deaf(session_factory, runner, places=0), "one that is busy takes none"
    assert status(session_factory, course_id) == Status.DEPLOYING


def test_a_worker_whose_connections_are_cut_takes_jobs_again(
    engine: Engine, session_factory: Sessions, quick: PortalSettings
) -> None:
    world = FakeWorld()
    with scheduler(quick), worker(quick, world.works()):
        first = course_for_today(session_factory)
        wait_for(lambda: status(session_factory, first) == Status.ACTIVE, "active")
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    # autovacuum's workers are not ours to end
                    "WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
                )
            )
        second = course_for_today(session_factory)
        wait_for(lambda: status(session_factory, second) == Status.ACTIVE, "active")


def test_a_scheduler_whose_connection_is_cut_can_write_nothing_more(
    engine: Engine, database_url: str, session_factory: Sessions
) -> None:
    course_id = course_for_today(session_factory)
    own = db.connect(database_url)
    with leadership(own) as hands:
        assert hands is not None
        with leadership(engine) as other:
            assert other is None, "one acts at a time"
        with pytest.raises(Exception, match=r"terminat|closed|consuming"), transaction(hands) as session:
            session.get_one(Course, course_id).title = "changed by a ghost"
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            session.flush()
        with leadership(engine) as other:
            assert other is not None, "the lock ended with the connection"
        with pytest.raises(LeadershipLost):
            hands()
    own.dispose()
    with session_factory() as session:
        assert session.get_one(Course, course_id).title != "changed by a ghost"


def test_a_deploy_survives_ten_seconds_without_the_database() -> None:
    with database_server() as server:
        server.postgres.ensure_database("portal")
        url = server.url("portal")
        engine = db.connect(url)
        migrations.upgrade(engine)
        sessions = db.sessions(engine)
        settings = PortalSettings(
            database_url=url,
            secret_key="not a secret, but long enough for a test",
            public_url="https://portal.example.org",
            oidc_issuer="https://id.example.org",
            oidc_client_id="jhaas-portal",
            oidc_client_secret="not a secret either",
            tick_seconds=0.2,
        )
        world = FakeWorld()
        begun = threading.Event()

        def meanwhile(_: str) -> None:
            begun.set()
            # the database is away while the hub is made, and comes back before the result is told
            wait_for(lambda: server.process is None, "the database is away")
            time.sleep(8)

        world.after["deploy"] = meanwhile
        course_id = course_for_today(sessions)
        with scheduler(settings), worker(settings, world.works()):
            assert begun.wait(30)
            server.stop()
            time.sleep(10)
            server.start()
            engine.dispose()
            wait_for(lambda: status(sessions, course_id) == Status.ACTIVE, "active")
        assert [entry.split()[0] for entry in world.done] == ["deploy", "check"], "nothing was done twice"
        with sessions() as session:
            assert [row.result for row in session.query(Attempt.result)] == ["succeeded", "succeeded"]
        engine.dispose()
