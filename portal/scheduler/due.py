"""Courses that are due: what should happen with each, done under its row's lock."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from portal import planning
from portal.actor import SYSTEM
from portal.config import PortalSettings
from portal.courses.life import act
from portal.db import Sessions, transaction
from portal.lifecycle import Action, Circumstances
from portal.mail.outbox import notify
from portal.models import Course
from portal.operations.ask import ask, begin, live, stop
from portal.operations.facts import Settled, facts_of
from portal.operations.people import leads, participants
from portal.planning import Ask, CourseFacts, Decision, Do, Site, Stop

POSTPONED = timedelta(minutes=1)
"""How long a course is left alone that could not be looked at."""

_ROUNDS = 5
"""One decision may make the next one due: closing asks for the close. More in one go would be a fault of the rules."""


def due_courses(session: Session, site: Site, limit: int) -> list[uuid.UUID]:
    """The courses to look at now, the one that waits longest first."""
    now = site.clock.now()
    return list(
        session.scalars(
            select(Course.id).where(Course.next_due_at <= now).order_by(Course.next_due_at, Course.id).limit(limit)
        )
    )


def look_at(
    make: Sessions, settings: PortalSettings, site: Site, settled: Settled, courses: Sequence[uuid.UUID]
) -> int:
    """Do what is due for these courses, in one transaction, and store when each is due next. How many it were: those
    whose rows somebody else has now are left to the next tick.

    Whatever is raised, nothing was done: the caller then takes each course by itself.
    """
    now = site.clock.now()
    with transaction(make) as session:
        found = session.scalars(
            select(Course)
            .where(Course.id.in_(courses), Course.next_due_at <= now)
            .order_by(Course.id)
            .with_for_update(skip_locked=True)
        ).all()
        facts: dict[uuid.UUID, CourseFacts] = {}
        moving = list(found)
        for _ in range(_ROUNDS):
            facts |= facts_of(session, moving, settled)
            moving = [course for course in moving if _carry_out(session, settings, site, course, facts[course.id])]
            if not moving:
                break
        for course in found:
            _warn(session, site, course, facts[course.id])
        session.flush()
        set_due(session, {one.id: planning.next_due(facts[one.id], site, now) for one in found})
    return len(found)


def set_due(session: Session, due: Mapping[uuid.UUID, datetime | None]) -> None:
    """Store when the courses are due next. Past the mapper: the row's version counts what people see change, and this
    is not among it."""
    session.execute(
        text(
            "UPDATE courses SET next_due_at = new.at FROM unnest(CAST(:ids AS uuid[]), CAST(:at AS timestamptz[])) "
            "AS new (id, at) WHERE courses.id = new.id"
        ),
        {"ids": list(due), "at": list(due.values())},
    )


def _carry_out(session: Session, settings: PortalSettings, site: Site, course: Course, facts: CourseFacts) -> bool:
    """Do what is wanted for one course; whether there was anything."""
    decisions = planning.wanted(facts, site, site.clock.now())
    for decision in decisions:
        _do(session, settings, site, course, facts, decision)
    return bool(decisions)


def _do(
    session: Session, settings: PortalSettings, site: Site, course: Course, facts: CourseFacts, decision: Decision
) -> None:
    clock = site.clock
    match decision:
        case Do(action):
            act(session, clock, SYSTEM, course, action, _circumstances(site, facts))
            if action is Action.EXPIRE:
                notify(session, clock, "course_expired", f"{course.id}:expired", leads(session, course), course=course)
        case Ask(kind, revision):
            new = begin if facts.live is None else ask
            new(session, clock, SYSTEM, course, kind, revision=revision, max_tries=settings.max_tries)
        case Stop():
            operation = live(session, course)
            if operation is not None:
                stop(session, clock, SYSTEM, course, operation, f"the course is {course.status}")


def _circumstances(site: Site, facts: CourseFacts) -> Circumstances:
    now = site.clock.now()
    grace = facts.closed_at is not None and now >= planning.destroy_at(facts.closed_at, site.rules, site.clock)
    return Circumstances(
        is_over=planning.is_over(facts, now, site.clock),
        stack_exists=facts.stack_may_exist,
        grace_is_over=grace,
        archives_settled=facts.archives_settled,
    )


def _warn(session: Session, site: Site, course: Course, facts: CourseFacts) -> None:
    warning = planning.warning_due(facts, site, site.clock.now())
    if warning is None:
        return
    users = leads(session, course)
    given = {"destroy_day": warning.day}
    if warning.kind == "ending_soon":
        users, given = [*users, *participants(session, course)], {}
    notify(session, site.clock, warning.kind, warning.key(course.id), set(users), course=course, facts=given)
