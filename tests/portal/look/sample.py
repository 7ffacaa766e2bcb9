"""A small university for pages: people, courses in several statuses, operations with what they told, audit entries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy.orm import Session

from portal import audit
from portal.actor import SYSTEM, Actor
from portal.clock import SiteClock
from portal.lifecycle import Status
from portal.models import (
    Archive,
    Attempt,
    AttemptEvent,
    CatalogueImage,
    ChangeRequest,
    Course,
    Home,
    Mail,
    Operation,
    Participation,
    User,
)
from tests.portal.makers import make_course, make_image, make_target, make_user


@dataclass(frozen=True)
class Sample:
    """Who and what is there."""

    teacher: User
    governance: User
    student: User
    courses: dict[str, Course]
    """By slug."""
    operations: dict[str, Operation]
    """running, failed, succeeded."""
    image: CatalogueImage
    change: ChangeRequest
    """Open, of the course statistics."""


def fill(session: Session, clock: SiteClock) -> Sample:
    """Write it into an empty database."""
    teacher = make_user(session, clock, "maria", name="Maria Lehrer", teacher=True)
    governance = make_user(session, clock, "gita", name="Gita Rat", governance=True, teacher=True)
    student = make_user(session, clock, "sam", name="Sam Studi")
    others = tuple(make_user(session, clock, f"student{n}", name=f"Student Number {n}") for n in range(1, 6))
    target = make_target(session, memory_mib=32 * 1024)
    image = make_image(session)
    day = clock.today()

    def course(slug: str, title: str, status: Status, first: int, last: int, seats: int = 20) -> Course:
        return make_course(
            session,
            clock,
            teacher,
            slug=slug,
            status=status,
            target=target,
            participants=(student, *others) if status is not Status.REQUESTED else (),
            spec={
                "title": title,
                "seats": seats,
                "first_day": day + dt.timedelta(days=first),
                "last_day": day + dt.timedelta(days=last),
            },
        )

    made = [
        course("statistics", "Statistics with Python", Status.ACTIVE, -20, 60),
        course("machine-learning", "Machine learning for biologists", Status.APPROVED, 14, 100, 25),
        course("r-workshop", "R workshop", Status.REQUESTED, 7, 9, 12),
        course("databases", "Databases", Status.DEPLOYING, 1, 90, 30),
        course("numerics", "Numerics", Status.DEPLOY_FAILED, 0, 30, 15),
        course("summer-school", "Summer school", Status.CLOSED, -30, -2, 10),
        course("old-course", "Old course", Status.ARCHIVED, -200, -100, 10),
    ]
    courses = {one.slug: one for one in made}
    courses["statistics"].drift = {"differences": [{"name": "hub-config", "what": "changed", "fields": ["data"]}]}
    courses["statistics"].drift_checked_at = clock.now()
    target.inventory = {
        "findings": [
            {"kind": "no_course", "slug": "forgotten", "detail": ""},
            {"kind": "stray", "slug": "jhaas-forgotten", "detail": "bucket"},
        ],
        "failure": "",
    }
    target.inventory_at = clock.now()
    change = ChangeRequest(
        course_id=courses["statistics"].id,
        base_revision=1,
        changes={"seats": 30, "home_size": 4.0},
        comment="More people want to come.",
        requested_by_id=teacher.id,
        requested_at=clock.now(),
    )
    waiting = make_user(session, clock, "nina", name="Nina Neu")
    courses["statistics"].participations.append(
        Participation(user=waiting, status="waiting", since=clock.now(), access_ended=True)
    )
    session.add(change)
    for person in others[:2]:
        home = Home(
            course_id=courses["summer-school"].id,
            home=person.login,
            issuer=person.issuer,
            subject=person.subject,
            first_seen_at=clock.now(),
            server_stopped_at=clock.now(),
        )
        session.add(home)
        is_read = person is others[0]
        facts = {"verified_at": clock.now(), "size": 123_456, "files": 17, "skipped": 1, "sha256": "0" * 64}
        failure = {"failure": "'disk' cannot be read: Input/output error.", "failure_kind": "HomeUnreadable"}
        session.add(
            Archive(
                course_id=home.course_id,
                closing=1,
                home=home.home,
                issuer=home.issuer,
                subject=home.subject,
                status="verified" if is_read else "failed",
                began_at=clock.now(),
                bucket="archives",
                key=home.home,
                **(facts if is_read else failure),
            )
        )
    mail = Mail(
        event="course_approved",
        event_key="sample",
        recipient=teacher.email,
        user_id=teacher.id,
        course_id=courses["machine-learning"].id,
        locale="en",
        facts={"title": "Machine learning for biologists"},
        created_at=clock.now(),
        not_before=clock.now(),
        tries=5,
        given_up_at=clock.now(),
        failure="The mail server does not answer.",
    )
    session.add(mail)
    operations = {
        "running": operation(session, clock, courses["databases"], "deploy", "running"),
        "failed": operation(session, clock, courses["numerics"], "deploy", "failed"),
        "succeeded": operation(session, clock, courses["statistics"], "check", "succeeded"),
    }
    actor = Actor(governance, "203.0.113.7", "request-1")
    for one in made:
        audit.record(
            session, clock, actor, "course.approve", course=one,
            before={"status": "requested"}, after={"status": "approved", "lead": str(teacher.id)},
        )  # fmt: skip
    audit.record(session, clock, SYSTEM, "operation.deploy", course=made[3], subject=operations["running"].id)
    session.flush()
    return Sample(teacher, governance, student, courses, operations, image, change)


def operation(session: Session, clock: SiteClock, course: Course, kind: str, status: str) -> Operation:
    """An operation with one attempt that told a few things."""
    now = clock.now()
    done = status != "running"
    made = Operation(
        course_id=course.id,
        kind=kind,
        revision=1,
        status=status,
        not_before=now,
        tries=1,
        max_tries=4,
        created_at=now,
        finished_at=now if done else None,
        failure="The hub did not come up: a network port is taken." if status == "failed" else "",
        failure_kind="PortTaken" if status == "failed" else "",
    )
    session.add(made)
    session.flush()
    attempt = Attempt(
        operation_id=made.id,
        number=1,
        queued_at=now,
        worker="worker-1:4711:abcd",
        claimed_at=now,
        lease_until=now + dt.timedelta(days=1),
        deadline=now + dt.timedelta(days=1),
        finished_at=now if done else None,
        result=status if done else None,
        failure=made.failure,
        failure_kind=made.failure_kind,
    )
    session.add(attempt)
    session.flush()
    tell(
        session,
        clock,
        attempt,
        ("started", {"operation": "x", "kind": kind, "slug": course.slug, "engine": "embedded engine"}),
        ("step", {"text": "The stack is brought to the wanted state."}),
        ("progress", {"done": 2, "total": 7}),
        ("resource", {"name": "home-folders", "resource_type": "local", "action": "create", "state": "done"}),
        ("resource", {"name": "hub", "resource_type": "local", "action": "create", "state": "begun"}),
        ("log", {"text": "+ hub creating (0s) <b>&"}),
        ("warning", {"text": "An interrupted run was repaired."}),
    )
    if done:
        failed = status == "failed"
        tell(
            session,
            clock,
            attempt,
            (
                "finished",
                {
                    "operation": "x",
                    "seconds": 12.5,
                    "changes": {},
                    "failure": "HubFailed" if failed else None,
                    "message": made.failure,
                },
            ),
        )
    return made


def tell(session: Session, clock: SiteClock, attempt: Attempt, *events: tuple[str, dict[str, object]]) -> None:
    """Append events to an attempt."""
    count = session.query(AttemptEvent).filter_by(attempt_id=attempt.id).count()
    for number, (kind, content) in enumerate(events, start=count + 1):
        session.add(AttemptEvent(attempt_id=attempt.id, n=number, at=clock.now(), type=kind, content=content))
    session.flush()
