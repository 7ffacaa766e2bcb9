"""The join code of a course: 192 random bits, of which the database has a hash for looking up and a sealed copy that
only the leads' page opens."""

from __future__ import annotations

import hashlib
import secrets
import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.courses import life
from portal.courses.problems import Refused
from portal.lifecycle import JOINABLE, STATUS_NAMES, Refusal
from portal.models import Course
from portal.participants.access import require_lead, write
from portal.sealing import Sealer
from portal.texts import N_

_BYTES = 24
_LONGEST = 100
"""Whatever is longer is no code of ours, and is not hashed."""

POLICIES = {
    "admits": N_("Whoever has the link is in at once."),
    "asks": N_("Whoever has the link asks to join, and a teacher consents to each person."),
}
"""What the code does (message ids)."""


def renew(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, sealer: Sealer) -> str:
    """A new code; the one before stops working at once. Leads only. Raises `Refused`."""
    course = _locked(session, actor, course_id)
    if course.status not in JOINABLE:
        raise Refused(
            Refusal(
                "not_now",
                N_("Nobody can join a course that is %(status)s."),
                (("status", STATUS_NAMES[course.status]),),
            )
        )
    code = secrets.token_urlsafe(_BYTES)
    had_one = course.join_code_hash is not None
    write(session, course, join_code_hash=digest(code), join_code=sealer.seal(code))
    audit.record(session, clock, actor, "join_code.renew" if had_one else "join_code.make", course=course)
    return code


def switch_off(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID) -> None:
    """No code any more. Leads only; fine where there is none. Raises `Refused`."""
    course = _locked(session, actor, course_id)
    if course.join_code_hash is not None:
        write(session, course, join_code_hash=None, join_code=None)
        audit.record(session, clock, actor, "join_code.revoke", course=course)


def set_policy(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, policy: str) -> None:
    """Whether the code `admits` or `asks`. Leads only. Raises `Refused`, and `ValueError` for another word."""
    if policy not in POLICIES:
        raise ValueError(f"no policy: {policy!r}")
    course = _locked(session, actor, course_id)
    if course.join_policy != policy:
        before = {"join_policy": course.join_policy}
        write(session, course, join_policy=policy)
        audit.record(
            session, clock, actor, "join_code.policy", course=course, before=before, after={"join_policy": policy}
        )


def shown(course: Course, sealer: Sealer) -> str | None:
    """The code in clear, for the leads' page; None where there is none."""
    return None if course.join_code is None else sealer.open(course.join_code)


def course_of(session: Session, code: str) -> Course | None:
    """The course that a code belongs to, whether it can be joined now or not."""
    if not code or len(code) > _LONGEST:
        return None
    return session.scalar(select(Course).where(Course.join_code_hash == digest(code)))


def digest(code: str) -> bytes:
    """What the database looks a code up by: SHA-256, since a code is random and long."""
    return hashlib.sha256(code.encode()).digest()


def _locked(session: Session, actor: Actor, course_id: uuid.UUID) -> Course:
    course = life.lock(session, course_id)
    require_lead(session, actor, course)
    return course
