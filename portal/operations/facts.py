"""What planning knows of a course, read from its rows."""

from __future__ import annotations

from sqlalchemy import Row, case, exists, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from portal.lifecycle import Status
from portal.models import Attempt, Course, Operation
from portal.operations.kinds import Kind
from portal.planning import CourseFacts, LiveOperation, PastOperation

_APPLYING = ("deploy", "update")
_MAYBE = frozenset({Status.DEPLOYING, Status.DEPLOY_FAILED})
"""Statuses in which planning asks whether there is a stack; in the others the status says it."""


def facts_of(session: Session, course: Course, *, archives_settled: bool = False) -> CourseFacts:
    """The facts of a course, by one statement over its operations.

    `archives_settled` is what the homes that we know of say; unless governance waived the archives, it counts only once
    the storage itself was asked for homes: when an archive operation of this closing has succeeded.
    """
    past = Operation.status.in_(("succeeded", "failed"))
    group = case(
        (Operation.status.in_(("waiting", "running")), "live"),
        (past & Operation.kind.in_(_APPLYING), "applied"),
        (past & (Operation.kind == "check"), "checked"),
        (past & Operation.kind.in_(("close", "archive")) & (Operation.closing == course.closing), "closing"),
    )
    grouped = (
        select(
            group.label("group"),
            Operation.number,
            Operation.kind,
            Operation.revision,
            Operation.closing,
            Operation.status,
            Operation.finished_at,
            Operation.cancel_asked_at,
        )
        .where(Operation.course_id == course.id)
        .subquery()
    )
    rows = session.execute(
        select(grouped)
        .where(grouped.c.group.is_not(None))
        .ext(distinct_on(grouped.c.group))
        .order_by(grouped.c.group, grouped.c.number.desc())
    ).all()
    found = {row.group: row for row in rows}
    applied, checked = _past(found.get("applied")), _past(found.get("checked"))
    last = applied
    if checked is not None and (applied is None or found["checked"].number > found["applied"].number):
        last = checked
    closing = _past(found.get("closing"))
    archived = closing is not None and closing.kind is Kind.ARCHIVE and closing.succeeded
    waived = course.waived_closing is not None and course.waived_closing == course.closing
    live = None
    if row := found.get("live"):
        live = LiveOperation(Kind(row.kind), row.revision, row.closing, stopping=row.cancel_asked_at is not None)
    return CourseFacts(
        id=course.id,
        status=Status(course.status),
        first_day=course.first_day,
        last_day=course.last_day,
        ended_early=course.ended_early_at is not None,
        approved_revision=course.approved_revision,
        applied_revision=course.applied_revision,
        approved_failed=_approved_failed(session, course),
        stack_may_exist=course.status in _MAYBE and stack_may_exist(session, course),
        closing=course.closing,
        closed_at=course.closed_at,
        archives_settled=waived or (archives_settled and archived),
        drift_checked_at=course.drift_checked_at or course.checked_at or course.status_since,
        live=live,
        last=last,
        last_applied=applied,
        last_of_closing=closing,
    )


def stack_may_exist(session: Session, course: Course) -> bool:
    """Whether a worker ever began to deploy the course, and nobody has found since that nothing is there."""
    if course.stack_gone_at is not None:
        return False
    began = (
        select(Attempt.id)
        .join(Operation, Operation.id == Attempt.operation_id)
        .where(
            Operation.course_id == course.id, Operation.kind.in_(_APPLYING), Attempt.claimed_at.is_not(None)
        )
    )  # fmt: skip
    return bool(session.scalar(select(exists(began))))


def _approved_failed(session: Session, course: Course) -> bool:
    if course.applied_revision is None or course.applied_revision == course.approved_revision:
        return False
    failed = select(func.count()).where(
        Operation.course_id == course.id,
        Operation.kind == "update",
        Operation.revision == course.approved_revision,
        Operation.status == "failed",
    )
    return bool(session.scalar(failed))


def _past(row: Row[tuple[object, ...]] | None) -> PastOperation | None:
    if row is None:
        return None
    return PastOperation(Kind(row.kind), row.revision, row.closing, row.status == "succeeded", row.finished_at)
