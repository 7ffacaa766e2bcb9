"""What tests of courses share: a site with a target and people, and a session that each deed commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.actor import Actor
from portal.config import PortalSettings
from portal.courses.requests import CourseRequest
from portal.db import Sessions, transaction
from portal.models import AuditEntry, Course, Mail, User
from tests.portal.clock import MovableClock
from tests.portal.makers import make_spec, make_target, make_user


@dataclass
class Site:
    """A site with one target, a teacher, two of governance, a student; `session` is for looking, not for deeds."""

    sessions: Sessions
    clock: MovableClock
    settings: PortalSettings
    session: Session
    people: dict[str, User] = field(default_factory=dict)

    def actor(self, login: str) -> Actor:
        return Actor(self.people[login], "192.0.2.1", "request-1")

    def wanted(self, slug: str = "python-intro", **changes: Any) -> CourseRequest:
        """What a teacher asks for: twenty seats, four weeks from next week on."""
        target = changes.pop("target", "local")
        policy = changes.pop("join_policy", "admits")
        spec = make_spec(self.clock, slug, **changes)
        return CourseRequest.model_validate({**spec, "target": target, "join_policy": policy})

    def do(self, deed: Any, *arguments: Any, **more: Any) -> Any:
        """Call a use case in a transaction of its own: committed, or rolled back if it raises."""
        with transaction(self.sessions) as session:
            return deed(session, *arguments, **more)

    def course(self, course: Course) -> Course:
        """As it is in the database now."""
        self.session.rollback()
        return self.session.scalars(
            select(Course).where(Course.id == course.id).execution_options(populate_existing=True)
        ).one()

    def mails(self, event: str) -> list[str]:
        """Recipients of an event's mails."""
        self.session.rollback()
        return sorted(self.session.scalars(select(Mail.recipient).where(Mail.event == event)))

    def audit(self, action: str) -> list[AuditEntry]:
        self.session.rollback()
        return list(self.session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)))

    @property
    def today(self) -> dt.date:
        return self.clock.today()


@pytest.fixture
def site(session_factory: Sessions, clock: MovableClock, settings: PortalSettings) -> Iterator[Site]:
    with session_factory() as looking:
        site = Site(session_factory, clock, settings, looking)
        with transaction(session_factory) as session:
            make_target(session)
            for login, roles in {
                "teacher": {"teacher": True},
                "colleague": {"teacher": True},
                "gina": {"governance": True},
                "gustav": {"governance": True},
                "student": {},
                "stranger": {},
            }.items():
                site.people[login] = make_user(session, clock, login, **roles)
        yield site
