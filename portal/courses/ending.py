"""The end before the last day, and another try where the bounded tries failed."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from portal.actor import Actor, roles_in
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people
from portal.courses.requests import reason_of
from portal.lifecycle import Action, Status
from portal.mail.outbox import notify
from portal.models import Course
from portal.operations.ask import ask

_WORK = {Status.CLOSING: "close", Status.REMOVING: "destroy", Status.DEPLOYING: "deploy"}
"""What brings a course on from these statuses."""


def end_early(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, *, reason: str) -> Course:
    """End a course before its last day: it closes as if that day had passed. Files are archived as always.

    The reason is told to everybody in the course. Raises `Invalid`, `Refused`.
    """
    reason = reason_of(reason, required=True)
    course = life.lock(session, course_id)
    roles = roles_in(session, actor, course)
    life.ensure(course, Action.END_EARLY, roles)
    course.ended_early_at, course.reason = clock.now(), reason
    status = life.act(session, clock, actor, course, Action.END_EARLY, roles=roles, after={"reason": reason})
    ask(session, clock, actor, course, _WORK[status])
    notify(
        session,
        clock,
        "course_ended_early",
        f"{course.id}:ended_early:{course.closing}",
        people.others(people.leads_of(session, course) + people.accepted_in(session, course), actor),
        course=course,
        facts={"reason": reason},
    )
    return course


def retry(session: Session, clock: SiteClock, settings: PortalSettings, actor: Actor, course_id: uuid.UUID) -> Course:
    """Deploy or remove again after the bounded tries failed. Raises `Refused`: over, not failed, or not yours."""
    course = life.lock(session, course_id)
    roles = roles_in(session, actor, course)
    now = life.circumstances(clock, settings, actor, course, roles)
    status = life.act(session, clock, actor, course, Action.RETRY, now, roles=roles)
    ask(session, clock, actor, course, _WORK[status])
    return course
