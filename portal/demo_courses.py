"""What a demo begins with: people who were here before, one course that is being set up, and one that waits.

All of it goes through the portal's own use cases, so that a demo shows nothing that the portal does not do.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.actor import Actor
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import decisions, requests
from portal.courses.requests import CourseRequest
from portal.db import Sessions, transaction
from portal.identity import people
from portal.lifecycle import SLUG_IS_FREE, Status
from portal.local import IMAGE
from portal.models import Attempt, AttemptEvent, Course, Operation, User
from portal.participants import codes, places
from portal.sealing import Sealer

RUNNING = "python-intro"
WAITING = "data-science"

_SMALL = {"memory_guarantee": 0.125, "memory_limit": 1, "cpu_guarantee": 0.05, "cpu_limit": 1}


@dataclass(frozen=True, slots=True)
class Guest:
    """A person of the demo. `role` is teacher, governance, student, …"""

    role: str
    subject: str
    login: str
    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the course is. `text` is what happens now, in the words of its operation."""

    status: Status
    text: str
    hub_url: str | None


def begin(make: Sessions, clock: SiteClock, settings: PortalSettings, guests: Mapping[str, Guest]) -> uuid.UUID:
    """The demo's courses, made where they are missing or over and gone; the id of the one that runs."""
    sealer = Sealer.of(settings)
    with transaction(make) as session:
        known = {role: _arrived(session, clock, settings, guest) for role, guest in guests.items()}
    teacher, governance, student = (Actor(known[role]) for role in ("teacher", "governance", "student"))
    with transaction(make) as session:
        in_use = select(Course.slug, Course.id).where(
            Course.slug.in_((RUNNING, WAITING)), Course.status.not_in(SLUG_IS_FREE)
        )
        there: dict[str, uuid.UUID] = {row.slug: row.id for row in session.execute(in_use)}
        if RUNNING in there:
            return there[RUNNING]
        wanted = _request(clock, RUNNING, "Introduction to Python", "First steps with notebooks.", 0, 90)
        course = requests.ask(session, clock, teacher, wanted)
        if WAITING not in there:
            waiting = _request(clock, WAITING, "Data science", "Tables, pictures, and what they do not say.", 14, 60)
            requests.ask(session, clock, teacher, waiting)
    with transaction(make) as session:
        decisions.approve(session, clock, settings, governance, course.id, version=course.version)
    with transaction(make) as session:
        code = codes.renew(session, clock, teacher, course.id, sealer)
        places.join(session, clock, student, code)
    return course.id


def progress(make: Sessions, course_id: uuid.UUID) -> Progress:
    """How far the course is now."""
    with make() as session:
        course = session.get_one(Course, course_id)
        told = session.scalar(
            select(AttemptEvent.content)
            .join(Attempt, Attempt.id == AttemptEvent.attempt_id)
            .join(Operation, Operation.id == Attempt.operation_id)
            .where(Operation.course_id == course_id, AttemptEvent.type == "step")
            .order_by(AttemptEvent.attempt_id.desc(), AttemptEvent.n.desc())
            .limit(1)
        )
        failure = session.scalar(
            select(Operation.failure)
            .where(Operation.course_id == course_id, Operation.failure != "")
            .order_by(Operation.created_at.desc())
            .limit(1)
        )
    step = str(told["text"]) % told["values"] if told and told.get("values") else (told or {}).get("text")
    text = failure if course.status is Status.DEPLOY_FAILED else step
    return Progress(course.status, str(text or ""), course.hub_url)


def join_link(make: Sessions, settings: PortalSettings, course_id: uuid.UUID) -> str | None:
    """The address by which people join the course."""
    with make() as session:
        code = codes.shown(session.get_one(Course, course_id), Sealer.of(settings))
    return f"{settings.public_url}/join/{code}" if code else None


def _arrived(session: Session, clock: SiteClock, settings: PortalSettings, guest: Guest) -> User:
    """The person as after a first sign-in; who has signed in since is as the provider described them then."""
    found = session.scalar(select(User).where(User.issuer == settings.oidc_issuer, User.subject == guest.subject))
    if found is not None:
        return found
    groups = {"teacher": [settings.teachers_group], "governance": [settings.governance_group]}
    said: dict[str, Any] = {
        "sub": guest.subject,
        "preferred_username": guest.login,
        "name": guest.name,
        "email": f"{guest.subject}@example.org",
        "groups": groups.get(guest.role, []),
    }
    return people.arrive(session, clock, settings, settings.oidc_issuer, said)


def _request(clock: SiteClock, slug: str, title: str, description: str, begins_in: int, days: int) -> CourseRequest:
    first = clock.today() + dt.timedelta(days=begins_in)
    return CourseRequest.model_validate(
        {
            "slug": slug,
            "title": title,
            "description": description,
            "first_day": first,
            "last_day": first + dt.timedelta(days=days),
            "seats": 8,
            "image": IMAGE,
            "resources": _SMALL,
            "home_size": 0.5,
            "target": "local",
            "join_policy": "admits",
        }
    )
