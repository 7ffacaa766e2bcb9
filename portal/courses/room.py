"""What the courses of a target hold of it, and whether one more, or one that changes, has room.

Form, approval, change, extension and calendar ask the same functions. Whoever decides holds the target's row
(`life.lock_with_target`): capacity is given out one at a time.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Text, case, cast, exists, func, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from course_stack.sizes import Demand, demand
from course_stack.spec import CourseSpec
from portal.capacity import (
    CPU,
    MEMORY,
    STORAGE,
    Figures,
    Fit,
    Hold,
    Profile,
    Stay,
    fits_within,
    holds,
    holds_together,
    profile,
)
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.problems import Refused
from portal.lifecycle import HAS_STACK, HOLDS_STORAGE, Refusal, Status
from portal.models import Course, Holiday, Lead, Participation, Revision, TargetRecord
from portal.planning import lead_window
from portal.texts import N_

FIGURE_NAMES = {MEMORY: N_("memory"), CPU: N_("processor time"), STORAGE: N_("storage")}

FORMER = ("removed", "left")
"""Statuses of people who had a home in the course, which stays until it is archived."""


@dataclass(frozen=True, slots=True)
class Held:
    """A course that holds something of its target."""

    id: uuid.UUID
    slug: str
    title: str
    status: Status
    first_day: dt.date
    last_day: dt.date
    former: int
    """People who had a home in it and are gone."""
    demand: Demand
    holds: tuple[Hold, ...]


_Stayed = tuple[str, dt.date, dt.date, dt.datetime | None, dt.datetime | None]
"""Status, first day, last day, when it was ended early, when it was closed: what the days follow from on which a course
holds something."""


@dataclass(frozen=True, slots=True)
class Days:
    """Which days a course holds something on: what follows from the site's rules, its holidays and today."""

    clock: SiteClock
    settings: PortalSettings
    holidays: frozenset[dt.date]
    today: dt.date
    _deploy_days: dict[dt.date, dt.date] = field(default_factory=dict)

    @classmethod
    def now(cls, session: Session, clock: SiteClock, settings: PortalSettings) -> Days:
        return cls(clock, settings, frozenset(session.scalars(select(Holiday.day))), clock.today())

    def holds(self, stayed: _Stayed, demands: Iterable[Demand]) -> tuple[Hold, ...]:
        """What courses hold together that stay alike."""
        return holds_together(self._stay(*stayed), demands, grace_days=self.settings.grace_days, today=self.today)

    def _stay(
        self,
        word: str,
        first_day: dt.date,
        last_day: dt.date,
        ended_early_at: dt.datetime | None,
        closed_at: dt.datetime | None,
    ) -> Stay:
        status = Status(word)
        if first_day not in self._deploy_days:
            self._deploy_days[first_day] = deploy_day(first_day, self.settings, self.holidays)
        begin = self._deploy_days[first_day]
        begin = max(begin, min(self.today, last_day)) if status is Status.APPROVED else min(begin, self.today)
        if ended_early_at is not None:
            last_day = min(last_day, self.clock.day_of(ended_early_at))
        return Stay(status, begin, last_day, self.clock.day_of(closed_at) if closed_at else None)


@dataclass(frozen=True, slots=True)
class Room:
    """What is held of one target from today on, all in all, and so what has room beside it."""

    target: str
    capacity: Figures
    used: Profile
    """By all that is held, from today on."""
    days: Days

    @property
    def today(self) -> dt.date:
        return self.days.today

    def fit_demand(
        self,
        needed: Demand,
        first_day: dt.date,
        last_day: dt.date,
        *,
        own: Held | None = None,
        status: Status = Status.APPROVED,
    ) -> Fit:
        """Whether figures have room on these days, as a course of that status.

        `own` is what the same course holds now: it is left out, and the course may always keep that much.
        """
        is_deployed = own is not None and own.status in HAS_STACK
        wanted = self.wanted(needed, first_day, last_day, is_deployed=is_deployed, status=status)
        return fits_within(self.capacity, self.used, wanted, from_day(own.holds, self.today) if own else ())

    def wanted(
        self,
        needed: Demand,
        first_day: dt.date,
        last_day: dt.date,
        *,
        is_deployed: bool = False,
        status: Status = Status.APPROVED,
    ) -> tuple[Hold, ...]:
        """What a course of these figures and days would hold from today on."""
        settings = self.days.settings
        begin = self.today if is_deployed else max(self.today, deploy_day(first_day, settings, self.days.holidays))
        stay = Stay(status, begin, last_day)
        return from_day(holds(stay, needed, grace_days=settings.grace_days, today=self.today), self.today)


