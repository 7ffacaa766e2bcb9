"""What planning knows of courses, read from their rows: a few statements, however many courses."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import Row, case, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from portal.lifecycle import Status
from portal.models import Attempt, Course, Operation
from portal.operations.kinds import Kind
from portal.planning import CourseFacts, LiveOperation, PastOperation

Settled = Callable[[Session, Course], bool]
"""Whether every home of the course's present closing is archived, or waived."""

_APPLYING = ("deploy", "update")


def facts_of(session: Session, courses: Sequence[Course], settled: Settled) -> dict[uuid.UUID, CourseFacts]:
    """The facts of courses whose rows are locked.

    `settled` is what the homes that we know of say; unless governance waived the archives, it counts only once the
    storage itself was asked for homes: when an archive operation of this closing has succeeded.
    """
    operations = _operations(session, [course.id for course in courses])
    failed = approved_failed(session, courses)
    begun = _begun(session, courses)
    found = {}
    for course in courses:
        groups = operations.get(course.id, {})
        applied, checked, closing = (_past(groups.get(name)) for name in ("applied", "checked", "closing"))
        last = applied
        if checked and (applied is None or groups["checked"].number > groups["applied"].number):
            last = checked
        found[course.id] = CourseFacts(
            id=course.id,
            status=Status(course.status),
            first_day=course.first_day,
            last_day=course.last_day,
            ended_early=course.ended_early_at is not None,
            approved_revision=course.approved_revision,
            applied_revision=course.applied_revision,
            checked_revision=course.checked_revision,
            approved_failed=course.id in failed,
            stack_may_exist=course.id in begun,
            closing=course.closing,
            closed_at=course.closed_at,
            archives_settled=_settled(session, course, closing, settled),
            drift_checked_at=course.drift_checked_at or course.checked_at or course.status_since,
            live=_live(groups.get("live")),
            last=last,
            last_applied=applied,
            last_of_closing=closing,
        )
    return found


def _operations(session: Session, courses: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, Row[tuple[object, ...]]]]:
    """Course → group → its last operation; superseded and cancelled ones say nothing."""
    past = Operation.status.in_(("succeeded", "failed"))
    group = case(
        (Operation.status.in_(("waiting", "running")), "live"),
        (past & Operation.kind.in_(_APPLYING), "applied"),
        (past & (Operation.kind == "check"), "checked"),
        (past & Operation.kind.in_(("close", "archive")) & (Operation.closing == Course.closing), "closing"),
    )
    grouped = (
        select(
            group.label("group"),
            Operation.course_id,
            Operation.number,
            Operation.kind,
            Operation.revision,
            Operation.closing,
            Operation.status,
            Operation.finished_at,
            Operation.cancel_asked_at,
        )
        .join(Course, Course.id == Operation.course_id)
        .where(Operation.course_id.in_(courses))
        .subquery()
    )
    rows = session.execute(
        select(grouped)
        .where(grouped.c.group.is_not(None))
        .ext(distinct_on(grouped.c.course_id, grouped.c.group))
        .order_by(grouped.c.course_id, grouped.c.group, grouped.c.number.desc())
    )
    found: dict[uuid.UUID, dict[str, Row[tuple[object, ...]]]] = {}
    for row in rows:
        found.setdefault(row.course_id, {})[row.group] = row
    return found


def _begun(session: Session, courses: Sequence[Course]) -> set[uuid.UUID]:
    """Of the courses that are being deployed: those of which a worker ever began to, so that a stack may exist. In all
    other statuses the status says it."""
    asked = [
        course.id
        for course in courses
        if course.status in (Status.DEPLOYING, Status.DEPLOY_FAILED) and course.stack_gone_at is None
    ]
    if not asked:
        return set()
    began = (
        select(Operation.course_id)
        .join(Attempt, Attempt.operation_id == Operation.id)
        .where(
            Operation.course_id.in_(asked), Operation.kind.in_(_APPLYING), Attempt.claimed_at.is_not(None)
        )
    )  # fmt: skip
    return set(session.scalars(began.distinct()))


def approved_failed(session: Session, courses: Sequence[Course]) -> set[uuid.UUID]:
    """Courses of which the last update to the approved revision failed for good, or the check after it."""
    asked = [
        course.id
        for course in courses
        if course.applied_revision is not None
        and {course.applied_revision, course.checked_revision} != {course.approved_revision}
    ]
    if not asked:
        return set()
    last = (
        select(Operation.course_id, Operation.status)
        .join(Course, Course.id == Operation.course_id)
        .where(
            Operation.course_id.in_(asked),
            Operation.kind.in_(("update", "check")),
            Operation.revision == Course.approved_revision,
            Operation.status.in_(("succeeded", "failed")),
        )
        .ext(distinct_on(Operation.course_id))
        .order_by(Operation.course_id, Operation.number.desc())
    )
    return {course_id for course_id, status in session.execute(last) if status == "failed"}


def _settled(session: Session, course: Course, closing: PastOperation | None, settled: Settled) -> bool:
    if course.status != Status.CLOSED:
        return False
    if course.waived_closing is not None and course.waived_closing == course.closing:
        return True
    archived = closing is not None and closing.kind is Kind.ARCHIVE and closing.succeeded
    return archived and settled(session, course)


def _live(row: Row[tuple[object, ...]] | None) -> LiveOperation | None:
    if row is None:
        return None
    return LiveOperation(Kind(row.kind), row.revision, row.closing, stopping=row.cancel_asked_at is not None)


def _past(row: Row[tuple[object, ...]] | None) -> PastOperation | None:
    if row is None:
        return None
    return PastOperation(Kind(row.kind), row.revision, row.closing, row.status == "succeeded", row.finished_at)
