"""What follows from an attempt's end: its one result, the operation's next step, the course, and who is told.

All of it is one transaction, conditional on the attempt being ours (or, for a lost one, still nobody else's).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from portal.actor import SYSTEM
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.life import act
from portal.lifecycle import Action, Status
from portal.mail.outbox import governance, notify
from portal.models import Attempt, Course, Operation
from portal.operations.ask import back_off
from portal.operations.attempts import Claim, held
from portal.operations.causes import CAUSES, SUPERSEDED, WORKER_LOST
from portal.operations.events import wake
from portal.operations.kinds import KIND_NAMES, Kind
from portal.operations.people import leads, participants
from portal.planning import destroy_at, purge_at


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The work was done; `details` goes into the attempt."""

    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The work was not done, for this reason: one sentence, and its kind (`portal.operations.causes`)."""

    reason: str
    kind: str = "OperationFailed"


@dataclass(frozen=True, slots=True)
class Stopped:
    """Somebody asked for it to stop, and it did."""

    reason: str


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The worker ends before the work does: another one takes it at once, and it counts as no try."""

    reason: str


Outcome = Succeeded | Failed | Stopped | GivenBack


def conclude(session: Session, clock: SiteClock, settings: PortalSettings, mine: Claim, outcome: Outcome) -> None:
    """Write the result of our attempt, once. Raises `AttemptLost` and writes nothing if it is no longer ours."""
    course, operation, attempt = held(session, mine)
    attempt.released_at = func.clock_timestamp()
    match outcome:
        case Succeeded(details):
            _end(attempt, "succeeded", details=details)
            _finish(clock, operation, "succeeded")
            _after_success(session, clock, settings, course, operation, details)
        case Failed():
            _end(attempt, "failed", outcome)
            after_failure(session, clock, settings, course, operation, outcome)
        case Stopped(reason):
            _end(attempt, "cancelled", Failed(reason, "Cancelled"))
            _finish(clock, operation, "cancelled", Failed(operation.cancel_reason or reason, SUPERSEDED))
        case GivenBack(reason):
            _end(attempt, "cancelled", Failed(reason, "Cancelled"))
            if operation.cancel_asked_at is not None:
                _finish(clock, operation, "cancelled", Failed(operation.cancel_reason, SUPERSEDED))
            else:
                operation.status, operation.tries = "waiting", operation.tries - 1
                operation.not_before = clock.now()
    course.next_due_at = clock.now()
    wake(session, mine.attempt_id)


def declare_lost(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    course: Course,
    operation: Operation,
    attempt: Attempt,
    reason: str,
) -> None:
    """The attempt's worker is gone: it gets its result here, and whatever its worker still writes is refused.

    All three rows are locked. Its processes may still live: the next attempt looks for them (`released_at`).
    """
    lost = Failed(reason, WORKER_LOST)
    _end(attempt, "lost", lost)
    after_failure(session, clock, settings, course, operation, lost)
    course.next_due_at = clock.now()
    wake(session, attempt.id)


def after_failure(
    session: Session, clock: SiteClock, settings: PortalSettings, course: Course, operation: Operation, why: Failed
) -> None:
    """Another try after a pause; when the tries are used up, what that means for the course, and people are told."""
    if operation.cancel_asked_at is not None:
        _finish(clock, operation, "cancelled", Failed(operation.cancel_reason, SUPERSEDED))
    elif operation.tries < operation.max_tries:
        operation.status, operation.failure, operation.failure_kind = "waiting", why.reason, why.kind
        operation.not_before = clock.now() + back_off(operation.tries, settings.retry_seconds)
    else:
        _finish(clock, operation, "failed", why)
        _give_up(session, clock, course, operation, why)


