"""What governance decides: requests and changes, each with the figures that it is decided on; and all courses."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_babel import gettext as _
from pydantic import ValidationError
from werkzeug.wrappers import Response

from course_stack.sizes import demand
from course_stack.spec import CourseSpec
from portal.actor import roles_in
from portal.capacity import FigureFit, Fit
from portal.courses import changes, decisions, life, lists, people, room
from portal.courses.differences import differences, facts_of
from portal.courses.problems import Invalid, Moved, Refused
from portal.courses.specs import design_of, merge, people_of, revision_of, spec_of, with_people
from portal.forms import in_words
from portal.i18n import translate
from portal.lifecycle import Action, Status
from portal.models import ChangeRequest, Course, TargetRecord
from portal.pictures import occupancy as pictures
from portal.pictures.calendar import Bar, Picture
from portal.show import COURSE
from portal.web.access import governance_only
from portal.web.context import portal
from portal.web.course import kept_change, version
from portal.web.database import transaction

blueprint = governance_only(Blueprint("governance", __name__, url_prefix="/governance"))

_AROUND = timedelta(days=14)
"""What the picture shows before and after a course."""


@blueprint.record
def _count(state: BlueprintSetupState) -> None:
    state.app.extensions.setdefault("jhaas-counts", {})["approvals"] = lambda: lists.to_decide(g.session)


@blueprint.get("/")
def queue() -> str:
    """Everything that waits for a decision, the oldest first, with whether there is room for it."""
    parts = portal()
    page = lists.waiting(g.session, request.args.get("after"))
    targets = list({one.target.name: one.target for one in page.items}.values())
    now = room.rooms(g.session, parts.clock, parts.settings, targets) if targets else {}
    found = {}
    for one in page.items:
        needed = room.demand_of(one.spec, one.leads)
        course = one.course
        fit = now[one.target.name].fit_demand(needed, course.first_day, course.last_day)
        found[course.id] = (needed, fit)
    return render_template(
        "governance/queue.html",
        page=page,
        found=found,
        size=pictures.size,
        changes=lists.open_changes(g.session) if not request.args.get("after") else [],
        today=parts.clock.today(),
    )


@blueprint.get("/courses")
def courses() -> str:
    """All courses, the last one asked for first."""
    status, search = request.args.get("status", ""), request.args.get("q", "")
    return render_template(
        "governance/courses.html",
        page=lists.everything(g.session, status=status, search=search, before=request.args.get("before")),
        without_lead=lists.without_lead(g.session) if not request.args else [],
        statuses=[(one, translate(COURSE[one].text)) for one in Status],
        status=status,
        search=search,
    )


@blueprint.get("/courses/<uuid:course_id>")
def decide(course_id: uuid.UUID) -> str | Response:
    """One request with everything that a decision needs."""
    course = _course(course_id)
    if course.status is not Status.REQUESTED:
        return redirect(url_for("courses.show", course_id=course_id))
    return _request_page(course)


@blueprint.post("/courses/<uuid:course_id>/approve")
def approve(course_id: uuid.UUID) -> Response | tuple[str, int]:
    """Approve what was seen. Where the figures moved or the room is gone, both are shown and nothing is done."""
    parts = portal()
    course = _course(course_id)
    seen = request.form.get("seen", "")
    try:
        with transaction() as session:
            decisions.approve(session, parts.clock, parts.settings, g.actor, course_id, version=version(), seen=seen)
    except Moved:
        return _request_page(course, before=_figures(seen)), 409
    except Refused as error:
        if error.refusal.code != "no_room":
            raise
        return _request_page(course, error=_why(error)), 409
    flash(_("%(title)s is approved.", title=course.title), "success")
    return redirect(url_for("governance.queue"))


@blueprint.post("/courses/<uuid:course_id>/reject")
def reject(course_id: uuid.UUID) -> Response | tuple[str, int]:
    """Reject, with a reason."""
    course = _course(course_id)
    reason = request.form.get("reason", "")
    try:
        with transaction() as session:
            decisions.reject(session, portal().clock, g.actor, course_id, version=version(), reason=reason)
    except Invalid as error:
        return _request_page(course, reason=reason, reason_error=_sentence(error)), 422
    flash(_("%(title)s is rejected. Its leads are told why.", title=course.title), "success")
    return redirect(url_for("governance.queue"))


@blueprint.get("/changes/<uuid:change_id>")
def change(change_id: uuid.UUID) -> str | Response:
    """One change: what would be different, and the figures before and after."""
    found, course = kept_change(change_id)
    if found.status != "open":
        return redirect(url_for("courses.show", course_id=course.id) + "#changes")
    return _change_page(found, course)


@blueprint.post("/changes/<uuid:change_id>/approve")
def approve_change(change_id: uuid.UUID) -> Response | tuple[str, int]:
    """Approve a change as it was seen."""
    parts = portal()
    found, course = kept_change(change_id)
    seen, base = request.form.get("seen", ""), request.form.get("base", type=int)
    if base is None:
        abort(400)
    try:
        with transaction() as session:
            changes.approve_change(session, parts.clock, parts.settings, g.actor, change_id, base=base, seen=seen)
    except Moved:
        return _change_page(found, course, before=_figures(seen)), 409
    except Invalid:
        return _change_page(found, course), 422
    except Refused as error:
        if error.refusal.code != "no_room":
            raise
        return _change_page(found, course, error=_why(error)), 409
    flash(_("The change of %(title)s is approved.", title=course.title), "success")
    return redirect(url_for("governance.queue"))


@blueprint.post("/changes/<uuid:change_id>/reject")
def reject_change(change_id: uuid.UUID) -> Response | tuple[str, int]:
    """Reject a change, with a reason."""
    parts = portal()
    found, course = kept_change(change_id)
    reason = request.form.get("reason", "")
    try:
        with transaction() as session:
            changes.reject_change(session, parts.clock, parts.settings, g.actor, change_id, reason=reason)
    except Invalid as error:
        return _change_page(found, course, reason=reason, reason_error=_sentence(error)), 422
    flash(_("The change of %(title)s is rejected. Its leads are told why.", title=course.title), "success")
    return redirect(url_for("governance.queue"))


def _course(course_id: uuid.UUID) -> Course:
    course = g.session.get(Course, course_id)
    if course is None:
        abort(404)
    found: Course = course
    return found


def _request_page(course: Course, **more: Any) -> str:
    parts = portal()
    g.session.refresh(course)
    target = g.session.get_one(TargetRecord, course.target_name)
    now = room.occupancy(g.session, parts.clock, parts.settings, target)
    spec = spec_of(g.session, course)
    fit = now.fit(spec, course=course.id)
    roles = roles_in(g.session, g.actor, course)
    actions = life.actions_of(parts.clock, parts.settings, g.actor, course, roles)
    design = design_of(revision_of(g.session, course))
    return render_template(
        "governance/request.html",
        course=course,
        target=target,
        design=design,
        all_facts=facts_of(design),
        fit=fit,
        seen=room.written(fit),
        size=pictures.size(demand(spec)),
        may_approve=Action.APPROVE in actions,
        may_reject=Action.REJECT in actions,
        leads=people.leads_of(g.session, course),
        picture=_picture(now, course, spec),
        today=parts.clock.today(),
        **more,
    )


def _change_page(found: ChangeRequest, course: Course, **more: Any) -> str:
    parts = portal()
    g.session.refresh(course)
    target = g.session.get_one(TargetRecord, course.target_name)
    old = design_of(revision_of(g.session, course))
    problems: tuple[str, ...] = ()
    fit, difference, seen = Fit(()), [], ""
    try:
        difference = differences(old, merge(old, found.changes))
        _spec, fit = changes.outcome(g.session, parts.clock, parts.settings, course, target, found.changes)
        seen = room.written(fit)
    except Invalid as error:
        problems = tuple(f"{translate(one.label)}: {in_words(one)}" for one in error.problems)
    except ValidationError:
        problems = (_("What is approved by now and this change do not go together."),)
    before = with_people(old, people_of(g.session, course, leads=True))
    lead_ids = {lead.id for lead in people.leads_of(g.session, course)}
    is_own = g.actor.id in lead_ids and not parts.settings.allow_own_approval
    return render_template(
        "governance/change.html",
        change=found,
        course=course,
        target=target,
        difference=difference,
        fit=fit,
        seen=seen,
        problems=problems,
        size_before=pictures.size(demand(before)),
        is_own=is_own,
        today=parts.clock.today(),
        **more,
    )


def _picture(now: room.Occupancy, course: Course, spec: CourseSpec) -> Picture:
    """The days around the course, with what it would add."""
    wanted = now.wanted(demand(spec), spec.first_day, spec.last_day)
    last_held = max((hold.last or hold.first for hold in wanted), default=spec.last_day)
    bar = Bar(
        title=course.title,
        first=min((hold.first for hold in wanted), default=spec.first_day),
        last=last_held,
        tone="wait",
        status=_("asked for here"),
        detail=pictures.size(demand(spec)),
        wanted=True,
    )
    return pictures.picture(
        now,
        max(now.today, bar.first - _AROUND),
        last_held + _AROUND,
        url=lambda course_id: url_for("courses.show", course_id=course_id),
        wanted=wanted,
        wanted_bars=[bar],
    )


def _figures(seen: str) -> list[FigureFit]:
    """What a page was made from, as it sent it back; nothing for what no page of ours wrote."""
    try:
        return [
            FigureFit(str(figure), portal().clock.today(), int(capacity), int(held), int(wanted), 0)
            for figure, capacity, held, wanted in json.loads(seen)
        ]
    except (ValueError, TypeError):
        return []


def _why(error: Refused) -> str:
    return translate(error.refusal.text, **{name: translate(value) for name, value in error.refusal.values})


def _sentence(error: Invalid) -> str:
    text = in_words(error.problems[0])
    return text[:1].upper() + text[1:] + "."
