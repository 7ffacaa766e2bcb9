"""A small site with one thing of every kind, and somebody in every role."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy.orm import Session
from werkzeug.routing import Rule

from portal.clock import SiteClock
from portal.lifecycle import Status
from portal.models import Attempt, CatalogueImage, ChangeRequest, Course, Mail, Operation, User
from portal.participants import codes
from tests.portal.client import PortalClient
from tests.portal.makers import make_course, make_image, make_user

ROLES = ("nobody", "stranger", "participant", "teacher", "lead", "governance")

_OF_A_REQUEST = frozenset(
    {"governance.decide", "governance.approve", "governance.reject", "requests.edit", "requests.take_back"}
)
"""Routes about what nobody has decided yet."""


@dataclass
class World:
    """`people` by role (nobody has none); `values` fills the arguments of routes, by their names."""

    people: dict[str, User]
    course: Course
    waiting: Course
    closed: Course
    image: CatalogueImage
    operation: Operation
    values: dict[str, Any] = field(default_factory=dict)

    def path(self, app: Flask, rule: Rule) -> str:
        """Address of a route about the things of this world."""
        arguments = {name: self.values[name] for name in rule.arguments}
        if rule.endpoint in _OF_A_REQUEST:
            arguments["course_id"] = self.waiting.id
        if rule.endpoint.startswith("archives."):
            arguments["course_id"] = self.closed.id
        with app.test_request_context(base_url="https://portal.example.org"):
            return str(app.url_for(rule.endpoint, **arguments)) if rule.endpoint != "static" else "/static/favicon.svg"

    def client(self, app: Flask, role: str) -> PortalClient:
        """A browser of somebody in that role."""
        client = app.test_client()
        assert isinstance(client, PortalClient)
        return client if role == "nobody" else client.sign_in(self.people[role])


def make_world(session: Session, clock: SiteClock) -> World:
    """An active course with lead, participant, operation and a wish to change it; a request; an image; a mail."""
    people = {
        "stranger": make_user(session, clock, "stranger"),
        "participant": make_user(session, clock, "participant"),
        "teacher": make_user(session, clock, "teacher", teacher=True),
        "lead": make_user(session, clock, "lead", teacher=True),
        "governance": make_user(session, clock, "governance", governance=True),
    }
    code = "a-join-code-that-nobody-guesses"
    joined = (people["participant"],)
    course = make_course(session, clock, people["lead"], status=Status.ACTIVE, slug="active", participants=joined)
    waiting = make_course(session, clock, people["lead"], slug="waiting-course")
    course.join_code_hash = codes.digest(code)
    closed = make_course(session, clock, people["lead"], status=Status.CLOSED, slug="closed")
    image = make_image(session)
    change = ChangeRequest(
        course=course, base_revision=1, changes={"seats": 25}, requested_by=people["lead"], requested_at=clock.now()
    )
    operation = Operation(
        id=uuid.uuid4(), course=course, kind="deploy", revision=1, status="succeeded", not_before=clock.now(),
        max_tries=4, created_at=clock.now(), finished_at=clock.now() + timedelta(minutes=1),
    )  # fmt: skip
    attempt = Attempt(operation=operation, number=1, queued_at=clock.now(), finished_at=clock.now(), result="succeeded")
    mail = Mail(
        id=uuid.uuid4(), event="course_ready", event_key="x", recipient="lead@example.org", locale="en",
        course_id=course.id, facts={"person": "Lead", "title": course.title, "first_day": "2027-03-08",
                                    "last_day": "2027-04-04"},
        created_at=clock.now(), not_before=clock.now(),
    )  # fmt: skip
    session.add_all([change, operation, attempt, mail])
    session.flush()
    return World(
        people,
        course,
        waiting,
        closed,
        image,
        operation,
        {
            "course_id": course.id,
            "user_id": people["participant"].id,
            "operation_id": operation.id,
            "attempt_id": attempt.id,
            "change_id": change.id,
            "image_id": image.id,
            "mail_id": mail.id,
            "session_id": uuid.uuid4(),
            "deed": "accept",
            "code": code,
            "slug": course.slug,
            "filename": "favicon.svg",
            "name": "x",
        },
    )
