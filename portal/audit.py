"""The audit log: one entry for each deed, in the transaction of the deed itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from portal.actor import Actor
from portal.clock import SiteClock
from portal.models import AuditEntry, Course


def record(
    session: Session,
    clock: SiteClock,
    actor: Actor,
    action: str,
    *,
    course: Course | None = None,
    subject: object = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add an entry. `action` is `thing.deed`; `before` and `after` hold what changed, people by id, never a secret."""
    session.add(
        AuditEntry(
            at=clock.now(),
            actor_id=actor.id,
            action=action,
            course_id=course.id if course else None,
            subject_id=None if subject is None else str(subject),
            before=before,
            after=after,
            address=actor.address,
            request_id=actor.request_id,
        )
    )
