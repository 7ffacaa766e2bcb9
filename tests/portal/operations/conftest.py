"""A portal's scheduler and workers, moved step by step on a real database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Attempt, AttemptEvent, Course, Mail, Operation
from portal.operations.ask import live
from portal.operations.attempts import Claim
from portal.scheduler.tick import Report, tick
from portal.worker.keeper import Keeper
from portal.worker.runner import Runner
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course
from tests.portal.operations.fakes import FakeWorld


@dataclass
class Stage:
    """Scheduler, workers and fake stacks; nothing moves by itself."""

    sessions: Sessions
    clock: MovableClock
    settings: PortalSettings
    world: FakeWorld = field(default_factory=FakeWorld)

    def course(self, **facts: Any) -> uuid.UUID:
        """A course that is approved, unless it is said otherwise."""
        with transaction(self.sessions) as session:
            return make_course(session, self.clock, **({"status": Status.APPROVED} | facts)).id

    def look(self, course_id: uuid.UUID) -> Course:
        with self.sessions() as session:
            return session.get_one(Course, course_id)

    def status(self, course_id: uuid.UUID) -> Status:
        return Status(self.look(course_id).status)

    def tick(self, times: int = 1) -> Report:
        """What the scheduler does in so many ticks; the last one's report."""
        for _ in range(times):
            report = tick(self.sessions, self.clock, self.settings, self.settled)
            assert report.failed == []
        return report

    def settled(self, session: Session, course: Course) -> bool:
        return str(course.id) not in self.world.unarchived

    def runner(self) -> Runner:
        return Runner(self.sessions, self.clock, self.settings, self.world.works())

    def unclaimed(self) -> list[int]:
        """Attempts that the queue would deliver."""
        with self.sessions() as session:
            return list(
                session.scalars(
                    select(Attempt.id)
                    .where(Attempt.result.is_(None), Attempt.claimed_at.is_(None))
                    .order_by(Attempt.id)
                )
            )

    def work(self) -> int:
        """Carry out whatever waits in the queue, one after the other."""
        attempts = self.unclaimed()
        for attempt in attempts:
            self.runner().work(attempt)
        return len(attempts)

    def settle(self, rounds: int = 12) -> None:
        """Scheduler and worker in turn until nothing moves any more without the clock."""
        for _ in range(rounds):
            self.tick()
            if not self.work():
                return
        raise AssertionError("it never comes to rest")

    def claim(self, attempt: int | None = None, runner: Runner | None = None) -> tuple[Runner, Claim, Keeper]:
        """A worker that has claimed the next attempt, and does nothing yet."""
        runner = runner or self.runner()
        mine = runner.claim(attempt or self.unclaimed()[0])
        assert mine is not None
        return runner, mine, Keeper(self.sessions, mine, self.settings.lease_seconds)

    def end_leases(self) -> None:
        """As if every worker had been silent for the lifetime of its lease."""
        with transaction(self.sessions) as session:
            session.execute(
                update(Attempt)
                .where(Attempt.result.is_(None), Attempt.claimed_at.is_not(None))
                .values(lease_until=func.clock_timestamp() - timedelta(seconds=1))
            )

    def operations(self, course_id: uuid.UUID) -> list[tuple[str, str]]:
        """(kind, status) of all operations of the course, in order."""
        with self.sessions() as session:
            rows = session.execute(
                select(Operation.kind, Operation.status)
                .where(Operation.course_id == course_id)
                .order_by(Operation.number)
            )
            return [(kind, status) for kind, status in rows]

    def live(self, course_id: uuid.UUID) -> Operation | None:
        with self.sessions() as session:
            return live(session, session.get_one(Course, course_id))

    def attempts(self, course_id: uuid.UUID) -> list[Attempt]:
        with self.sessions() as session:
            return list(
                session.scalars(
                    select(Attempt).join(Operation).where(Operation.course_id == course_id).order_by(Attempt.id)
                )
            )

    def events(self, attempt_id: int) -> list[tuple[int, str]]:
        with self.sessions() as session:
            rows = session.execute(
                select(AttemptEvent.n, AttemptEvent.type)
                .where(AttemptEvent.attempt_id == attempt_id)
                .order_by(AttemptEvent.n)
            )
            return [(n, kind) for n, kind in rows]

    def mails(self, course_id: uuid.UUID) -> list[str]:
        """Events of the course's mails, in order."""
        with self.sessions() as session:
            return list(
                session.scalars(
                    select(Mail.event).where(Mail.course_id == course_id).order_by(Mail.created_at, Mail.event)
                )
            )

    def do(self, course_id: uuid.UUID, deed: Callable[[Session, Course], object]) -> None:
        """A person's deed, in a transaction with the course's row locked."""
        from portal.courses.life import lock

        with transaction(self.sessions) as session:
            deed(session, lock(session, course_id))


@pytest.fixture
def stage(session_factory: Sessions, clock: MovableClock, settings: PortalSettings) -> Stage:
    return Stage(session_factory, clock, settings)