def _give_up(session: Session, clock: SiteClock, course: Course, operation: Operation, why: Failed) -> None:
    kind, event = Kind(operation.kind), _MAIL_OF_FAILURE.get(Kind(operation.kind))
    if kind in (Kind.DEPLOY, Kind.CHECK) and course.status == Status.DEPLOYING:
        act(session, clock, SYSTEM, course, Action.GIVE_UP_DEPLOY, after={"failure": why.reason})
        event = "deploy_failed"
    elif kind is Kind.DESTROY and course.status == Status.REMOVING:
        act(session, clock, SYSTEM, course, Action.GIVE_UP_REMOVAL, after={"failure": why.reason})
    elif kind is Kind.CHECK and course.checked_revision not in (None, operation.revision):
        # the change before it did harm; `portal.planning` goes back to what worked
        event = "update_failed"
    elif kind is Kind.UPDATE and operation.revision != course.approved_revision:
        event = "restore_failed"
    elif kind is Kind.REFRESH:
        # nobody is woken for a look that failed; the next night looks again
        course.drift, course.drift_checked_at = {"failure": why.reason}, clock.now()
    if kind in (Kind.CLOSE, Kind.ARCHIVE):
        # tried again and again until it succeeds: people are told once for each closing
        key = f"{course.id}:{event}:{operation.closing}"
    else:
        key = f"{course.id}:{event}:{operation.id}"
    if event is not None:
        cause = {"failure": CAUSES[why.kind]}
        notify(session, clock, event, key, leads(session, course), course=course, facts=cause)
        facts = {**cause, "details": why.reason, "kind": KIND_NAMES[kind], "operation_id": str(operation.id)}
        notify(session, clock, "operation_failed", f"{key}:governance", governance(session), course=course, facts=facts)


_MAIL_OF_FAILURE: dict[Kind, str] = {
    Kind.DEPLOY: "deploy_failed",
    Kind.UPDATE: "update_failed",
    Kind.CHECK: "check_failed",
    Kind.CLOSE: "close_failed",
    Kind.ARCHIVE: "archive_failed",
    Kind.DESTROY: "removal_failed",
}


def _after_success(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    course: Course,
    operation: Operation,
    details: dict[str, Any],
) -> None:
    """The course's next step. What the work itself found out it has written already, in transactions of its own."""
    now = clock.now()
    match Kind(operation.kind):
        case Kind.CHECK:
            course.checked_at, course.checked_revision = now, operation.revision
            if course.status == Status.DEPLOYING:
                act(session, clock, SYSTEM, course, Action.ACTIVATE)
                key = f"{course.id}:course_ready"
                everybody = {*leads(session, course), *participants(session, course)}
                notify(session, clock, "course_ready", key, everybody, course=course, facts={"hub_url": course.hub_url})
        case Kind.REFRESH:
            course.drift, course.drift_checked_at = (details if details.get("differences") else None), now
        case Kind.CLOSE if course.status == Status.CLOSING and operation.closing == course.closing:
            act(session, clock, SYSTEM, course, Action.FINISH_CLOSING)
            day = clock.day_of(destroy_at(course.closed_at or now, settings, clock))
            key = f"{course.id}:closing:{course.closing}"
            everybody = {*leads(session, course), *participants(session, course)}
            notify(session, clock, "closing", key, everybody, course=course, facts={"destroy_day": day})
        case Kind.DESTROY if course.status == Status.REMOVING:
            # the work has looked, independently, and found nothing; that is what `stack_exists` stands for
            act(session, clock, SYSTEM, course, Action.FINISH_REMOVAL)
            course.hub_url = course.api_url = course.api_token = None
            course.applied_revision = course.checked_revision = None
            if not course.closing:
                # it was never open to anybody: there are no homes to speak of
                notify(session, clock, "course_expired", f"{course.id}:expired", leads(session, course), course=course)
                return
            course.archive_ready_at = now
            day = clock.day_of(purge_at(now, settings, clock))
            everybody = {*leads(session, course), *participants(session, course)}
            key = f"{course.id}:archived:{course.closing}"
            notify(session, clock, "archived", key, everybody, course=course, facts={"until_day": day})


_NOTHING = Failed("", "")


def _end(attempt: Attempt, result: str, why: Failed = _NOTHING, details: dict[str, Any] | None = None) -> None:
    attempt.result, attempt.failure, attempt.failure_kind, attempt.details = result, why.reason, why.kind, details
    attempt.finished_at = func.clock_timestamp()


def _finish(clock: SiteClock, operation: Operation, status: str, why: Failed = _NOTHING) -> None:
    operation.status, operation.failure, operation.failure_kind = status, why.reason, why.kind
    operation.finished_at = clock.now()
