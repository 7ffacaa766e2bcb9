"""What pages show of many courses, each in one statement, in pieces that go on where the last one ended."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import Text, cast, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import Session, joinedload

from portal.actor import Actor
from portal.lifecycle import SLUG_IS_FREE, Status
from portal.models import ChangeRequest, Course, Lead, Participation, Revision, TargetRecord, User

PAGE = 50
QUEUE = 25
"""Of requests that wait: each of them is measured against what is held."""
_Item = TypeVar("_Item")
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """A piece of a list, and the cursor with which the next one begins; None at the end."""

    items: Sequence[_Item]
    older: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """A course as people see it in their list: a whitelist, the same for leads and participants."""

    id: uuid.UUID
    title: str
    slug: str
    status: Status
    first_day: dt.date
    last_day: dt.date
    hub_url: str | None
    leads: bool
    """Whether the reader leads it."""
    standing: str | None
    """The reader's place as a participant."""
    let_in: str
    """Whom the hub lets in: nobody, leads or everybody."""
    names: str
    """Of its leads."""


@dataclass(frozen=True, slots=True)
class Line:
    """A course in governance's list."""

    id: uuid.UUID
    title: str
    slug: str
    status: Status
    target: str
    first_day: dt.date
    last_day: dt.date
    seats: int
    requested_at: datetime
    requester: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for a decision, with what is needed to say whether it fits."""

    course: Course
    spec: str
    """As `room.demand_of` takes it."""
    leads: int
    target: TargetRecord


def mine(session: Session, actor: Actor, *, over: bool = False, before: str | None = None) -> Page[Card]:
    """Courses that the actor leads or has a place in; those that are over apart. Latest last day first."""
    me = actor.id
    lead = select(Lead.course_id).where(Lead.user_id == me)
    place = (
        select(Participation.status)
        .where(Participation.course_id == Course.id, Participation.user_id == me)
        .scalar_subquery()
    )
    names = (
        select(func.string_agg(User.name, aggregate_order_by(literal(", "), Lead.since)))
        .join(Lead, Lead.user_id == User.id)
        .where(Lead.course_id == Course.id)
        .scalar_subquery()
    )
    joined = select(Participation.course_id).where(
        Participation.user_id == me, Participation.status.in_(("waiting", "accepted"))
    )
    query = select(
        Course.id,
        Course.title,
        Course.slug,
        Course.status,
        Course.first_day,
        Course.last_day,
        Course.hub_url,
        Course.id.in_(lead).label("leads"),
        place.label("standing"),
        Course.people_access.label("let_in"),
        names.label("names"),
    ).where(or_(Course.id.in_(lead), Course.id.in_(joined)))
    query = query.where(Course.status.in_(SLUG_IS_FREE) if over else Course.status.not_in(SLUG_IS_FREE))
    query = query.order_by(Course.last_day.desc(), Course.id.desc()).limit(PAGE + 1)
    if cursor := _cursor(before, dt.date.fromisoformat):
        query = query.where(tuple_(Course.last_day, Course.id) < cursor)
    cards = [Card(**row._mapping) for row in session.execute(query)]  # noqa: SLF001 - the public name of it
    return _page(cards, lambda card: f"{card.last_day}~{card.id}")


def everything(session: Session, *, status: str = "", search: str = "", before: str | None = None) -> Page[Line]:
    """All courses, the last one asked for first; `search` looks in titles, short names and requesters."""
    query = (
        select(
            Course.id,
            Course.title,
            Course.slug,
            Course.status,
            Course.target_name.label("target"),
            Course.first_day,
            Course.last_day,
            Course.seats,
            Course.requested_at,
            User.name.label("requester"),
        )
        .join(User, User.id == Course.requested_by_id)
        .order_by(Course.requested_at.desc(), Course.id.desc())
        .limit(PAGE + 1)
    )
    if status in set(Status):
        query = query.where(Course.status == Status(status))
    if words := search.strip()[:100]:
        query = query.where(
            or_(
                Course.title.icontains(words, autoescape=True),
                Course.slug.icontains(words.lower(), autoescape=True),
                User.name.icontains(words, autoescape=True),
            )
        )
    if cursor := _cursor(before, _instant):
        query = query.where(tuple_(Course.requested_at, Course.id) < cursor)
    lines = [Line(**row._mapping) for row in session.execute(query)]  # noqa: SLF001
    return _page(lines, lambda line: f"{line.requested_at.isoformat()}~{line.id}")


def waiting(session: Session, after: str | None = None) -> Page[Waiting]:
    """Requests that wait for a decision, the oldest first."""
    leads = select(func.count()).where(Lead.course_id == Course.id).scalar_subquery()
    query = (
        select(Course, cast(Revision.spec, Text), leads, TargetRecord)
        .join(TargetRecord, TargetRecord.name == Course.target_name)
        .join(Revision, (Revision.course_id == Course.id) & (Revision.number == Course.approved_revision))
        .options(joinedload(Course.requested_by))
        .where(Course.status == Status.REQUESTED)
        .order_by(Course.requested_at, Course.id)
        .limit(QUEUE + 1)
    )
    if cursor := _cursor(after, _instant):
        query = query.where(tuple_(Course.requested_at, Course.id) > cursor)
    found = [Waiting(*row) for row in session.execute(query)]
    return _page(found, lambda one: f"{one.course.requested_at.isoformat()}~{one.course.id}", QUEUE)


def open_changes(session: Session) -> list[ChangeRequest]:
    """Changes that wait for a decision, the oldest first; at most a page of them."""
    query = (
        select(ChangeRequest)
        .options(joinedload(ChangeRequest.course), joinedload(ChangeRequest.requested_by))
        .where(ChangeRequest.status == "open")
        .order_by(ChangeRequest.requested_at, ChangeRequest.id)
        .limit(PAGE)
    )
    return list(session.scalars(query))


def to_decide(session: Session) -> int:
    """How many requests and changes wait for governance."""
    requests = select(func.count()).where(Course.status == Status.REQUESTED).scalar_subquery()
    changes = select(func.count()).where(ChangeRequest.status == "open").scalar_subquery()
    return session.scalar(select(requests + changes)) or 0


def without_lead(session: Session) -> list[Course]:
    """Courses that go on though none of their leads may ask for courses any more: governance looks after them."""
    capable = (
        select(Lead.course_id)
        .join(User, User.id == Lead.user_id)
        .where(Lead.course_id == Course.id, or_(User.may_request, User.is_governance))
    )
    query = (
        select(Course)
        .where(Course.status.not_in(SLUG_IS_FREE), ~capable.exists())
        .order_by(Course.last_day, Course.id)
        .limit(PAGE)
    )
    return list(session.scalars(query))


def _page(found: Sequence[_Item], cursor: Callable[[_Item], str], length: int | None = None) -> Page[_Item]:
    most = length or PAGE
    return Page(found[:most], cursor(found[most - 1]) if len(found) > most else None)


def _cursor(text: str | None, first: Callable[[str], _Key]) -> tuple[_Key, uuid.UUID] | None:
    """`KEY~ID`; nothing for what no page of ours wrote."""
    one, _, other = (text or "").partition("~")
    try:
        return first(one), uuid.UUID(other)
    except ValueError:
        return None


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found
