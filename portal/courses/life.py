"""The one place that writes a course's status."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor, roles_in
from portal.clock import SiteClock
from portal.courses.problems import Refused, Stale
from portal.lifecycle import Action, Circumstances, Refusal, Role, Status, transition
from portal.models import Course


def lock(session: Session, course_id: object, *, version: int | None = None) -> Course:
    """The course with its row locked until the end of the transaction, as it is now.

    `version` is the one that a page was made from: raises `Stale` where the course has changed since. Raises
    `LookupError` for no such course.
    """
    found = session.scalar(
        select(Course).where(Course.id == course_id).with_for_update().execution_options(populate_existing=True)
    )
    if found is None:
        raise LookupError(f"no course {course_id}")
    if version is not None and found.version != version:
        raise Stale
    return found


def is_over(course: Course, clock: SiteClock) -> bool:
    """Its last day has passed at the site, or it was ended early."""
    return course.ended_early_at is not None or clock.now() >= clock.end(course.last_day)


def act(
    session: Session,
    clock: SiteClock,
    actor: Actor,
    course: Course,
    action: Action,
    circumstances: Circumstances | None = None,
    *,
    roles: AbstractSet[Role] | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> Status:
    """Do an action to a course whose row is locked (`lock`): status, audit entry, and due at once for the scheduler.

    Raises `Refused` and changes nothing where `portal.lifecycle` says no.
    """
    found = transition(
        course.status, action, roles if roles is not None else roles_in(session, actor, course), circumstances
    )
    if isinstance(found, Refusal):
        raise Refused(found)
    old = course.status
    course.next_due_at = clock.now()
    if found is not old:
        course.status = found
        course.status_since = clock.now()
        before, after = {"status": old, **(before or {})}, {"status": found, **(after or {})}
    audit.record(session, clock, actor, f"course.{action}", course=course, before=before, after=after)
    return found
