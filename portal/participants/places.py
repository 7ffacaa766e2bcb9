"""Joining, consent, and its end: each deed locks the course, asks the rules, and tells the person.

Whether a deed came by page, list or command line makes no difference here.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.courses import life
from portal.courses.problems import Refused
from portal.lifecycle import Refusal, Status
from portal.mail.outbox import notify
from portal.models import Course, Lead, Mail, Participation, User
from portal.participants import codes
from portal.participants.access import changed, require_lead
from portal.participants.rules import BY_LEADS, DEAD_CODE, Deed, Facts, Place, Standing, decide
from portal.texts import N_

_UNKNOWN = Refused(Refusal(DEAD_CODE, N_("This link does not work, or no longer.")))

_MAILS = {
    Standing.ACCEPTED: "participant_accepted",
    Standing.REJECTED: "participant_rejected",
    Standing.REMOVED: "participant_removed",
    Standing.LEFT: "participant_left",
}

GATHERING = timedelta(minutes=10)
"""A class that asks to join together makes one mail to its leads."""
_NEXT_MORNING = timedelta(hours=7)


@dataclass(frozen=True, slots=True)
class Invitation:
    """All that somebody with a code may know before joining."""

    course: Course
    leads: tuple[str, ...]
    """Their names."""
    place: Place
    refusal: Refusal | None
    """Why joining is not possible, if it is not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a decision on one of several people."""

    user_id: uuid.UUID
    name: str
    refusal: Refusal | None


def invitation(session: Session, clock: SiteClock, actor: Actor, code: str) -> Invitation:
    """What the code would do for the actor; changes nothing.

    Raises `Refused` with the same text for a code that is unknown, revoked, dead for this person or of a course that
    cannot be joined.
    """
    course = codes.course_of(session, code)
    if course is None or actor.user is None:
        raise _UNKNOWN
    place = _place(_participation(session, course, actor.user.id))
    found = decide(Deed.JOIN, place, _facts(session, clock, course, actor.user.id))
    if isinstance(found, Refusal) and found.code == DEAD_CODE:
        raise _UNKNOWN
    leads = tuple(str(lead.user) for lead in course.leads)
    return Invitation(course, leads, place, found if isinstance(found, Refusal) else None)


def join(session: Session, clock: SiteClock, actor: Actor, code: str) -> tuple[Course, Place]:
    """Join by code, or ask to. Joining twice is joining once. Raises `Refused`."""
    course = codes.course_of(session, code)
    if course is None or actor.user is None:
        raise _UNKNOWN
    course = life.lock(session, course.id)
    if course.join_code_hash != codes.digest(code):  # renewed in between
        raise _UNKNOWN
    return course, _do(session, clock, actor, course, actor.user, Deed.JOIN)


def leave(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID) -> Course:
    """The actor leaves the course, or takes the request back. Raises `Refused`."""
    course = life.lock(session, course_id)
    if actor.user is None:
        raise Refused(Refusal("no_place", N_("This person has no place in the course.")))
    _do(session, clock, actor, course, actor.user, Deed.LEAVE)
    return course


def settle(
    session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, user_id: uuid.UUID, deed: Deed
) -> Place:
    """A lead accepts, rejects, removes, or lifts a dead code. Raises `Refused`; `LookupError` for no such course."""
    course = life.lock(session, course_id)
    require_lead(session, actor, course)
    return _settle(session, clock, actor, course, user_id, deed)


def settle_many(
    session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, user_ids: Sequence[uuid.UUID], deed: Deed
) -> list[Outcome]:
    """The same for several people, in their order, each for itself: who cannot be accepted does not stop the others.

    Raises `Refused` where the actor may not decide at all.
    """
    course = life.lock(session, course_id)
    require_lead(session, actor, course)
    outcomes = []
    for user_id in dict.fromkeys(user_ids):
        refusal = None
        try:
            _settle(session, clock, actor, course, user_id, deed)
        except Refused as refused:
            refusal = refused.refusal
        user = session.get(User, user_id)
        outcomes.append(Outcome(user_id, str(user) if user else "", refusal))
    return outcomes


def _settle(session: Session, clock: SiteClock, actor: Actor, course: Course, user_id: uuid.UUID, deed: Deed) -> Place:
    if deed not in BY_LEADS:
        raise ValueError(f"not for leads: {deed}")
    user = session.get(User, user_id)
    # without a place here it is nobody whom leads of this course know
    if user is None or _participation(session, course, user_id) is None:
        raise Refused(Refusal("no_place", N_("This person has no place in the course.")))
    return _do(session, clock, actor, course, user, deed)


def _do(session: Session, clock: SiteClock, actor: Actor, course: Course, user: User, deed: Deed) -> Place:
    """The deed on one person of a course whose row is locked: place, people count, audit and mails in one."""
    row = _participation(session, course, user.id)
    before = _place(row)
    after = decide(deed, before, _facts(session, clock, course, user.id))
    if isinstance(after, Refusal):
        raise Refused(after)
    if after == before:
        return after
    assert after.standing is not None
    if row is None:
        row = Participation(course_id=course.id, user_id=user.id, access_ended=True)
        session.add(row)
    row.status, row.code_is_dead = after.standing, after.code_is_dead
    row.since, row.changed_by_id = clock.now(), actor.id
    if before.has_access != after.has_access:
        row.access_ended = False  # from now on the reconciler's to say
        changed(session, course)
    session.flush()
    audit.record(
        session,
        clock,
        actor,
        f"participation.{deed}",
        course=course,
        subject=user.id,
        before={"status": before.standing, "code_is_dead": before.code_is_dead},
        after={"status": after.standing, "code_is_dead": after.code_is_dead},
    )
    if after.standing is not before.standing:
        _tell(session, clock, course, user, after.standing)
    return after


def _tell(session: Session, clock: SiteClock, course: Course, user: User, standing: Standing) -> None:
    if standing is Standing.WAITING:
        _tell_leads(session, clock, course)
        return
    moment = f"{clock.now():%Y%m%dT%H%M%S%f}"
    facts = {}
    if standing is Standing.ACCEPTED and course.status is Status.ACTIVE and course.hub_url:
        facts["hub_url"] = course.hub_url
    notify(
        session,
        clock,
        _MAILS[standing],
        f"{course.id}:{standing}:{user.id}:{moment}",
        [user],
        course=course,
        facts=facts,
    )


def _tell_leads(session: Session, clock: SiteClock, course: Course) -> None:
    """One mail a day: soon after the first who asks, and next morning for those who ask after that mail went out."""
    day = clock.today()
    key = f"{course.id}:waiting:{day}"
    not_before = clock.now() + GATHERING
    gone = session.scalar(select(Mail.id).where(Mail.event_key == key, Mail.not_before <= clock.now()).limit(1))
    if gone is not None:
        not_before = clock.end(day) + _NEXT_MORNING
        key = f"{course.id}:waiting:{clock.day_of(not_before)}"
    leads = session.scalars(select(User).join(Lead, Lead.user_id == User.id).where(Lead.course_id == course.id)).all()
    notify(session, clock, "participant_waiting", key, leads, course=course, not_before=not_before)


def _participation(session: Session, course: Course, user_id: uuid.UUID) -> Participation | None:
    return session.get(Participation, (course.id, user_id), populate_existing=True)


def _place(row: Participation | None) -> Place:
    return Place() if row is None else Place(Standing(row.status), row.code_is_dead)


def _facts(session: Session, clock: SiteClock, course: Course, user_id: uuid.UUID) -> Facts:
    leads = select(Lead.user_id).where(Lead.course_id == course.id)
    return Facts(
        status=course.status,
        is_over=life.is_over(course, clock),
        asks=course.join_policy == "asks",
        is_lead=session.scalar(leads.where(Lead.user_id == user_id)) is not None,
        seats=course.seats,
        taken=taken(session, course),
    )


def taken(session: Session, course: Course) -> int:
    """Seats that are taken: accepted participants who do not lead the course."""
    leads = select(Lead.user_id).where(Lead.course_id == course.id)
    return (
        session.scalar(
            select(func.count())
            .select_from(Participation)
            .where(
                Participation.course_id == course.id,
                Participation.status == Standing.ACCEPTED,
                Participation.user_id.not_in(leads),
            )
        )
        or 0
    )
