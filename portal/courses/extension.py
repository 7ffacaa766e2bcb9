"""A later last day: for a course that runs, and for one that is closed and not yet removed."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from course_stack.spec import Problem
from portal.actor import Actor, roles_in
from portal.capacity import Fit
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people, room
from portal.courses.changes import carry_out, merged
from portal.courses.problems import Invalid, Refused
from portal.courses.specs import add_revision
from portal.lifecycle import Action, Refusal, Role, Status
from portal.mail.outbox import notify
from portal.models import Course, TargetRecord
from portal.operations.ask import live, stop
from portal.texts import N_

REMOVAL_BEGAN = Refusal("removal_began", N_("The course's hub is being removed; it cannot be extended any more."))


def extend(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    actor: Actor,
    course_id: uuid.UUID,
    last_day: dt.date,
) -> Course:
    """Let a course run until the end of `last_day`. Out of closing and closed it is active again, with everybody's
    access.

    Leads extend within `settings.extend_days` of what governance agreed to, governance further. Raises `Invalid` for
    the day, `Refused` where there is no room or the removal has begun.
    """
    course, target = life.lock_with_target(session, course_id)
    roles = roles_in(session, actor, course)
    now = life.circumstances(clock, settings, actor, course, roles)
    after = life.ensure(course, Action.EXTEND, roles, now)
    working = live(session, course)
    if working is not None and working.kind == "destroy":
        raise Refused(REMOVAL_BEGAN)
    room.ensure_room(fit(session, clock, settings, actor, course, target, last_day, roles))
    spec = merged(session, clock, course, {"last_day": last_day.isoformat()})
    before: dict[str, Any] = {"last_day": str(course.last_day), "revision": course.approved_revision}
    if course.last_day != last_day:
        add_revision(session, course, spec, author_id=actor.id, created_at=clock.now())
    if may_go_further(settings, roles):
        course.agreed_last_day = max(last_day, course.agreed_last_day or last_day)
    elif course.agreed_last_day is None:
        course.agreed_last_day = dt.date.fromisoformat(before["last_day"])
    if after is not course.status and working is not None:
        stop(session, clock, actor, course, working, "the course was extended")
    life.act(
        session,
        clock,
        actor,
        course,
        Action.EXTEND,
        now,
        roles=roles,
        before=before,
        after={"last_day": str(last_day), "revision": course.approved_revision},
    )
    carry_out(session, clock, actor, course)
    notify(
        session,
        clock,
        "course_extended",
        f"{course.id}:extended:{last_day}:{course.closing}",
        people.others(people.leads_of(session, course) + people.accepted_in(session, course), actor),
        course=course,
    )
    return course


def fit(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    actor: Actor,
    course: Course,
    target: TargetRecord,
    last_day: dt.date,
    roles: AbstractSet[Role],
) -> Fit:
    """Whether the course has room until that day. Raises `Invalid` where the day is not possible for the actor."""
    earliest, latest = bounds(clock, settings, course, roles)
    problems = []
    if last_day < earliest:
        problems.append(_problem(N_("is too early; {earliest} at the earliest"), earliest=str(earliest)))
    elif latest is not None and last_day > latest:
        problems.append(
            _problem(N_("is too late; {latest} at the latest. Governance can extend further."), latest=str(latest))
        )
    if problems:
        raise Invalid(problems)
    after = life.ensure(course, Action.EXTEND, roles, life.circumstances(clock, settings, actor, course, roles))
    spec = merged(session, clock, course, {"last_day": last_day.isoformat()})
    return room.fit(session, clock, settings, target, spec, course=course, status=after)


def bounds(
    clock: SiteClock, settings: PortalSettings, course: Course, roles: AbstractSet[Role]
) -> tuple[dt.date, dt.date | None]:
    """The earliest and the latest new last day for somebody with these roles; None: as far as a course may go."""
    reopens = course.status in (Status.CLOSING, Status.CLOSED)
    earliest = clock.today() if course.ended_early_at and reopens else course.last_day + timedelta(days=1)
    agreed = course.agreed_last_day or course.last_day
    latest = None if may_go_further(settings, roles) else agreed + timedelta(days=settings.extend_days)
    return max(earliest, clock.today()), latest


def may_go_further(settings: PortalSettings, roles: AbstractSet[Role]) -> bool:
    """Governance may, but not with a course of its own: nobody approves their own."""
    return Role.GOVERNANCE in roles and (Role.LEAD not in roles or settings.allow_own_approval)


def _problem(text: str, **values: str) -> Problem:
    return Problem("last_day", text, values, "last day")
