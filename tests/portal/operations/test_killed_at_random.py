"""Workers and schedulers that are killed at random moments while courses are deployed and end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from portal import demo
from portal.actor import SYSTEM
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Attempt, Course, Mail, Operation
from tests.portal.makers import make_course, make_target, make_user
from tests.portal.operations.test_processes import CLOCK
from tests.support.portal import environment_of
from tests.support.waiting import wait_for

COURSES = 20
ROLES = ("worker", "worker", "scheduler", "scheduler")


class Processes:
    """Some processes of each role; one that is killed is started again."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self.running = [self._start(role) for role in ROLES]
        self.kills: Counter[str] = Counter()

    def kill(self, which: int) -> None:
        self.running[which].send_signal(signal.SIGKILL)
        self.running[which].wait(30)
        self.kills[ROLES[which]] += 1
        self.running[which] = self._start(ROLES[which])

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait(30)

    def _start(self, role: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.portal.operations.file_stacks", role],
                env=self._environment,
                cwd=Path(__file__).parents[3],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_nothing_is_lost_and_nothing_happens_twice_at_once(
    session_factory: Sessions, settings: PortalSettings, tmp_path: Path
) -> None:
    environment = environment_of(
        settings,
        FILE_STACKS=str(tmp_path),
        JHAAS_LEASE_SECONDS="3",
        JHAAS_RETRY_SECONDS="0.2",
        JHAAS_TICK_SECONDS="0.1",
        JHAAS_MAX_TRIES="20",
        JHAAS_GRACE_DAYS="0",
        JHAAS_DEMO="true",
    )
    draw = random.Random(20270308)
    today = CLOCK.today()
    with transaction(session_factory) as session:
        target = make_target(session, parallel_operations=6)
        lead = make_user(session, CLOCK, teacher=True)
        dates = {"first_day": today, "last_day": today + timedelta(days=5)}
        courses = [
            make_course(session, CLOCK, lead, status=Status.APPROVED, target=target, spec=dates)
            for _ in range(COURSES)
        ]  # fmt: skip

    def all_are(status: Status) -> bool:
        with session_factory() as session:
            return session.scalar(select(func.count()).where(Course.status == status)) == COURSES

    def has_moved(claimed: int, goal: Status) -> bool:
        return _claimed(session_factory) >= claimed or all_are(goal)

    processes = Processes(environment, tmp_path / "log")
    try:
        for goal in (Status.ACTIVE, Status.ARCHIVED):
            for _ in range(12):
                # a moment that no clock decides: when so many more attempts were claimed
                enough = _claimed(session_factory) + draw.randint(0, 4)
                wait_for(partial(has_moved, enough, goal), "work", 90)
                processes.kill(draw.randrange(len(ROLES)))
            wait_for(partial(all_are, goal), str(goal), 300)
            if goal is Status.ACTIVE:
                with transaction(session_factory) as session:
                    demo.move(session, CLOCK, SYSTEM, days=8)
    finally:
        processes.end()
        print((tmp_path / "log").read_text()[-4000:])
    journal = (tmp_path / "journal").read_text().splitlines()
    assert [line for line in journal if line.startswith("overlap")] == []
    assert list(tmp_path.glob("*.stack")) == []
    assert {line for line in journal if line.startswith("destroy")} == {f"destroy {one.slug}" for one in courses}
    assert processes.kills["worker"] > 3
    assert processes.kills["scheduler"] > 3
    with session_factory() as session:
        open_attempts = session.scalars(select(Attempt.id).where(Attempt.result.is_(None))).all()
        results = Counter(session.scalars(select(Attempt.result)))
        succeeded = Counter(
            session.execute(
                select(Operation.course_id, Operation.kind)
                .join(Attempt, Attempt.operation_id == Operation.id)
                .where(Attempt.result == "succeeded", Operation.kind != "refresh")
            ).all()
        )
        mails = Counter(session.scalars(select(Mail.event)))
    assert open_attempts == []
    assert results["lost"] > 0, "some were killed in the middle of their work"
    assert set(succeeded.values()) == {1}, "each operation has succeeded once"
    assert len(succeeded) == COURSES * 5
    assert (mails["course_ready"], mails["closing"], mails["archived"]) == (COURSES, COURSES, COURSES)


def _claimed(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count(Attempt.id)).where(Attempt.claimed_at.is_not(None))) or 0
