"""Who is responsible for a course beside the person who asked for it."""

from __future__ import annotations

import uuid

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from course_stack.spec import Problem
from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people, room
from portal.courses.changes import carry_out
from portal.courses.problems import Invalid, Refused
from portal.courses.specs import design_of, people_of, revision_of, with_people
from portal.lifecycle import HAS_STACK, HOLDS_STORAGE, SLUG_IS_FREE, Refusal
from portal.mail.outbox import notify
from portal.models import Course, Lead, Participation, User
from portal.texts import N_

MAX_LEADS = 20
"""As many as a spec may name."""

NEVER_THE_LAST = Refusal("last_lead", N_("A course needs a lead: add another one before you remove this one."))
COURSE_IS_GONE = Refusal("over", N_("The course is over."))


def add_lead(
    session: Session, clock: SiteClock, settings: PortalSettings, actor: Actor, course_id: uuid.UUID, who: str
) -> User:
    """Make a person who has signed in before a lead, by login or e-mail address.

    A participant who becomes a lead gives their seat back and keeps their home. Raises `Invalid` beside the field
    `who`, `Refused` for others than leads and governance, or where a lead's home and notebook have no room.
    """
    course, target = life.lock_with_target(session, course_id)
    people.ensure_keeper(session, actor, course)
    _ensure_going_on(course)
    person = find_person(session, course, who)
    leads = people_of(session, course, leads=True)
    if person.subject in leads:
        raise Invalid([_problem(N_("{name} is a lead already"), name=str(person))])
    if len(leads) >= MAX_LEADS:
        raise Invalid([_problem(N_("a course has at most {most} leads"), most=MAX_LEADS)])
    if course.status in HOLDS_STORAGE:
        spec = with_people(design_of(revision_of(session, course)), [*leads, person.subject])
        room.ensure_room(room.fit(session, clock, settings, target, spec, course=course, status=course.status))
    place = session.get(Participation, (course.id, person.id))
    if place is not None and place.status in ("waiting", "accepted"):
        place.status, place.since, place.changed_by_id = "left", clock.now(), actor.id
    session.add(Lead(course_id=course.id, user_id=person.id, since=clock.now(), added_by_id=actor.id))
    _changed(session, clock, actor, course, "lead.add", person)
    notify(
        session,
        clock,
        "lead_added",
        f"{course.id}:lead_added:{person.id}:{course.people_revision}",
        people.others([person], actor),
        course=course,
    )
    return person


def remove_lead(session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, user_id: uuid.UUID) -> User:
    """Take the course out of a lead's hands; never out of the last one's. Raises `Refused`, `LookupError`."""
    course = life.lock(session, course_id)
    people.ensure_keeper(session, actor, course)
    _ensure_going_on(course)
    lead = session.get(Lead, (course.id, user_id))
    if lead is None:
        raise LookupError(f"no lead {user_id}")
    if session.scalar(select(func.count()).where(Lead.course_id == course.id)) == 1:
        raise Refused(NEVER_THE_LAST)
    person = session.get_one(User, user_id)
    session.delete(lead)
    if course.status in HAS_STACK:
        _remember_home(session, clock, actor, course, person)
    _changed(session, clock, actor, course, "lead.remove", person)
    notify(
        session,
        clock,
        "lead_removed",
        f"{course.id}:lead_removed:{person.id}:{course.people_revision}",
        people.others([person], actor),
        course=course,
    )
    return person


def find_person(session: Session, course: Course, who: str) -> User:
    """The one person of the course's identity provider with this login or address. Raises `Invalid`."""
    wanted = who.strip().lower()
    if not wanted:
        raise Invalid([_problem(N_("is missing: write a login or an e-mail address"))])
    issuer = session.scalars(select(User.issuer).where(User.id == course.requested_by_id)).one()
    found = session.scalars(
        select(User)
        .where(User.issuer == issuer, or_(func.lower(User.login) == wanted, func.lower(User.email) == wanted))
        .limit(2)
    ).all()
    if not found:
        raise Invalid([_problem(N_("nobody with this login or address has signed in yet; ask them to sign in once"))])
    if len(found) > 1:
        raise Invalid([_problem(N_("several people have this address; write the login"))])
    return found[0]


def _remember_home(session: Session, clock: SiteClock, actor: Actor, course: Course, person: User) -> None:
    """A former lead may have a home in the hub: it counts as one of a person who is gone, until it is archived."""
    place = session.get(Participation, (course.id, person.id))
    if place is None:
        place = Participation(course_id=course.id, user_id=person.id)
        session.add(place)
    place.status, place.since, place.changed_by_id = "removed", clock.now(), actor.id
    place.access_ended = False


def _ensure_going_on(course: Course) -> None:
    if course.status in SLUG_IS_FREE:
        raise Refused(COURSE_IS_GONE)


def _changed(session: Session, clock: SiteClock, actor: Actor, course: Course, deed: str, person: User) -> None:
    course.people_revision += 1
    course.next_due_at = clock.now()
    audit.record(session, clock, actor, deed, course=course, subject=person.id)
    session.flush()
    carry_out(session, clock, actor, course)


def _problem(text: str, **values: object) -> Problem:
    return Problem("who", text, values, "person")
