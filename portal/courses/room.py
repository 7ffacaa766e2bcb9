"""What the courses of a target hold of it, and whether one more, or one that changes, has room.

Form, approval, change, extension and calendar ask the same functions. Whoever decides holds the target's row
(`life.lock_with_target`): capacity is given out one at a time.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sqlalchemy import ScalarSelect, Text, cast, func, select
from sqlalchemy.orm import Session

from course_stack.sizes import Demand, demand
from course_stack.spec import CourseSpec
from portal.capacity import CPU, MEMORY, STORAGE, Figures, Fit, Hold, Stay, fits, holds
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.problems import Refused
from portal.lifecycle import HOLDS_STORAGE, Refusal, Status
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
    demand: Demand
    holds: tuple[Hold, ...]


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


def held(
    session: Session, clock: SiteClock, settings: PortalSettings, target: str, *, without: uuid.UUID | None = None
) -> list[Held]:
    """Everything that is held of a target from today on, course by course; two statements, however many there are."""
    holidays, today = _holidays(session), clock.today()
    leads = select(func.count()).where(Lead.course_id == Course.id).scalar_subquery()
    query = (
        select(Course, cast(Revision.spec, Text), leads, _former())
        .join(Revision, (Revision.course_id == Course.id) & (Revision.number == Course.approved_revision))
        .where(Course.target_name == target, Course.status.in_(HOLDS_STORAGE))
        .order_by(Course.first_day, Course.title, Course.id)
    )
    if without is not None:
        query = query.where(Course.id != without)
    found = []
    for course, spec, lead_count, former in session.execute(query):
        needed = _demand(spec, lead_count, former)
        stay = _stay(course, clock, settings, holidays)
        found.append(
            Held(
                course.id,
                course.slug,
                course.title,
                course.status,
                course.first_day,
                course.last_day,
                needed,
                holds(stay, needed, grace_days=settings.grace_days, today=today),
            )
        )
    return found


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
    """Whether a spec has room on a target from today on, as a course of that status.

    `course` is the one whose spec it is or shall become: what it holds now is left out, and it may always keep that
    much. None for one that does not exist yet.
    """
    holidays, today = _holidays(session), clock.today()
    begin = max(today, deploy_day(spec.first_day, settings, holidays))
    former, own = 0, tuple[Hold, ...]()
    if course is not None:
        former = session.scalar(select(_former()).where(Course.id == course.id)) or 0
        if course.status in HOLDS_STORAGE:
            begin = begin if course.status is Status.APPROVED else today
            own = _own(session, clock, settings, course, former, holidays)
    stay = Stay(status, begin, spec.last_day)
    wanted = holds(stay, demand(spec, former), grace_days=settings.grace_days, today=today)
    others = [
        hold
        for one in held(session, clock, settings, target.name, without=course.id if course else None)
        for hold in one.holds
    ]
    return fits(capacity_of(target), others, from_day(wanted, today), from_day(own, today))


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


def _own(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    course: Course,
    former: int,
    holidays: Collection[dt.date],
) -> tuple[Hold, ...]:
    spec = session.scalars(
        select(cast(Revision.spec, Text)).where(
            Revision.course_id == course.id, Revision.number == course.approved_revision
        )
    ).one()
    leads = session.scalar(select(func.count()).where(Lead.course_id == course.id)) or 0
    stay = _stay(course, clock, settings, holidays)
    return holds(stay, _demand(spec, leads, former), grace_days=settings.grace_days, today=clock.today())


def _stay(course: Course, clock: SiteClock, settings: PortalSettings, holidays: Collection[dt.date]) -> Stay:
    begin = deploy_day(course.first_day, settings, holidays)
    if course.status is Status.APPROVED:
        begin = max(begin, min(clock.today(), course.last_day))
    else:
        begin = min(begin, clock.today())
    last_day = course.last_day
    if course.ended_early_at is not None:
        last_day = min(last_day, clock.day_of(course.ended_early_at))
    closed_on = clock.day_of(course.closed_at) if course.closed_at else None
    return Stay(course.status, begin, last_day, closed_on)


@lru_cache(maxsize=20_000)
def _demand(spec: str, leads: int, former: int) -> Demand:
    """Of a revision's spec as the database writes it: revisions never change, so each is read once."""
    people = [f"lead{number}" for number in range(max(leads, 1))]
    return demand(CourseSpec.model_validate({**json.loads(spec), "leads": people}), former)


def _former() -> ScalarSelect[int]:
    return (
        select(func.count())
        .where(Participation.course_id == Course.id, Participation.status.in_(FORMER))
        .scalar_subquery()
    )


def _holidays(session: Session) -> frozenset[dt.date]:
    return frozenset(session.scalars(select(Holiday.day)))
