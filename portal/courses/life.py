"""The one place that writes a course's status."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor, roles_in
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.problems import Refused, Stale
from portal.lifecycle import HAS_STACK, Action, Circumstances, Refusal, Role, Status, possible_actions, transition
from portal.models import ChangeRequest, Course, TargetRecord


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


def lock_with_target(session: Session, course_id: object, *, version: int | None = None) -> tuple[Course, TargetRecord]:
    """The course and its target, both rows locked, always the target first: capacity is given out one at a time.

    Raises as `lock` does, and `Stale` where the course went to another target meanwhile.
    """
    name = session.scalar(select(Course.target_name).where(Course.id == course_id))
    if name is None:
        raise LookupError(f"no course {course_id}")
    target = session.scalars(
        select(TargetRecord)
        .where(TargetRecord.name == name)
        # not FOR UPDATE: whoever asks for a course there only refers to the row, and need not wait
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    course = lock(session, course_id, version=version)
    if course.target_name != name:
        raise Stale
    return course, target


def circumstances(
    clock: SiteClock, settings: PortalSettings, actor: Actor, course: Course, roles: AbstractSet[Role]
) -> Circumstances:
    """What people's actions on a course depend on. (What the scheduler's depend on, it knows itself.)"""
    return Circumstances(
        is_over=is_over(course, clock),
        stack_exists=course.status in HAS_STACK,
        is_own=Role.LEAD in roles or (actor.id is not None and actor.id == course.requested_by_id),
        own_approval_allowed=settings.allow_own_approval,
    )


def actions_of(
    clock: SiteClock, settings: PortalSettings, actor: Actor, course: Course, roles: AbstractSet[Role]
) -> frozenset[Action]:
    """What the actor can do to the course now: what its page offers."""
    return possible_actions(course.status, roles, circumstances(clock, settings, actor, course, roles))


def ensure(
    course: Course, action: Action, roles: AbstractSet[Role], circumstances: Circumstances | None = None
) -> Status:
    """The status that the action would lead to. Raises `Refused` where it is not possible."""
    found = transition(course.status, action, roles, circumstances)
    if isinstance(found, Refusal):
        raise Refused(found)
    return found


def begin(session: Session, clock: SiteClock, actor: Actor, course: Course, *, after: dict[str, Any]) -> None:
    """The first status of a course that was just made, and its first audit entry."""
    course.status = Status.REQUESTED
    course.status_since = clock.now()
    course.next_due_at = clock.now()
    session.add(course)
    session.flush()
    audit.record(session, clock, actor, "course.request", course=course, after={"status": course.status, **after})


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
    """Do an action to a course whose row is locked (`lock`): status, audit entry, what follows from the status alone,
    and due at once for the scheduler.

    What follows: the number and instant of a new closing, `closed_at`, `stack_gone_at`, their end by an extension;
    `people_revision` moves where access becomes another one; an open change request is void where nobody can decide
    it any more. Operations and mails are asked for by whoever acts.

    Raises `Refused` and changes nothing where `portal.lifecycle` says no.
    """
    found = ensure(course, action, roles_in(session, actor, course) if roles is None else roles, circumstances)
    old = course.status
    course.next_due_at = clock.now()
    if found is not old:
        course.status = found
        course.status_since = clock.now()
        _follow(session, clock, course, old)
        before, after = {"status": old, **(before or {})}, {"status": found, **(after or {})}
    audit.record(session, clock, actor, f"course.{action}", course=course, before=before, after=after)
    return found


_ACCESS = {Status.ACTIVE: "everybody", Status.CLOSING: "leads", Status.CLOSED: "leads"}
"""Who may be in the hub; in all other statuses nobody."""

_CHANGES_ARE_DECIDED = frozenset({Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE})


def _follow(session: Session, clock: SiteClock, course: Course, old: Status) -> None:
    """What a new status brings with it, whoever caused it."""
    new, now = course.status, clock.now()
    if _ACCESS.get(new) != _ACCESS.get(old):
        course.people_revision += 1
    if new is Status.CLOSING:
        course.closing += 1
        course.closing_since = now
    elif new is Status.CLOSED:
        course.closed_at = now
    elif new is Status.ARCHIVED:
        course.stack_gone_at = now
    elif new is Status.ACTIVE and old in (Status.CLOSING, Status.CLOSED):
        course.closing_since = course.closed_at = course.ended_early_at = None
    if old in _CHANGES_ARE_DECIDED and new not in _CHANGES_ARE_DECIDED:
        session.execute(
            update(ChangeRequest)
            .where(ChangeRequest.course_id == course.id, ChangeRequest.status == "open")
            .values(status="void", decided_at=now)
        )
