"""One course that is due: what should happen with it, done in one transaction under its row's lock."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from portal import planning
from portal.actor import SYSTEM
from portal.config import PortalSettings
from portal.courses.life import act
from portal.db import Sessions, transaction
from portal.lifecycle import Action, Circumstances, Status
from portal.mail.outbox import notify
from portal.models import Course
from portal.operations.ask import ask, live, stop
from portal.operations.facts import facts_of
from portal.operations.people import leads, participants
from portal.planning import Ask, CourseFacts, Decision, Do, Site, Stop

Settled = Callable[[Session, Course], bool]
"""Whether every home of the course's present closing is archived, or waived."""

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


def look_at(make: Sessions, settings: PortalSettings, site: Site, settled: Settled, course_id: uuid.UUID) -> bool:
    """Do what is due for one course, and store when it is due next. False where somebody else has its row now."""
    now = site.clock.now()
    with transaction(make) as session:
        course = session.scalar(
            select(Course)
            .where(Course.id == course_id, Course.next_due_at <= now)
            .with_for_update(skip_locked=True)
        )  # fmt: skip
        if course is None:
            return False
        for _ in range(_ROUNDS):
            facts = _facts(session, course, settled)
            decisions = planning.wanted(facts, site, now)
            for decision in decisions:
                _carry_out(session, settings, site, course, facts, decision)
            if not decisions:
                break
        _warn(session, site, course, facts)
        session.flush()
        _set_due(session, course_id, planning.next_due(facts, site, now))
    return True


def postpone(make: Sessions, site: Site, course_id: uuid.UUID) -> None:
    """Leave a course alone for a while, so that one that fails does not keep others waiting."""
    with transaction(make) as session:
        _set_due(session, course_id, site.clock.now() + POSTPONED)


def _set_due(session: Session, course_id: uuid.UUID, instant: object) -> None:
    # past the mapper: the row's version counts what people see change, and this is not among it
    session.execute(update(Course.__table__).where(Course.__table__.c.id == course_id).values(next_due_at=instant))  # type: ignore[arg-type]


def _facts(session: Session, course: Course, settled: Settled) -> CourseFacts:
    return facts_of(
        session, course, archives_settled=course.status == Status.CLOSED and settled(session, course)
    )  # fmt: skip


def _carry_out(
    session: Session, settings: PortalSettings, site: Site, course: Course, facts: CourseFacts, decision: Decision
) -> None:
    clock = site.clock
    match decision:
        case Do(action):
            act(session, clock, SYSTEM, course, action, _circumstances(site, facts))
            if action is Action.EXPIRE:
                notify(session, clock, "course_expired", f"{course.id}:expired", leads(session, course), course=course)
        case Ask(kind, revision):
            ask(session, clock, SYSTEM, course, kind, revision=revision, max_tries=settings.max_tries)
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
