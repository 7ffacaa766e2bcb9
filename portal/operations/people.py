"""Whom the scheduler and the workers write to."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Course, Lead, Participation, User


def leads(session: Session, course: Course) -> list[User]:
    """The course's leads."""
    return list(session.scalars(select(User).join(Lead, Lead.user_id == User.id).where(Lead.course_id == course.id)))


def participants(session: Session, course: Course) -> list[User]:
    """Everybody who is accepted into the course, leads apart."""
    return list(
        session.scalars(
            select(User)
            .join(Participation, Participation.user_id == User.id)
            .where(Participation.course_id == course.id, Participation.status == "accepted")
        )
    )
