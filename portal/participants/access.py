"""What every change of a course's people shares: who may make it, and how it is counted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from portal.actor import Actor, roles_in
from portal.courses.problems import Refused
from portal.lifecycle import Refusal, Role
from portal.models import Course
from portal.texts import N_


def require_lead(session: Session, actor: Actor, course: Course) -> None:
    """Leads decide on people; governance may, where leads cannot. Raises `Refused`."""
    if not roles_in(session, actor, course) & {Role.LEAD, Role.GOVERNANCE}:
        raise Refused(Refusal("not_yours", N_("Only people with another role in this course can do that.")))


def changed(session: Session, course: Course) -> None:
    """Count a change of who has access to a course whose row is locked: the reconciler carries it out."""
    write(session, course, people_revision=Course.people_revision + 1, people_not_before=None)


def write(session: Session, course: Course, **values: Any) -> None:
    """Write columns of people and code without counting a new version of the course: a page about its dates is not
    outdated because somebody joined."""
    written = session.execute(
        update(Course)
        .where(Course.id == course.id)
        .values(**values)
        .returning(*(getattr(Course, name) for name in values))
        .execution_options(synchronize_session=False)
    ).one()
    for name, value in zip(values, written, strict=True):
        set_committed_value(course, name, value)
