"""Asking for a course, changing what was asked for, taking it back, and asking for the same again."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from course_stack.fit import misfits
from course_stack.sizes import Demand, demand
from course_stack.spec import CourseDesign, CourseSpec, Problem, request_problems
from course_stack.target import Target
from portal.actor import Actor
from portal.capacity import Fit, compute_figures, storage_figures
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people, room
from portal.courses.problems import Invalid, Refused
from portal.courses.specs import add_revision, design_of, revision_of, stored, take_over, with_people
from portal.lifecycle import Action, Status
from portal.mail.outbox import notify
from portal.models import CatalogueImage, Course, Lead, Revision, TargetRecord
from portal.texts import N_

MAX_SLUG = 40
_SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "+": "p"})
MAX_REASON = 2000
"""Characters of a reason or comment."""


class CourseRequest(CourseDesign):
    """What a teacher asks for: a design, where it shall run, and how people join."""

    target: str = Field(
        title=N_("place"),
        description=N_("Where the course runs. A place may begin with values of its own."),
        max_length=31,
        pattern=r"^[a-z][a-z0-9-]*$",
    )
    join_policy: Literal["admits", "asks"] = Field(
        default="admits",
        title=N_("joining"),
        description=N_("admits: the join link lets people in at once; asks: a lead lets in each of them."),
    )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a course would take of its target, and whether there is room for it as things stand now."""

    spec: CourseSpec
    demand: Demand
    fit: Fit
    problems: tuple[Problem, ...]
    """What keeps it from ever running there."""


def estimate(
    session: Session, clock: SiteClock, settings: PortalSettings, actor: Actor, wanted: CourseRequest
) -> Estimate:
    """Size and free capacity of what somebody is about to ask for: counted as the approval will count it."""
    spec = with_people(wanted, [actor.user.subject if actor.user else "lead"])
    target = session.get(TargetRecord, wanted.target)
    problems = tuple(target_problems(wanted, target))
    fit = room.fit(session, clock, settings, target, spec) if target else Fit(())
    return Estimate(spec, demand(spec), fit, problems)


def ask(session: Session, clock: SiteClock, actor: Actor, wanted: CourseRequest) -> Course:
    """A new course that waits for approval, led by the actor.

    Raises `Invalid` by field, `Refused` for people who may not ask for courses. Nothing is saved then.
    """
    user = actor.user
    if user is None or not (user.may_request or user.is_governance):
        raise Refused(people.NOT_YOURS)
    _ensure_possible(session, clock, wanted)
    course = Course(
        id=uuid.uuid4(),
        target_name=wanted.target,
        join_policy=wanted.join_policy,
        approved_revision=1,
        requested_by_id=user.id,
        requested_at=clock.now(),
    )
    take_over(course, wanted)
    course.revisions = [Revision(number=1, spec=stored(wanted), author_id=user.id, created_at=clock.now())]
    course.leads = [Lead(user_id=user.id, since=clock.now())]
    with slug_is_free(session, wanted.slug):
        life.begin(session, clock, actor, course, after={"revision": 1, **_facts(course)})
    notify(
        session,
        clock,
        "course_requested",
        f"{course.id}:requested",
        people.others(people.governance(session), actor),
        course=course,
        facts={"requester": str(user)},
    )
    return course


def revise(
    session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, wanted: CourseRequest, *, version: int
) -> Course:
    """Change a request that nobody has decided yet. Raises `Invalid`, `Refused`, or `Stale`: decided, or changed."""
    course = life.lock(session, course_id, version=version)
    before = {"revision": course.approved_revision, **_facts(course)}
    _ensure_possible(session, clock, wanted)
    with slug_is_free(session, wanted.slug):
        revision = add_revision(session, course, wanted, author_id=actor.id, created_at=clock.now())
        course.target_name, course.join_policy = wanted.target, wanted.join_policy
        after = {"revision": revision.number, **_facts(course)}
        life.act(session, clock, actor, course, Action.REVISE, before=before, after=after)
        session.flush()
    return course


def withdraw(
    session: Session, clock: SiteClock, actor: Actor, course_id: uuid.UUID, *, version: int, reason: str = ""
) -> Course:
    """Take back a request, or an approved course that has not been deployed: what it held is free again."""
    course = life.lock(session, course_id, version=version)
    was_approved = course.status is Status.APPROVED
    course.reason = reason_of(reason)
    life.act(session, clock, actor, course, Action.WITHDRAW, after={"reason": course.reason})
    told = people.leads_of(session, course) + people.governance(session)
    if was_approved:
        told += people.accepted_in(session, course)
    notify(
        session,
        clock,
        "course_withdrawn",
        f"{course.id}:withdrawn",
        people.others(told, actor),
        course=course,
        facts={"reason": course.reason},
    )
    return course


