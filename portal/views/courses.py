"""My courses, and the page of one course: for its leads and governance, and in short for its participants."""

from __future__ import annotations

import datetime as dt
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response

from course_stack.spec import CourseDesign
from portal.actor import roles_in
from portal.archives import records
from portal.courses import ending, leads, life, lists, people, steps
from portal.courses.differences import Difference, differences, facts_of
from portal.courses.problems import Invalid
from portal.courses.room import deploy_day
from portal.courses.specs import design_of, merge, revision_of
from portal.forms import in_words
from portal.i18n import translate
from portal.lifecycle import SLUG_IS_FREE, Action, Role, Status
from portal.models import ChangeRequest, Course, Operation, Participation
from portal.operations import watching
from portal.operations.facts import approved_failed
from portal.participants import lists as participant_lists
from portal.pictures import occupancy
from portal.planning import destroy_at
from portal.show import day, plain_day
from portal.views.participants import join_address
from portal.web.context import portal
from portal.web.course import KEEPERS, kept
from portal.web.database import transaction

blueprint = Blueprint("courses", __name__)
blueprint.add_app_template_global(occupancy.amount, "figure_amount")
blueprint.add_app_template_global(occupancy.name, "figure_name")
blueprint.add_app_template_global(in_words, "in_words")
blueprint.add_app_template_filter(occupancy.words, "figure_words")
blueprint.add_app_template_filter(lambda value: (value, value), "pair")


@blueprint.app_template_filter("field_words")
def field_words(field: str) -> str:
    """A field of a design by its name in words."""
    return translate(CourseDesign.model_fields[field].title or field)


@blueprint.get("/")
def mine() -> str:
    """Courses that I lead or am in, by what they need."""
    over = request.args.get("over") == "yes"
    page = lists.mine(g.session, g.actor, over=over, before=request.args.get("before"))
    today = portal().clock.today()
    groups = [(heading, [card for card in page.items if card.status in statuses]) for heading, statuses in steps.ORDER]
    return render_template(
        "courses/mine.html",
        groups=[(heading, cards) for heading, cards in groups if cards],
        page=page,
        over=over,
        next_step=lambda card: steps.next_step(
            card.status, leads=card.leads, has_begun=card.first_day <= today, let_in=card.let_in
        ),
        may_enter=lambda card: steps.may_enter(
            card.status,
            leads=card.leads,
            accepted=card.standing == "accepted",
            let_in=card.let_in,
            is_on=card.first_day <= today <= card.last_day,
        ),
        today=today,
        may_ask=g.actor.user.may_request or g.actor.is_governance,
    )


@blueprint.get("/courses/<uuid:course_id>")
def show(course_id: uuid.UUID) -> str:
    """One course. Who has no place in it learns nothing, not even that it exists."""
    course = g.session.get(Course, course_id)
    if course is None:
        abort(404)
    roles = roles_in(g.session, g.actor, course)
    if roles & KEEPERS:
        return _page(course, roles)
    place = g.session.get(Participation, (course.id, g.actor.user.id))
    if place is None or place.status not in ("waiting", "accepted"):
        abort(404)
    return _short_page(course, place)


@blueprint.post("/courses/<uuid:course_id>/leads")
def add_lead(course_id: uuid.UUID) -> Response | tuple[str, int]:
    """One more lead, by login or address."""
    parts = portal()
    course, roles = kept(course_id)
    who = request.form.get("who", "")
    try:
        with transaction() as session:
            person = leads.add_lead(session, parts.clock, parts.settings, g.actor, course_id, who)
    except Invalid as error:
        return _page(course, roles, who=who, who_error=in_words(error.problems[0])), 422
    flash(_("%(name)s leads the course now, too.", name=str(person)), "success")
    return redirect(url_for("courses.show", course_id=course_id) + "#leads")


@blueprint.post("/courses/<uuid:course_id>/leads/<uuid:user_id>/remove")
def remove_lead(course_id: uuid.UUID, user_id: uuid.UUID) -> Response:
    """One lead less."""
    kept(course_id)
    try:
        with transaction() as session:
            person = leads.remove_lead(session, portal().clock, g.actor, course_id, user_id)
    except LookupError:
        abort(404)
    flash(_("%(name)s does not lead the course any more.", name=str(person)), "success")
    if person.id == g.actor.id and not g.actor.is_governance:
        return redirect(url_for("courses.mine"))
    return redirect(url_for("courses.show", course_id=course_id) + "#leads")


@blueprint.post("/courses/<uuid:course_id>/retry")
def retry(course_id: uuid.UUID) -> Response:
    """Set up, or remove, once more."""
    parts = portal()
    kept(course_id)
    with transaction() as session:
        ending.retry(session, parts.clock, parts.settings, g.actor, course_id)
    flash(_("It is tried again."), "success")
    return redirect(url_for("courses.show", course_id=course_id))


