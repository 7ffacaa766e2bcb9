"""What governance asks of the platform as a whole: does work wait, who works, what failed, what is not as it should be.

Everything is read from the database; workers, who alone reach targets, write down there what they find
(`portal.worker.inventory`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from portal.clock import SiteClock
from portal.db import database_now
from portal.lifecycle import Status
from portal.models import Attempt, Course, Mail, Operation, TargetRecord

RECENT = timedelta(days=7)
"""For how long failed operations are shown."""

MOST = 25
"""Rows of one list."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process that holds attempts."""

    name: str
    attempts: tuple[Attempt, ...]
    """With operation and course."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Work that waits. Figures are counts of operations, courses and mails."""

    due: int
    """Operations whose time has come and that no worker has."""
    later: int
    running: int
    oldest_due: datetime | None
    courses_due: int
    mails_waiting: int
    mails_given_up: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything of the page."""

    queue: Queue
    workers: tuple[Worker, ...]
    now: datetime
    """By the database's clock, as leases are."""
    failed: Sequence[Operation]
    stuck: Sequence[Course]
    """Courses that wait for somebody to decide what shall happen."""
    drifted: Sequence[Course]
    targets: Sequence[TargetRecord]

    @property
    def in_order(self) -> bool:
        """Nothing for anybody to look at."""
        strange = any(any((target.inventory or {}).values()) for target in self.targets)
        return not (self.stuck or self.drifted or strange or self.late_leases or self.queue.mails_given_up)

    @property
    def late_leases(self) -> int:
        """Attempts whose worker did not renew its lease in time."""
        return sum(
            attempt.lease_until is not None and attempt.lease_until < self.now
            for worker in self.workers
            for attempt in worker.attempts
        )


def overview(session: Session, clock: SiteClock) -> Overview:
    """Read it, with a number of statements that does not grow with the number of courses."""
    now = clock.now()
    return Overview(
        queue=_queue(session, now),
        workers=_workers(session),
        now=database_now(session),
        failed=session.scalars(
            select(Operation)
            .options(joinedload(Operation.course))
            .where(Operation.status == "failed", Operation.created_at > now - RECENT)
            .order_by(Operation.number.desc())
            .limit(MOST)
        ).all(),
        stuck=session.scalars(
            select(Course)
            .where(Course.status.in_((Status.DEPLOY_FAILED, Status.REMOVAL_FAILED)))
            .order_by(Course.status_since)
            .limit(MOST)
        ).all(),
        drifted=session.scalars(
            select(Course).where(Course.drift.is_not(None)).order_by(Course.drift_checked_at.desc()).limit(MOST)
        ).all(),
        targets=session.scalars(select(TargetRecord).order_by(TargetRecord.name)).all(),
    )


def _queue(session: Session, now: datetime) -> Queue:
    waiting = Operation.status == "waiting"
    due, later, running, oldest = session.execute(
        select(
            func.count().filter(waiting, Operation.not_before <= now),
            func.count().filter(waiting, Operation.not_before > now),
            func.count().filter(Operation.status == "running"),
            func.min(Operation.not_before).filter(waiting, Operation.not_before <= now),
        ).where(Operation.status.in_(("waiting", "running")))
    ).one()
    courses = session.scalar(select(func.count()).select_from(Course).where(Course.next_due_at <= now))
    unsent = Mail.sent_at.is_(None)
    mails, given_up = session.execute(
        select(
            func.count().filter(Mail.given_up_at.is_(None), Mail.not_before <= now),
            func.count().filter(Mail.given_up_at.is_not(None)),
        ).where(unsent)
    ).one()
    return Queue(due, later, running, oldest, courses or 0, mails, given_up)


def _workers(session: Session) -> tuple[Worker, ...]:
    held = session.scalars(
        select(Attempt)
        .options(joinedload(Attempt.operation).joinedload(Operation.course))
        .where(Attempt.result.is_(None), Attempt.claimed_at.is_not(None))
        .order_by(Attempt.worker, Attempt.id)
    ).all()
    return tuple(_by_worker(held))


def _by_worker(attempts: Iterable[Attempt]) -> Iterable[Worker]:
    names: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        names.setdefault(attempt.worker or "", []).append(attempt)
    return (Worker(name, tuple(held)) for name, held in names.items())
