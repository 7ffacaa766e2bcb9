"""What tests of people share: a course with a code, and short words for what people do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import select

from portal.actor import Actor
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Course, Mail, Participation, User
from portal.participants import codes, places
from portal.participants.rules import Deed, Place
from portal.sealing import Sealer
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course, make_user

SEALER = Sealer("a key of tests, and of nothing else")


@dataclass
class Classroom:
    """A course with a lead and a join code, and what people do in it, each in a transaction of its own."""

    sessions: Sessions
    clock: MovableClock
    course: Course
    lead: User
    code: str

    def person(self, login: str | None = None, **facts: object) -> User:
        with transaction(self.sessions) as session:
            return make_user(session, self.clock, login, **facts)  # type: ignore[arg-type]

    def join(self, person: User, code: str | None = None) -> Place:
        with transaction(self.sessions) as session:
            return places.join(session, self.clock, Actor(person), code or self.code)[1]

    def look(self, person: User, code: str | None = None) -> places.Invitation:
        with self.sessions() as session:
            return places.invitation(session, self.clock, Actor(person), code or self.code)

    def settle(self, person: User, deed: Deed, by: User | None = None) -> Place:
        with transaction(self.sessions) as session:
            return places.settle(session, self.clock, Actor(by or self.lead), self.course.id, person.id, deed)

    def leave(self, person: User) -> None:
        with transaction(self.sessions) as session:
            places.leave(session, self.clock, Actor(person), self.course.id)

    def asks(self) -> None:
        """From now on the code asks for consent."""
        with transaction(self.sessions) as session:
            codes.set_policy(session, self.clock, Actor(self.lead), self.course.id, "asks")

    def set(self, **columns: object) -> None:
        """Other columns of the course, whoever writes them otherwise."""
        with transaction(self.sessions) as session:
            course = session.get_one(Course, self.course.id)
            for name, value in columns.items():
                setattr(course, name, value)

    def now(self) -> Course:
        """The course as it is now."""
        with self.sessions() as session:
            return session.get_one(Course, self.course.id)

    def row(self, person: User) -> Participation:
        with self.sessions() as session:
            return session.get_one(Participation, (self.course.id, person.id))

    def mails(self, person: User) -> list[str]:
        """Events of which the person was or will be told, oldest first."""
        with self.sessions() as session:
            return list(
                session.scalars(select(Mail.event).where(Mail.recipient == person.email).order_by(Mail.not_before))
            )


@pytest.fixture
def classroom(session_factory: Sessions, clock: MovableClock) -> Classroom:
    """An active course of two seats, in its first week, whose code admits."""
    with transaction(session_factory) as session:
        lead = make_user(session, clock, "teacher", teacher=True)
        today = clock.today()
        course = make_course(session, clock, lead, status=Status.ACTIVE, spec={"first_day": today, "seats": 2})
        code = codes.renew(session, clock, Actor(lead), course.id, SEALER)
    return Classroom(session_factory, clock, course, lead, code)
