"""Who is told, and who may do what no status decides about."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.actor import Actor, roles_in
from portal.courses.problems import Refused
from portal.lifecycle import Refusal, Role
from portal.models import Course, Lead, Participation, User
from portal.texts import N_

NOT_YOURS = Refusal("not_yours", N_("Only people with another role can do that."))


def leads_of(session: Session, course: Course) -> list[User]:
    """Everybody responsible for the course, longest first."""
    query = select(User).join(Lead, Lead.user_id == User.id).where(Lead.course_id == course.id).order_by(Lead.since)
    return list(session.scalars(query))


def accepted_in(session: Session, course: Course) -> list[User]:
    """Accepted participants, by name."""
    query = select(User).join(Participation, Participation.user_id == User.id)
    return list(
        session.scalars(
            query.where(Participation.course_id == course.id, Participation.status == "accepted").order_by(User.name)
        )
    )


def governance(session: Session) -> list[User]:
    """Everybody who approves courses."""
    return list(session.scalars(select(User).where(User.is_governance).order_by(User.name)))


def others(people: Iterable[User], actor: Actor) -> list[User]:
    """Each person once, without whoever acts: they see on their screen what they did."""
    return list({person.id: person for person in people if person.id != actor.id}.values())


def ensure_governance(actor: Actor) -> None:
    """Raises `Refused` for everybody else."""
    if not actor.is_governance:
        raise Refused(NOT_YOURS)


def ensure_keeper(session: Session, actor: Actor, course: Course) -> frozenset[Role]:
    """The actor's roles in the course; raises `Refused` for everybody but its leads and governance."""
    roles = roles_in(session, actor, course)
    if not roles & {Role.LEAD, Role.GOVERNANCE}:
        raise Refused(NOT_YOURS)
    return roles
