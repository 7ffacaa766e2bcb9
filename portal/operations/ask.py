"""Asking for an operation, and asking one to stop. A course has at most one that waits or runs."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.models import Attempt, Course, Operation
from portal.operations.causes import SUPERSEDED
from portal.operations.kinds import OF_A_CLOSING, RANK, TIME_TO_STOP, Kind

MAX_TRIES = 4
"""Tries of an operation where whoever asks does not say otherwise."""


def ask(
    session: Session,
    clock: SiteClock,
    actor: Actor,
    course: Course,
    kind: Kind | str,
    *,
    revision: int | None = None,
    not_before: datetime | None = None,
    max_tries: int = MAX_TRIES,
) -> Operation:
    """Ask for an operation on a course whose row is locked; `revision` is the approved one unless it is given.

    Gives back the course's live operation, which is one of three:
    - the new one, or the one that was there if it does just this (a waiting retry is then due at once);
    - one that goes before it (`kinds.RANK`): nothing was asked for;
    - one that runs and goes after it, now asked to stop (`cancel_asked_at`). What is wanted follows when it has
      stopped: the scheduler asks for what a course's status needs.
    """
    kind, revision, now = Kind(kind), revision or course.approved_revision, clock.now()
    closing = course.closing if kind in OF_A_CLOSING else None
    there = live(session, course)
    if there is not None:
        if (there.kind, there.revision, there.closing) == (kind, revision, closing):
            there.not_before = min(there.not_before, not_before or now)
            return there
        if RANK[kind] < RANK[Kind(there.kind)]:
            return there
        if not stop(session, clock, actor, course, there, f"{kind} was asked for"):
            return there
    return begin(session, clock, actor, course, kind, revision=revision, not_before=not_before, max_tries=max_tries)


def begin(
    session: Session,
    clock: SiteClock,
    actor: Actor,
    course: Course,
    kind: Kind,
    *,
    revision: int,
    not_before: datetime | None = None,
    max_tries: int = MAX_TRIES,
) -> Operation:
    """Write a new operation of a course whose row is locked, and of which is known that none is live."""
    now = clock.now()
    operation = Operation(
        id=uuid.uuid4(),
        course_id=course.id,
        kind=kind,
        revision=revision,
        closing=course.closing if kind in OF_A_CLOSING else None,
        status="waiting",
        not_before=not_before or now,
        max_tries=max_tries,
        created_at=now,
        created_by_id=actor.id,
    )
    session.add(operation)
    audit.record(
        session, clock, actor, f"operation.{kind}", course=course, subject=operation.id, after={"revision": revision}
    )
    return operation


def stop(session: Session, clock: SiteClock, actor: Actor, course: Course, operation: Operation, reason: str) -> bool:
    """End a live operation of a course whose row is locked. True if it is ended now, False if it is awaited.

    One that waits is superseded with its attempt, if nobody has claimed that. One that runs is asked to stop, and has
    `TIME_TO_STOP` for it.
    """
    if operation.status == "running":
        if operation.cancel_asked_at is None:
            operation.cancel_asked_at, operation.cancel_reason = clock.now(), reason
            soon = func.clock_timestamp() + TIME_TO_STOP
            session.execute(
                update(Attempt)
                .where(Attempt.operation_id == operation.id, Attempt.result.is_(None))
                .values(deadline=func.least(Attempt.deadline, soon))
            )
            audit.record(session, clock, actor, "operation.stop", course=course, subject=operation.id)
        return False
    session.execute(
        update(Attempt)
        .where(Attempt.operation_id == operation.id, Attempt.result.is_(None))
        .values(result="cancelled", failure=reason, failure_kind=SUPERSEDED, finished_at=func.clock_timestamp())
    )
    operation.status, operation.failure, operation.failure_kind = "superseded", reason, SUPERSEDED
    operation.finished_at = clock.now()
    audit.record(session, clock, actor, "operation.supersede", course=course, subject=operation.id)
    session.flush()
    return True


def live(session: Session, course: Course) -> Operation | None:
    """The operation of a course that waits or runs. With the course's row locked nobody else changes which one."""
    return session.scalar(
        select(Operation)
        .where(Operation.course_id == course.id, Operation.status.in_(("waiting", "running")))
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def back_off(tries: int, retry_seconds: float) -> timedelta:
    """The pause after so many failed tries: it triples with each, up to a day."""
    return timedelta(seconds=min(retry_seconds * 3 ** (max(tries, 1) - 1), 86_400))