@dataclass(frozen=True, slots=True)
class Occupancy(Room):
    """The same, with what is held course by course."""

    held: tuple[Held, ...]

    def fit(self, spec: CourseSpec, *, course: uuid.UUID | None = None, status: Status = Status.APPROVED) -> Fit:
        """Whether a spec has room from today on, as a course of that status.

        `course` is the one whose spec it is or shall become (`own` of `fit_demand`).
        """
        own = next((one for one in self.held if one.id == course), None)
        needed = demand(spec, own.former if own else 0)
        return self.fit_demand(needed, spec.first_day, spec.last_day, own=own, status=status)


def capacity_of(target: TargetRecord) -> Figures:
    """The figures of a target."""
    return {
        MEMORY: target.memory_mib,
        CPU: target.cpu_millicores,
        STORAGE: target.storage_mib,
        **{kind: int(number) for kind, number in target.gpus.items()},
    }


def deploy_day(first_day: dt.date, settings: PortalSettings, holidays: Collection[dt.date]) -> dt.date:
    """The earliest day on which a course may be deployed: the first of its lead window.

    Not the planned instant, which follows from the course's id: a form that has none yet must count alike.
    """
    return min(lead_window(first_day, holidays, settings.lead_working_days), default=first_day)


def occupancy(session: Session, clock: SiteClock, settings: PortalSettings, target: TargetRecord) -> Occupancy:
    """Everything that is held of a target from today on; two statements, however many courses there are."""
    days = Days.now(session, clock, settings)
    held = tuple(
        Held(
            id=row.id,
            slug=row.slug,
            title=row.title,
            status=Status(row.status),
            first_day=row.first_day,
            last_day=row.last_day,
            former=row.former,
            demand=needed,
            holds=days.holds(stayed, [needed]),
        )
        for row, stayed, needed in _holding(session, [target.name], Course.id, Course.slug, Course.title)
    )
    used = profile((hold for one in held for hold in one.holds), days.today)
    return Occupancy(target.name, capacity_of(target), used, days, held)


def rooms(
    session: Session, clock: SiteClock, settings: PortalSettings, targets: Sequence[TargetRecord]
) -> dict[str, Room]:
    """What has room on several targets, by name: also two statements.

    Courses of the same days are counted as one large course. A term has many of them, and there is nothing to be told
    of each.
    """
    days = Days.now(session, clock, settings)
    alike: dict[str, dict[_Stayed, list[Demand]]] = {target.name: defaultdict(list) for target in targets}
    for row, stayed, needed in _holding(session, list(alike)):
        alike[row.target_name][stayed].append(needed)
    found = {}
    for target in targets:
        held = (hold for stayed, every in alike[target.name].items() for hold in days.holds(stayed, every))
        found[target.name] = Room(target.name, capacity_of(target), profile(held, days.today), days)
    return found