def slug_of(title: str) -> str:
    """A short name made of a title, if its letters are any that a short name has; empty else."""
    spelled = title.lower().translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).lstrip("-0123456789")[:MAX_SLUG].strip("-")


def first_values(target: TargetRecord | None, images: Sequence[CatalogueImage]) -> dict[str, Any]:
    """What a new request begins with: the target's own defaults, and the site's first image where they name none."""
    first: dict[str, Any] = {"seats": 20, "join_policy": "admits"}
    if target is not None:
        first |= {"target": target.name, **target.defaults}
    if image := next((one for one in images if one.reference == first.get("image", one.reference)), None):
        first = {"image": image.reference, "default_url": image.default_url, **first}
    return first


def copy_of(session: Session, actor: Actor, course: Course) -> dict[str, Any]:
    """What a form for the same course again begins with: everything but name, dates and people.

    Raises `Refused` for everybody but the course's leads and governance.
    """
    people.ensure_keeper(session, actor, course)
    content = stored(design_of(revision_of(session, course)))
    for field in ("slug", "first_day", "last_day"):
        del content[field]
    return {**content, "target": course.target_name, "join_policy": course.join_policy}


def request_of(session: Session, course: Course) -> dict[str, Any]:
    """A request as its form holds it."""
    content = stored(design_of(revision_of(session, course)))
    return {**content, "target": course.target_name, "join_policy": course.join_policy}


def reason_of(text: str, *, required: bool = False, field: str = "reason") -> str:
    """A reason or comment as it is stored. Raises `Invalid` where it is missing or too long."""
    text = text.replace("\r\n", "\n").strip()
    if required and not text:
        raise Invalid([Problem(field, N_("is missing: people are told why"))])
    if len(text) > MAX_REASON:
        raise Invalid([Problem(field, N_("is too long; at most {max_length} characters"), {"max_length": MAX_REASON})])
    if any(not (character.isprintable() or character in "\n\t") for character in text):
        raise Invalid([Problem(field, N_("holds a character that cannot be shown"))])
    return text


@contextmanager
def slug_is_free(session: Session, slug: str) -> Iterator[None]:
    """Whoever comes second with a slug is told so beside the field; the unique index decides who that is."""
    try:
        with session.begin_nested():
            yield
            session.flush()
    except IntegrityError as error:
        if "uq_courses_slug_in_use" not in str(error.orig):
            raise
        raise Invalid(
            [Problem("slug", N_("{slug} is taken by another course; choose another"), {"slug": slug}, "short name")]
        ) from None


def target_problems(design: CourseDesign, target: TargetRecord | None) -> list[Problem]:
    """What keeps a design from ever running on a target: closed, without its kind of GPU, or simply too small."""
    if target is None or not target.is_open:
        return [Problem("target", N_("is no place where courses can be asked for now; choose another"))]
    needed = demand(with_people(design, ["lead"]))
    capacity = room.capacity_of(target)
    problems = misfits(design, Target.model_validate(target.target))
    for figure, number in {**compute_figures(needed), **storage_figures(needed)}.items():
        if number > capacity.get(figure, 0):
            gpu = figure in needed.gpus
            field = "profiles" if gpu else "seats"
            problems.append(
                Problem(
                    field,
                    N_("the course needs {needed} of {figure}, and {target} has {most}; make it smaller"),
                    {
                        "needed": room.amount(figure, number),
                        "figure": room.figure_name(figure),
                        "target": target.name,
                        "most": room.amount(figure, capacity.get(figure, 0)),
                    },
                )
            )
    return problems


def _ensure_possible(session: Session, clock: SiteClock, wanted: CourseRequest) -> None:
    problems = request_problems(wanted, clock.today())
    problems += target_problems(wanted, session.get(TargetRecord, wanted.target))
    if problems:
        raise Invalid(problems)


def _facts(course: Course) -> dict[str, Any]:
    return {
        "slug": course.slug,
        "target": course.target_name,
        "first_day": str(course.first_day),
        "last_day": str(course.last_day),
        "seats": course.seats,
    }
