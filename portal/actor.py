"""Who acts, and in which roles."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.lifecycle import Role
from portal.models import Course, Lead, Participation, User


@dataclass(frozen=True, slots=True)
class Actor:
    """A person at a browser, or the portal itself (`SYSTEM`). `address` and `request_id` go into the audit log."""

    user: User | None
    address: str | None = None
    request_id: str | None = None

    @property
    def id(self) -> uuid.UUID | None:
        return self.user.id if self.user else None

    @property
    def is_governance(self) -> bool:
        return self.user is not None and self.user.is_governance


SYSTEM = Actor(None)


def roles_in(session: Session, actor: Actor, course: Course) -> frozenset[Role]:
    """The actor's roles in a course, one query each at most; `STRANGER` alone for somebody who has none."""
    if actor.user is None:
        return frozenset({Role.SYSTEM})
    roles = {Role.GOVERNANCE} if actor.user.is_governance else set()
    if session.scalar(select(Lead.user_id).where(Lead.course_id == course.id, Lead.user_id == actor.user.id)):
        roles.add(Role.LEAD)
    accepted = select(Participation.status).where(
        Participation.course_id == course.id,
        Participation.user_id == actor.user.id,
        Participation.status == "accepted",
    )
    if session.scalar(accepted):
        roles.add(Role.PARTICIPANT)
    return frozenset(roles or {Role.STRANGER})