def _holding(
    session: Session, targets: list[str], *columns: InstrumentedAttribute[Any]
) -> Iterator[tuple[Row[Any], _Stayed, Demand]]:
    """Courses that hold something of these targets, each with its days and its demand.

    Specs that this process has read are left out of the answer: to write one as text costs more than all the rest.
    """
    key = cast(Course.id, Text) + ":" + cast(Course.approved_revision, Text)
    leads = select(func.count()).where(Lead.course_id == Course.id).scalar_subquery()
    former = (
        select(func.count())
        .where(
            Participation.course_id == Course.id,
            Participation.status.in_(FORMER),
            ~exists().where(Lead.course_id == Participation.course_id, Lead.user_id == Participation.user_id),
        )
        .scalar_subquery()
    )
    spec = (
        select(cast(Revision.spec, Text))
        .where(Revision.course_id == Course.id, Revision.number == Course.approved_revision)
        .scalar_subquery()
    )
    query = select(
        # words, not members of `Status`: a thousand of them are grouped by
        type_coerce(Course.status, Text).label("status"),
        Course.first_day,
        Course.last_day,
        Course.ended_early_at,
        Course.closed_at,
        Course.target_name,
        key.label("revision"),
        leads.label("leads"),
        former.label("former"),
        case((key == func.any(cast(list(_DEMANDS), ARRAY(Text))), None), else_=spec).label("spec"),
        *columns,
    ).where(Course.target_name.in_(targets), Course.status.in_(HOLDS_STORAGE))
    for row in session.execute(query):
        yield row, row[:5], _demand_of(session, row)


def fit(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    target: TargetRecord,
    spec: CourseSpec,
    *,
    course: Course | None = None,
    status: Status = Status.APPROVED,
) -> Fit:
    """Whether a spec has room on a target: `Occupancy.fit` of this moment."""
    found = occupancy(session, clock, settings, target)
    return found.fit(spec, course=course.id if course else None, status=status)


def ensure_room(found: Fit) -> None:
    """Raises `Refused` with the figure of which there is too little, if there is one."""
    if found.short:
        worst = max(found.short, key=lambda one: one.shortfall / max(one.capacity, 1))
        raise Refused(
            Refusal(
                "no_room",
                N_("There is no room: on %(day)s %(missing)s of %(figure)s are missing."),
                (
                    ("day", str(worst.day)),
                    ("missing", amount(worst.figure, worst.shortfall)),
                    ("figure", figure_name(worst.figure)),
                ),
            )
        )


def figure_name(figure: str) -> str:
    """In words (a message id), or the kind of GPU as it is."""
    return FIGURE_NAMES.get(figure, figure)


def amount(figure: str, number: int) -> str:
    """A figure's number with its unit, in short: `1.5 GiB`, `0.25 cores`, `2`."""
    if figure in (MEMORY, STORAGE):
        return f"{number / 1024:.4g} GiB"
    return f"{number / 1000:.4g} cores" if figure == CPU else str(number)


def written(found: Fit) -> str:
    """The figures that a page was made from, to be sent back with what was decided on it."""
    return json.dumps(
        [[one.figure, one.capacity, one.held, one.wanted] for one in found.figures], separators=(",", ":")
    )


def from_day(every: Sequence[Hold], day: dt.date) -> tuple[Hold, ...]:
    """What of it lies on a day or later: the past is no reason for or against anything."""
    return tuple(replace(hold, first=max(hold.first, day)) for hold in every if hold.last is None or hold.last >= day)


_DEMANDS: dict[str, dict[tuple[int, int], Demand]] = {}
"""Demands of revisions ("course:number") by (leads, former people). Revisions never change, so each is read once by
each process."""
_MOST = 20_000


def _demand_of(session: Session, row: Row[Any]) -> Demand:
    revision, people = row.revision, (row.leads, row.former)
    known = _DEMANDS.get(revision, {})
    if people not in known:
        text = row.spec
        if text is None:  # read before, with other people
            course, _, number = revision.partition(":")
            spec = select(cast(Revision.spec, Text))
            text = session.scalar(spec.where(Revision.course_id == uuid.UUID(course), Revision.number == int(number)))
        if len(_DEMANDS) >= _MOST:
            _DEMANDS.clear()
        known = _DEMANDS.setdefault(revision, {})
        known[people] = demand_of(text, *people)
    return known[people]


@lru_cache(maxsize=1000)
def demand_of(spec: str, leads: int, former: int = 0) -> Demand:
    """Of a revision's spec as the database writes it."""
    people = [f"lead{number}" for number in range(max(leads, 1))]
    return demand(CourseSpec.model_validate({**json.loads(spec), "leads": people}), former)
