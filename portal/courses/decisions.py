"""Approving and rejecting what was asked for. One decision at a time for each target: capacity is given out once."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from portal.actor import Actor, roles_in
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people, room
from portal.courses.problems import Moved
from portal.courses.requests import reason_of
from portal.courses.specs import spec_of
from portal.lifecycle import Action
from portal.mail.outbox import notify
from portal.models import Course


def approve(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    actor: Actor,
    course_id: uuid.UUID,
    *,
    version: int,
    seen: str | None = None,
) -> Course:
    """Approve a request: from now on it holds its part of the target, and the scheduler deploys it in time.

    `version` and `seen` (`room.written`) are what the page was made from. Raises `Stale` where somebody else was
    first, `Moved` where the figures are others now (None: not asked), `Refused` where there is no room.
    """
    course, target = life.lock_with_target(session, course_id, version=version)
    roles = roles_in(session, actor, course)
    now = life.circumstances(clock, settings, actor, course, roles)
    life.ensure(course, Action.APPROVE, roles, now)
    found = room.fit(session, clock, settings, target, spec_of(session, course), course=course)
    if seen is not None and seen != room.written(found):
        raise Moved(found)
    room.ensure_room(found)
    course.decided_by_id, course.decided_at = actor.id, clock.now()
    course.agreed_last_day = course.last_day
    life.act(
        session,
        clock,
        actor,
        course,
        Action.APPROVE,
        now,
        roles=roles,
        after={"revision": course.approved_revision, "figures": room.written(found)},
    )
    notify(
        session,
        clock,
        "course_approved",
        f"{course.id}:approved",
        people.others(people.leads_of(session, course), actor),
        course=course,
    )
    return course


def reject(
    session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, *, version: int, reason: str
) -> Course:
    """Reject a request, with the reason that its leads are told. Raises `Invalid`, `Refused`, `Stale`."""
    reason = reason_of(reason, required=True)
    course = life.lock(session, course_id, version=version)
    course.decided_by_id, course.decided_at, course.reason = actor.id, clock.now(), reason
    life.act(session, clock, actor, course, Action.REJECT, after={"reason": reason})
    notify(
        session,
        clock,
        "course_rejected",
        f"{course.id}:rejected",
        people.others(people.leads_of(session, course), actor),
        course=course,
        facts={"reason": reason},
    )
    return course
