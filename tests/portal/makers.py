"""Makers of rows: one call, one thing that is valid in every field, with whatever a test wants otherwise."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import Any

from sqlalchemy.orm import Session

from course_stack.spec import load_spec
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target
from portal.clock import SiteClock
from portal.lifecycle import HAS_STACK, Status
from portal.models import CatalogueImage, Course, Lead, Participation, Revision, TargetRecord, User
from tests.course_stack.specs import course as spec_mapping

ISSUER = "https://id.example.org"

_numbers = itertools.count(1)


def make_user(
    session: Session, clock: SiteClock, login: str | None = None, *, teacher: bool = False, governance: bool = False,
    **changes: Any,
) -> User:  # fmt: skip
    """A person; the subject is the login. `teacher` may ask for courses, `governance` may approve them."""
    login = login or f"person{next(_numbers)}"
    facts: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": login,
        "login": login,
        "name": f"{login.capitalize()} Example",
        "email": f"{login}@example.org",
        "may_request": teacher,
        "is_governance": governance,
        "roles_checked_at": clock.wall(),
        "created_at": clock.wall(),
    }
    user = User(**(facts | changes))
    session.add(user)
    session.flush()
    return user


def make_target(session: Session, name: str = "local", **changes: Any) -> TargetRecord:
    """A target with 64 GiB of memory, 32 cores and 1 TiB of storage; the one of that name if there is one already."""
    if found := session.get(TargetRecord, name):
        for field, value in changes.items():
            setattr(found, field, value)
        session.flush()
        return found
    described = Target(
        name=name,
        kind="local",
        hub_domain="hubs.example.net",
        identity=IdentityTarget(kind="canaille", url=ISSUER),
        object_store=ObjectStoreTarget(kind="seaweedfs", endpoint="http://127.0.0.1:1"),
    )
    facts: dict[str, Any] = {
        "name": name,
        "target": described.model_dump(mode="json"),
        "memory_mib": 64 * 1024,
        "cpu_millicores": 32_000,
        "storage_mib": 1024 * 1024,
        "gpus": {},
    }
    record = TargetRecord(**(facts | changes))
    session.add(record)
    session.flush()
    return record


def make_image(session: Session, reference: str = "quay.io/jupyter/scipy-notebook:2026-10-05") -> CatalogueImage:
    """An image of the catalogue."""
    image = CatalogueImage(title="Scientific Python", reference=reference)
    session.add(image)
    session.flush()
    return image


def make_spec(clock: SiteClock, slug: str | None = None, **changes: Any) -> dict[str, Any]:
    """A spec as revisions hold it (without people): from a week after today, for four weeks, for twenty people."""
    first = changes.pop("first_day", clock.today() + dt.timedelta(days=7))
    last = changes.pop("last_day", first + dt.timedelta(days=27))
    slug = slug or f"course-{next(_numbers)}"
    spec = load_spec(spec_mapping(slug=slug, first_day=str(first), last_day=str(last), **changes))
    return spec.model_dump(mode="json", exclude={"leads", "participants"})


def make_course(
    session: Session,
    clock: SiteClock,
    lead: User | None = None,
    *,
    status: Status = Status.REQUESTED,
    slug: str | None = None,
    target: TargetRecord | None = None,
    participants: tuple[User, ...] = (),
    spec: dict[str, Any] | None = None,
    **changes: Any,
) -> Course:
    """A course in any status, led by `lead` (made where none is given), with accepted participants.

    `spec` changes fields of the spec, `changes` columns of the course. Statuses that have a stack get an applied
    revision and a hub's addresses.
    """
    target = target or make_target(session)
    lead = lead or make_user(session, clock, teacher=True)
    content = make_spec(clock, slug, **(spec or {}))
    now = clock.now()
    deployed = status in HAS_STACK and status not in (Status.DEPLOYING, Status.DEPLOY_FAILED)
    decided = status not in (Status.REQUESTED, Status.WITHDRAWN, Status.EXPIRED)
    facts: dict[str, Any] = {
        "id": uuid.uuid4(),
        "slug": content["slug"],
        "target_name": target.name,
        "status": status,
        "status_since": now,
        "next_due_at": now,
        "title": content["title"],
        "first_day": dt.date.fromisoformat(content["first_day"]),
        "last_day": dt.date.fromisoformat(content["last_day"]),
        "seats": content["seats"],
        "approved_revision": 1,
        "applied_revision": 1 if deployed else None,
        "checked_revision": 1 if deployed else None,
        "requested_by_id": lead.id,
        "requested_at": now,
        "decided_at": now if decided else None,
        "hub_url": f"https://{content['slug']}.hubs.example.net/" if deployed else None,
        "api_url": f"https://{content['slug']}.hubs.example.net/hub/api" if deployed else None,
    }
    if status in (Status.CLOSING, Status.CLOSED, Status.REMOVING, Status.REMOVAL_FAILED, Status.ARCHIVED):
        facts |= {"closing": 1, "closing_since": now}
    if status in (Status.CLOSED, Status.REMOVING, Status.REMOVAL_FAILED, Status.ARCHIVED):
        facts |= {"closed_at": now}
    course = Course(**(facts | changes))
    course.revisions.append(Revision(number=1, spec=content, author_id=lead.id, created_at=now))
    course.leads.append(Lead(user=lead, since=now))
    for person in participants:
        course.participations.append(Participation(user=person, status="accepted", since=now, access_ended=False))
    session.add(course)
    session.flush()
    return course
