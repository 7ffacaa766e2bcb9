"""The outbox: a mail is a row of the same transaction as what it tells of, one for each event and recipient."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from portal.clock import SiteClock
from portal.mail.events import EVENTS
from portal.models import Course, Mail, User

DEFAULT_LOCALE = "en"


def notify(
    session: Session,
    clock: SiteClock,
    event: str,
    key: str,
    users: Iterable[User],
    *,
    course: Course | None = None,
    facts: Mapping[str, Any] | None = None,
    not_before: datetime | None = None,
) -> None:
    """Write a mail of the event to each of the users, and nothing to those who were told of this `key` before.

    `event` is one of `portal.mail.events`; `key` names what happened (`f"{course.id}:approved:{course.version}"`).
    `facts` fill the text: strings and numbers; days (`…_day`) and instants (`…_at`) as such or in ISO form. Never a
    secret. A user without an address is left out. Raises `ValueError` for an unknown event, or where a fact is missing
    without which its text makes no sense.
    """
    kind = EVENTS.get(event)
    if kind is None:
        raise ValueError(f"no mail is called {event!r}")
    given = {name: _plain(value) for name, value in (facts or {}).items() if value not in (None, "")}
    if course is not None:
        given = {
            "title": course.title,
            "first_day": course.first_day.isoformat(),
            "last_day": course.last_day.isoformat(),
            **given,
        }
    elif kind.of_course:
        raise ValueError(f"the mail {event} is about a course: name it")
    if missing := kind.needs - given.keys() - {"site_name"}:
        raise ValueError(f"the mail {event} needs {', '.join(sorted(missing))}")
    now = clock.now()
    rows = [
        {
            "id": uuid.uuid4(),
            "event": event,
            "event_key": key,
            "recipient": user.email,
            "user_id": user.id,
            "course_id": course.id if course else None,
            "locale": user.locale or DEFAULT_LOCALE,
            "facts": {"person": str(user), **given},
            "created_at": now,
            "not_before": not_before or now,
            "tries": 0,
            "failure": "",
        }
        # in one order for all: of two writers neither waits for the other's row while holding one that it wants
        for user in sorted(users, key=lambda user: user.email)
        if user.email
    ]
    if rows:
        session.execute(insert(Mail).values(rows).on_conflict_do_nothing(index_elements=["event_key", "recipient"]))


def governance(session: Session) -> list[User]:
    """Everybody who approves courses: to each of them a mail of their own."""
    return list(session.scalars(select(User).where(User.is_governance).order_by(User.email)))


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
