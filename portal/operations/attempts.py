"""The attempt row: one try of an operation, claimed by one worker, with a lease and exactly one result.

Rows are always locked in the order course, operation, attempt. Leases and deadlines go by the database's clock.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal.courses.life import lock
from portal.models import Attempt, Course, Operation
from portal.operations.kinds import DEADLINE, Kind
from portal.worker.run import AttemptLost


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker holds: the right to work on this attempt until its lease ends."""

    attempt_id: int
    number: int
    operation_id: uuid.UUID
    course_id: uuid.UUID
    kind: Kind
    revision: int
    closing: int
    worker: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """What the attempt's row said when its lease was renewed."""

    stop_asked: bool
    deadline_passed: bool


def claim(session: Session, attempt_id: int, worker: str, lease: timedelta) -> Claim | None:
    """Take an attempt that nobody has taken; None if somebody has, or if it is over. A second delivery of the same job
    finds it taken."""
    found = session.execute(
        select(Operation.id, Operation.course_id)
        .join(Attempt, Attempt.operation_id == Operation.id)
        .where(Attempt.id == attempt_id)
    ).first()
    if found is None:
        return None
    lock(session, found.course_id)
    operation = session.get_one(Operation, found.id, with_for_update=True, populate_existing=True)
    if operation.status != "waiting":
        return None
    kind = Kind(operation.kind)
    now = func.clock_timestamp()
    taken = session.execute(
        update(Attempt)
        .where(Attempt.id == attempt_id, Attempt.result.is_(None), Attempt.claimed_at.is_(None))
        .values(worker=worker, claimed_at=now, lease_until=now + lease, deadline=now + DEADLINE[kind])
        .returning(Attempt.number)
    ).first()
    if taken is None:
        return None
    operation.status, operation.tries = "running", operation.tries + 1
    return Claim(
        attempt_id,
        taken.number,
        operation.id,
        operation.course_id,
        kind,
        operation.revision,
        operation.closing or 0,
        worker,
    )


def renew(session: Session, mine: Claim, lease: timedelta) -> Renewal:
    """Move the end of the lease. Raises `AttemptLost`."""
    found = session.execute(
        update(Attempt)
        .where(Attempt.id == mine.attempt_id, Attempt.worker == mine.worker, Attempt.result.is_(None))
        .where(Operation.id == Attempt.operation_id)
        .values(lease_until=func.clock_timestamp() + lease)
        .returning(Operation.cancel_asked_at, Attempt.deadline <= func.clock_timestamp())
        .execution_options(synchronize_session=False)
    ).first()
    if found is None:
        raise AttemptLost
    asked, passed = found
    return Renewal(asked is not None, bool(passed))


def guard(session: Session, mine: Claim) -> Attempt:
    """Our attempt with its row locked until the end of the transaction. Raises `AttemptLost` if it is no longer ours:
    whoever writes anything in an attempt's name calls this first."""
    found = session.scalar(
        select(Attempt)
        .where(Attempt.id == mine.attempt_id, Attempt.worker == mine.worker, Attempt.result.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise AttemptLost
    return found


def held(session: Session, mine: Claim) -> tuple[Course, Operation, Attempt]:
    """The three rows of our attempt, locked. Raises `AttemptLost`."""
    course = lock(session, mine.course_id)
    operation = session.get_one(Operation, mine.operation_id, with_for_update=True, populate_existing=True)
    return course, operation, guard(session, mine)


def predecessors(session: Session, mine: Claim) -> list[tuple[str, int]]:
    """Earlier attempts on our course of which something may still live: (kind, attempt), oldest first."""
    rows = session.execute(
        select(Operation.kind, Attempt.id)
        .join(Attempt, Attempt.operation_id == Operation.id)
        .where(
            Operation.course_id == mine.course_id,
            Attempt.claimed_at.is_not(None),
            Attempt.released_at.is_(None),
            Attempt.id != mine.attempt_id,
        )
        .order_by(Attempt.id)
    )
    return [(kind, attempt) for kind, attempt in rows]


def release(session: Session, attempt_ids: list[int]) -> None:
    """Nothing of these attempts lives any more."""
    session.execute(
        update(Attempt)
        .where(Attempt.id.in_(attempt_ids), Attempt.released_at.is_(None))
        .values(released_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
