"""What pages show of people. Of a person leads see name and address, nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, case, func, or_, select
from sqlalchemy.orm import Session

from portal.groups.access import LEADS_ARE_IN
from portal.lifecycle import JOINABLE, Status
from portal.models import Course, Lead, Participation, User
from portal.participants import codes
from portal.participants.rules import Standing
from portal.sealing import Sealer

PAGE = 50
_LAST_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Person:
    """One line of a list."""

    id: uuid.UUID
    name: str
    email: str
    standing: Standing
    since: datetime
    code_is_dead: bool
    access_pending: bool
    """Their access should have ended, and is not verified to have."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: people, how many there are in all, and which page this is (from 1)."""

    people: tuple[Person, ...]
    total: int
    number: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


@dataclass(frozen=True, slots=True)
class Section:
    """What the course's page shows of people to its leads."""

    counts: Mapping[Standing, int]
    """Without leads, who take no seat."""
    seats: int
    waiting: tuple[Person, ...]
    """The first few of them."""
    code: str | None = field(repr=False)
    asks: bool
    can_be_joined: bool
    pending: bool
    failing: bool

    @property
    def taken(self) -> int:
        return self.counts.get(Standing.ACCEPTED, 0)


def people(
    session: Session, course: Course, *, standing: Standing | None = None, search: str = "", page: int = 1
) -> Page:
    """The course's people, those who wait first, then by name; `search` looks in names and addresses."""
    query = _people(course)
    if standing is not None:
        query = query.where(Participation.status == standing)
    if words := search.strip()[:100]:
        query = query.where(
            or_(User.name.icontains(words, autoescape=True), User.email.icontains(words, autoescape=True))
        )
    query = query.add_columns(func.count().over().label("total"))
    number = min(max(1, page), _LAST_PAGE)
    rows = session.execute(query.limit(PAGE).offset((number - 1) * PAGE)).all()
    if not rows and number > 1:
        return people(session, course, standing=standing, search=search)
    return Page(tuple(map(_person, rows)), rows[0].total if rows else 0, number)


def section(session: Session, course: Course, sealer: Sealer, *, few: int = 5) -> Section:
    """What the course's page needs, in two statements; `few` of those who wait are named."""
    leads = select(Lead.user_id).where(Lead.course_id == course.id)
    counted = session.execute(
        select(Participation.status, func.count())
        .where(Participation.course_id == course.id, Participation.user_id.not_in(leads))
        .group_by(Participation.status)
    )
    waiting = session.execute(_people(course).where(Participation.status == Standing.WAITING).limit(few)) if few else ()
    return Section(
        counts={Standing(status): count for status, count in counted},
        seats=course.seats,
        waiting=tuple(map(_person, waiting)),
        code=codes.shown(course, sealer) if course.status in JOINABLE else None,
        asks=course.join_policy == "asks",
        can_be_joined=course.status in JOINABLE,
        pending=is_pending(course),
        failing=is_pending(course) and course.people_tries > 1,
    )


def is_pending(course: Course) -> bool:
    """Whether a change of the people is not carried out yet at the identity provider and the hub."""
    reachable = course.status in LEADS_ARE_IN or course.status in (Status.REMOVING, Status.REMOVAL_FAILED)
    return reachable and course.people_applied != course.people_revision


def place_of(session: Session, course: Course, user: User) -> Standing | None:
    """Where somebody stands in a course."""
    row = session.get(Participation, (course.id, user.id))
    return None if row is None else Standing(row.status)


def _people(course: Course) -> Select[*tuple[Any, ...]]:
    first = case((Participation.status == Standing.WAITING, 0), (Participation.status == Standing.ACCEPTED, 1), else_=2)
    return (
        select(
            User.id,
            User.name,
            User.login,
            User.email,
            Participation.status,
            Participation.since,
            Participation.code_is_dead,
            Participation.access_ended,
        )
        .join(User, User.id == Participation.user_id)
        .where(Participation.course_id == course.id)
        .order_by(first, func.lower(User.name), User.id)
    )


def _person(row: Row[Any]) -> Person:
    standing = Standing(row.status)
    return Person(
        id=row.id,
        name=row.name or row.login,
        email=row.email,
        standing=standing,
        since=row.since,
        code_is_dead=row.code_is_dead,
        access_pending=standing is not Standing.ACCEPTED and not row.access_ended,
    )