@blueprint.route("/courses/<uuid:course_id>/end", methods=["GET", "POST"])
def end(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """End it before its last day; a GET says what that means."""
    parts = portal()
    course, roles = kept(course_id)
    if request.method == "GET":
        life.ensure(course, Action.END_EARLY, roles)
        return _confirm_end(course)
    if request.form.get("consent") != "yes":
        return _confirm_end(course, _("Tick the box if you are sure.")), 422
    try:
        with transaction() as session:
            ending.end_early(session, parts.clock, g.actor, course_id, reason=request.form.get("reason", ""))
    except Invalid as error:
        return _confirm_end(course, _("The reason %(problem)s.", problem=in_words(error.problems[0]))), 422
    flash(_("The course is being ended."), "success")
    return redirect(url_for("courses.show", course_id=course_id))


def _page(course: Course, roles: frozenset[Role], **more: Any) -> str:
    parts = portal()
    today = parts.clock.today()
    design = design_of(revision_of(g.session, course))
    changes = _changes(course)
    section = participant_lists.section(g.session, course, parts.sealer)
    operations = list(
        g.session.scalars(
            select(Operation).where(Operation.course_id == course.id).order_by(Operation.number.desc()).limit(5)
        )
    )
    running = next((one for one in operations if one.status not in watching.FINAL), None)
    leads_in = Role.LEAD in roles and steps.may_enter(
        course.status, leads=True, accepted=False, let_in=course.people_access, is_on=True
    )
    return render_template(
        "courses/show.html",
        course=course,
        design=design,
        all_facts=facts_of(design),
        roles=roles,
        actions=life.actions_of(parts.clock, parts.settings, g.actor, course, roles),
        leads=people.leads_of(g.session, course),
        requester=course.requested_by,
        next_step=steps.next_step(course.status, leads=True, has_begun=course.first_day <= today),
        shown_life=_life(course),
        today=today,
        hub_url=course.hub_url if leads_in else None,
        people=section,
        join_address=join_address(section),
        changes=changes,
        open_change=next((change for change in changes if change.status == "open"), None),
        difference=_difference(course, changes),
        operations=operations,
        running=running,
        taken_back=course.applied_revision != course.approved_revision
        and course.id in approved_failed(g.session, [course]),
        watched=watching.watch(g.session, running) if running else None,
        archives=records.counts(g.session, course) if course.closing else None,
        archives_waived=bool(course.closing) and records.waived(course),
        may_name_leads=course.status not in SLUG_IS_FREE,
        **more,
    )


def _short_page(course: Course, place: Participation) -> str:
    """What a participant sees, each thing by name: title, description, days, leads, and the way in."""
    today = portal().clock.today()
    has_begun = course.first_day <= today
    accepted = place.status == "accepted"
    is_on = has_begun and today <= course.last_day
    enters = steps.may_enter(course.status, leads=False, accepted=accepted, let_in=course.people_access, is_on=is_on)
    return render_template(
        "courses/participant.html",
        course_id=course.id,
        title=course.title,
        description=design_of(revision_of(g.session, course)).description,
        status=course.status,
        standing=place.status,
        first_day=course.first_day,
        last_day=course.last_day,
        leads=people.leads_of(g.session, course),
        next_step=steps.next_step(course.status, leads=False, has_begun=has_begun, let_in=course.people_access)
        if accepted
        else "",
        hub_url=course.hub_url if enters else None,
        today=today,
    )


def _changes(course: Course) -> list[ChangeRequest]:
    query = (
        select(ChangeRequest)
        .options(joinedload(ChangeRequest.requested_by))
        .where(ChangeRequest.course_id == course.id)
        .order_by(ChangeRequest.requested_at.desc())
    )
    return list(g.session.scalars(query))


def _difference(course: Course, changes: list[ChangeRequest]) -> list[Difference]:
    """What the open change would make different from what is approved now."""
    for change in changes:
        if change.status == "open":
            with suppress(ValidationError):
                now = design_of(revision_of(g.session, course))
                return differences(now, merge(now, change.changes))
    return []


def _life(course: Course) -> list[dict[str, Any]]:
    parts = portal()
    clock = parts.clock
    closed = course.closed_at or clock.end(course.last_day)
    planned = deploy_day(course.first_day, parts.settings, frozenset[dt.date]())
    # what is approved later is set up at once
    approved = clock.day_of(course.decided_at) if course.decided_at else planned
    found = steps.life_of(
        course.status,
        requested=clock.day_of(course.requested_at),
        deploy=max(planned, approved),
        first=course.first_day,
        last=course.last_day,
        destroy=clock.day_of(destroy_at(closed, parts.settings, clock)),
        today=clock.today(),
    )
    return [
        {"what": translate(step.what), "when": day(step.day) if step.day else "", "state": step.state} for step in found
    ]


def _confirm_end(course: Course, error: str = "") -> str:
    parts = portal()
    removed = parts.clock.today() + timedelta(days=parts.settings.grace_days)
    active = course.status is Status.ACTIVE
    consequences = [
        _("Notebooks of all participants are stopped within minutes; nobody gets in any more.")
        if active
        else _("Setting up the course is given up."),
        _("Every file is copied before anything is removed."),
        _("The hub is removed after %(day)s; until then you can extend the course again.", day=plain_day(removed))
        if active
        else _("Whatever was set up is removed at once."),
        _("Everybody in the course gets a mail with your reason."),
    ]
    return render_template(
        "confirm.html",
        title=_("End %(title)s early", title=course.title),
        consequences=consequences,
        action_url=url_for("courses.end", course_id=course.id),
        button=_("End the course"),
        back_url=url_for("courses.show", course_id=course.id),
        reason_label=_("Why does it end?"),
        reason=request.form.get("reason", ""),
        error=error,
    )
