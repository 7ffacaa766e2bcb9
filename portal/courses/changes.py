"""Changing a course after its approval: asked for by a lead, decided by governance, carried out by an operation.

A change request holds only the fields that shall change, and the revision that they were changed in. Decided later, it
is merged into what is approved by then and checked again as a whole.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from course_stack.spec import CourseDesign, CourseSpec, Problem, problems_of
from portal import audit
from portal.actor import Actor, roles_in
from portal.capacity import Fit
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses import life, people, room
from portal.courses.differences import changed_fields
from portal.courses.problems import Invalid, Moved, Refused, Stale
from portal.courses.requests import reason_of
from portal.courses.specs import add_revision, design_of, merge, people_of, revision_of, stored, with_people
from portal.lifecycle import Action, Refusal, Status
from portal.mail.outbox import notify
from portal.models import ChangeRequest, Course, TargetRecord
from portal.operations.ask import ask
from portal.texts import N_

ALREADY_DECIDED = Refusal("decided", N_("Somebody has decided on this change already."))
ONE_AT_A_TIME = Refusal(
    "open_change", N_("A change of this course waits for a decision already; withdraw it before you ask for another.")
)


def request_change(
    session: Session,
    clock: SiteClock,
    actor: Actor,
    course_id: uuid.UUID,
    wanted: CourseDesign,
    *,
    base: int,
    comment: str = "",
) -> ChangeRequest:
    """Ask for what is different in `wanted` from revision `base`, which the form was filled with.

    Raises `Invalid` by field, `Refused` where a change is open or the course is not in a state for one.
    """
    comment = reason_of(comment, field="comment")
    course = life.lock(session, course_id)
    life.ensure(course, Action.REQUEST_CHANGE, roles_in(session, actor, course))
    if open_change(session, course):
        raise Refused(ONE_AT_A_TIME)
    try:
        changes = changed_fields(stored(design_of(revision_of(session, course, base))), stored(wanted))
    except LookupError:
        raise Stale from None
    if not changes:
        raise Invalid([Problem("", N_("nothing is different from what the course is now"))])
    merged(session, clock, course, changes)
    change = ChangeRequest(
        course_id=course.id,
        base_revision=base,
        changes=changes,
        comment=comment,
        status="open",
        requested_by_id=actor.id,
        requested_at=clock.now(),
    )
    session.add(change)
    session.flush()
    life.act(session, clock, actor, course, Action.REQUEST_CHANGE, after={"change": str(change.id), "fields": changes})
    notify(
        session,
        clock,
        "change_requested",
        f"{change.id}:requested",
        people.others(people.governance(session), actor),
        course=course,
        facts={"requester": str(actor.user), "comment": comment},
    )
    return change


def approve_change(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    actor: Actor,
    change_id: uuid.UUID,
    *,
    base: int | None = None,
    seen: str | None = None,
) -> Course:
    """Make a change what is approved: a new revision, and an update of the hub where there is one.

    `base` (the approved revision) and `seen` (`room.written`) are what the page was made from. Raises `Invalid` where
    the merged whole breaks a rule by now, `Moved`, `Stale`, or `Refused`.
    """
    course, target, change = _locked(session, change_id)
    if base is not None and base != course.approved_revision:
        raise Stale
    roles = roles_in(session, actor, course)
    now = life.circumstances(clock, settings, actor, course, roles)
    life.ensure(course, Action.DECIDE_CHANGE, roles, now)
    spec, found = outcome(session, clock, settings, course, target, change.changes)
    if seen is not None and seen != room.written(found):
        raise Moved(found)
    room.ensure_room(found)
    before = course.approved_revision
    revision = add_revision(session, course, spec, author_id=change.requested_by_id, created_at=clock.now())
    if "last_day" in change.changes:
        course.agreed_last_day = course.last_day
    _decide(clock, actor, change, "approved")
    life.act(
        session,
        clock,
        actor,
        course,
        Action.DECIDE_CHANGE,
        now,
        roles=roles,
        before={"revision": before},
        after={"change": str(change.id), "decision": "approved", "revision": revision.number},
    )
    carry_out(session, clock, actor, course)
    _tell_leads(session, clock, actor, course, change)
    return course


def reject_change(
    session: Session, clock: SiteClock, settings: PortalSettings, actor: Actor, change_id: uuid.UUID, *, reason: str
) -> Course:
    """Leave the course as it is, with the reason that its leads are told. Raises `Invalid`, `Refused`."""
    reason = reason_of(reason, required=True)
    course, _, change = _locked(session, change_id)
    roles = roles_in(session, actor, course)
    _decide(clock, actor, change, "rejected", reason)
    life.act(
        session,
        clock,
        actor,
        course,
        Action.DECIDE_CHANGE,
        life.circumstances(clock, settings, actor, course, roles),
        roles=roles,
        after={"change": str(change.id), "decision": "rejected", "reason": reason},
    )
    _tell_leads(session, clock, actor, course, change, reason=reason)
    return course


def withdraw_change(session: Session, clock: SiteClock, actor: Actor, change_id: uuid.UUID) -> Course:
    """Take an open change back."""
    course, _, change = _locked(session, change_id)
    people.ensure_keeper(session, actor, course)
    _decide(clock, actor, change, "withdrawn")
    audit.record(session, clock, actor, "change.withdraw", course=course, subject=change.id)
    notify(
        session,
        clock,
        "change_withdrawn",
        f"{change.id}:withdrawn",
        people.others(people.leads_of(session, course) + people.governance(session), actor),
        course=course,
    )
    return course


def open_change(session: Session, course: Course) -> ChangeRequest | None:
    """The change of the course that waits for a decision."""
    return session.scalar(
        select(ChangeRequest).where(ChangeRequest.course_id == course.id, ChangeRequest.status == "open")
    )


def merged(session: Session, clock: SiteClock, course: Course, changes: dict[str, Any]) -> CourseSpec:
    """What is approved with the changed fields in it, checked as a whole. Raises `Invalid`."""
    old = design_of(revision_of(session, course))
    try:
        new = merge(old, changes)
        accepted = people_of(session, course, leads=False)
        found = change_problems(
            old, new, is_deployed=course.status is not Status.APPROVED, accepted=len(accepted), today=clock.today()
        )
        if found:
            raise Invalid(found)
        leads = people_of(session, course, leads=True)
        return with_people(new, leads, set(accepted) - set(leads))
    except ValidationError as error:
        raise Invalid(problems_of(error, CourseSpec)) from None


def outcome(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    course: Course,
    target: TargetRecord,
    changes: dict[str, Any],
) -> tuple[CourseSpec, Fit]:
    """What the course would be with the changes, and whether that has room. Raises `Invalid`."""
    spec = merged(session, clock, course, changes)
    return spec, room.fit(session, clock, settings, target, spec, course=course, status=course.status)


def change_problems(
    old: CourseDesign, new: CourseDesign, *, is_deployed: bool, accepted: int, today: dt.date
) -> list[Problem]:
    """What no change of an approved course may do, whoever allows it."""
    found = []

    def problem(field: str, text: str, **values: Any) -> None:
        name = field.split("[", maxsplit=1)[0]
        found.append(Problem(field, text, values, CourseDesign.model_fields[name].title or name))

    if new.slug != old.slug:
        problem("slug", N_("cannot be changed any more: it is part of the course's address"))
    if new.home_size < old.home_size:
        problem("home_size", N_("cannot become smaller than {old:g} GiB: files may lie there"), old=old.home_size)
    kept = {volume.name: volume for volume in new.shared_volumes}
    for volume in old.shared_volumes:
        if volume.name not in kept:
            problem("shared_volumes", N_("{name} cannot be taken away: files may lie there"), name=volume.name)
        elif kept[volume.name].size < volume.size:
            problem(
                "shared_volumes",
                N_("{name} cannot become smaller than {old:g} GiB: files may lie there"),
                name=volume.name,
                old=volume.size,
            )
    if new.seats < accepted:
        problem("seats", N_("{accepted} people are accepted; remove some first"), accepted=accepted)
    if new.first_day != old.first_day:
        if is_deployed and new.first_day > old.first_day:
            problem("first_day", N_("cannot become later once the course is set up"))
        elif new.first_day < today:
            problem("first_day", "{day} is in the past; today is {today}", day=str(new.first_day), today=str(today))
    if new.last_day != old.last_day and new.last_day < today:
        problem("last_day", "{day} is over", day=str(new.last_day))
    return found


def carry_out(session: Session, clock: SiteClock, actor: Actor, course: Course) -> None:
    """Bring a new revision to where the course runs, or is just being set up. Otherwise it waits for the deploy."""
    if course.status is Status.ACTIVE:
        ask(session, clock, actor, course, "update", revision=course.approved_revision)
    elif course.status is Status.DEPLOYING:
        ask(session, clock, actor, course, "deploy", revision=course.approved_revision)


def _locked(session: Session, change_id: uuid.UUID) -> tuple[Course, TargetRecord, ChangeRequest]:
    """The open change with its course and target, all locked. Raises `LookupError`, or `Refused` if it is not open."""
    course_id = session.scalar(select(ChangeRequest.course_id).where(ChangeRequest.id == change_id))
    if course_id is None:
        raise LookupError(f"no change {change_id}")
    course, target = life.lock_with_target(session, course_id)
    change = session.scalars(
        select(ChangeRequest).where(ChangeRequest.id == change_id).execution_options(populate_existing=True)
    ).one()
    if change.status != "open":
        raise Refused(ALREADY_DECIDED)
    return course, target, change


def _decide(clock: SiteClock, actor: Actor, change: ChangeRequest, status: str, reason: str = "") -> None:
    change.status, change.reason = status, reason
    change.decided_by_id, change.decided_at = actor.id, clock.now()


def _tell_leads(
    session: Session, clock: SiteClock, actor: Actor, course: Course, change: ChangeRequest, reason: str = ""
) -> None:
    notify(
        session,
        clock,
        f"change_{change.status}",
        f"{change.id}:{change.status}",
        people.others(people.leads_of(session, course), actor),
        course=course,
        facts={"reason": reason},
    )
