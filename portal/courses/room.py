"""What the courses of a target hold of it, and whether one more, or one that changes, has room.

Form, approval, change, extension and calendar ask the same functions. Whoever decides holds the target's row
(`life.lock_with_target`): capacity is given out one at a time.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Select, Text, case, cast, exists, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from course_stack.sizes import Demand, demand
from course_stack.spec import CourseSpec
from portal.capacity import CPU, MEMORY, STORAGE, Figures, Fit, Hold, Stay, Steps, fits_within, holds, horizon, use
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


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What is held of one target from today on, course by course."""

    target: str
    capacity: Figures
    held: tuple[Held, ...]
    holidays: frozenset[dt.date]
    today: dt.date
    settings: PortalSettings
    used: Steps
    """All that is held, from today on."""
    _by_id: dict[uuid.UUID, Held] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {one.id: one for one in self.held})

    def fit(self, spec: CourseSpec, *, course: uuid.UUID | None = None, status: Status = Status.APPROVED) -> Fit:
        """Whether a spec has room from today on, as a course of that status.

        `course` is the one whose spec it is or shall become: what it holds now is left out, and it may always keep
        that much.
        """
        own = self._of(course)
        return self.fit_demand(
            demand(spec, own.former if own else 0), spec.first_day, spec.last_day, course=course, status=status
        )

    def fit_demand(
        self,
        needed: Demand,
        first_day: dt.date,
        last_day: dt.date,
        *,
        course: uuid.UUID | None = None,
        status: Status = Status.APPROVED,
    ) -> Fit:
        """As `fit`, for figures and days."""
        own = self._of(course)
        wanted = self.wanted(needed, first_day, last_day, is_deployed=own is not None and own.status in HAS_STACK,
                             status=status)  # fmt: skip
        return fits_within(self.capacity, self.used, wanted, from_day(own.holds, self.today) if own else ())

    def _of(self, course: uuid.UUID | None) -> Held | None:
        return self._by_id.get(course) if course else None

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
        begin = self.today if is_deployed else max(self.today, deploy_day(first_day, self.settings, self.holidays))
        stay = Stay(status, begin, last_day)
        found = holds(stay, needed, grace_days=self.settings.grace_days, today=self.today)
        return from_day(found, self.today)


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
    return occupancies(session, clock, settings, [target])[target.name]


def occupancies(
    session: Session, clock: SiteClock, settings: PortalSettings, targets: Sequence[TargetRecord]
) -> dict[str, Occupancy]:
    """The same for several targets, by name: also two statements."""
    holidays = frozenset(session.scalars(select(Holiday.day)))
    today = clock.today()
    held: dict[str, list[Held]] = {target.name: [] for target in targets}
    # courses of a term begin on few days, and many are alike
    deploy_days: dict[dt.date, dt.date] = {}
    alike: dict[tuple[Stay, int], tuple[Hold, ...]] = {}
    for row in session.execute(_holding(list(held), [f"{course}:{revision}" for course, revision in list(_DEMANDS)])):
        if row.first_day not in deploy_days:
            deploy_days[row.first_day] = deploy_day(row.first_day, settings, holidays)
        needed = _demand_of(session, row)
        stay = _stay(row, clock, deploy_days[row.first_day], today)
        if (key := (stay, id(needed))) not in alike:
            alike[key] = holds(stay, needed, grace_days=settings.grace_days, today=today)
        held[row.target_name].append(
            Held(
                id=row.id,
                slug=row.slug,
                title=row.title,
                status=row.status,
                first_day=row.first_day,
                last_day=row.last_day,
                former=row.former,
                demand=needed,
                holds=alike[key],
            )
        )
    return {target.name: _occupancy(target, held[target.name], holidays, today, settings) for target in targets}


def _holding(targets: list[str], known: list[str]) -> Select[*tuple[Any, ...]]:
    """Courses that hold something of these targets. Specs of `known` ("course:revision") are left out: to write one as
    text costs more than all the rest of its row."""
    revision = cast(Course.id, Text) + ":" + cast(Course.approved_revision, Text)
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
    return (
        select(
            Course.id,
            Course.slug,
            Course.title,
            Course.status,
            Course.target_name,
            Course.first_day,
            Course.last_day,
            Course.ended_early_at,
            Course.closed_at,
            Course.approved_revision.label("revision"),
            case((revision == func.any(cast(known, ARRAY(Text))), None), else_=cast(Revision.spec, Text)).label("spec"),
            leads.label("leads"),
            former.label("former"),
        )
        .join(Revision, (Revision.course_id == Course.id) & (Revision.number == Course.approved_revision))
        .where(Course.target_name.in_(targets), Course.status.in_(HOLDS_STORAGE))
    )


def _occupancy(
    target: TargetRecord, held: list[Held], holidays: frozenset[dt.date], today: dt.date, settings: PortalSettings
) -> Occupancy:
    every = [hold for one in held for hold in one.holds]
    used = use(every, today, horizon(every, today))
    return Occupancy(target.name, capacity_of(target), tuple(held), holidays, today, settings, used)


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


def _stay(course: Row[Any], clock: SiteClock, begin: dt.date, today: dt.date) -> Stay:
    begin = max(begin, min(today, course.last_day)) if course.status is Status.APPROVED else min(begin, today)
    last_day = course.last_day
    if course.ended_early_at is not None:
        last_day = min(last_day, clock.day_of(course.ended_early_at))
    closed_on = clock.day_of(course.closed_at) if course.closed_at else None
    return Stay(course.status, begin, last_day, closed_on)


_DEMANDS: dict[tuple[uuid.UUID, int], dict[tuple[int, int], Demand]] = {}
"""Demands of revisions by (leads, former people). Revisions never change, so each is read once by each process."""
_MOST = 20_000


def _demand_of(session: Session, row: Row[Any]) -> Demand:
    revision, people = (row.id, row.revision), (row.leads, row.former)
    known = _DEMANDS.get(revision, {})
    if people not in known:
        text = row.spec
        if text is None:  # read before, with other people
            spec = select(cast(Revision.spec, Text))
            text = session.scalar(spec.where(Revision.course_id == row.id, Revision.number == row.revision))
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
