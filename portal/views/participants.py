"""The people of a course, for its leads: the list, decisions on one or many, and the link to join."""

from __future__ import annotations

import uuid
from contextlib import suppress

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from portal.lifecycle import Refusal
from portal.models import Course
from portal.participants import codes, lists, places
from portal.participants.rules import BY_LEADS, Deed, Standing
from portal.web.addresses import absolute
from portal.web.context import portal
from portal.web.course import kept
from portal.web.database import transaction

blueprint = Blueprint("participants", __name__, url_prefix="/courses/<uuid:course_id>/people")

_MOST = 1000
"""People in one decision: more than a course can have."""


def course_address(course: Course) -> str:
    """The course's page."""
    return url_for("courses.show", course_id=course.id)


@blueprint.get("")
def people(course_id: uuid.UUID) -> str:
    """Everybody, with what can be done."""
    return _page(kept(course_id)[0])


@blueprint.post("/<uuid:user_id>/<deed>")
def settle(course_id: uuid.UUID, user_id: uuid.UUID, deed: str) -> Response:
    """One person."""
    chosen = _deed(deed)
    kept(course_id)
    with transaction() as session:
        places.settle(session, portal().clock, g.actor, course_id, user_id, chosen)
    flash(_done(chosen, 1), "success")
    return _back(course_id)


@blueprint.post("/chosen")
def settle_chosen(course_id: uuid.UUID) -> Response | str:
    """All that were ticked; where one could not be done, a line for each person says what became of it."""
    chosen = _deed(request.form.get("deed", ""))
    user_ids = []
    with suppress(ValueError):
        user_ids = [uuid.UUID(one) for one in request.form.getlist("person")[:_MOST]]
    course, _roles = kept(course_id)
    if not user_ids:
        flash(_("Nobody was chosen."), "warning")
        return _back(course_id)
    with transaction() as session:
        outcomes = places.settle_many(session, portal().clock, g.actor, course_id, user_ids, chosen)
    done = sum(outcome.refusal is None for outcome in outcomes)
    if done == len(outcomes):
        flash(_done(chosen, done), "success")
        return _back(course_id)
    g.session.expire_all()
    return _page(course, outcomes=outcomes)


@blueprint.post("/link")
def link(course_id: uuid.UUID) -> Response:
    """A new link, none, or what it does."""
    parts = portal()
    kept(course_id)
    match request.form.get("deed"):
        case "renew":
            with transaction() as session:
                codes.renew(session, parts.clock, g.actor, course_id, parts.sealer)
            flash(_("There is a new link; the one before does not work any more."), "success")
        case "off":
            with transaction() as session:
                codes.switch_off(session, parts.clock, g.actor, course_id)
            flash(_("The link does not work any more."), "success")
        case "admits" | "asks" as policy:
            with transaction() as session:
                codes.set_policy(session, parts.clock, g.actor, course_id, policy)
            flash(_(codes.POLICIES[policy]), "success")
        case _:
            abort(400)
    return _back(course_id)


def _page(course: Course, outcomes: list[places.Outcome] | None = None) -> str:
    standing = None
    with suppress(ValueError):
        standing = Standing(request.args.get("standing", ""))
    search = request.args.get("q", "")
    number = request.args.get("page", 1, type=int)
    section = lists.section(g.session, course, portal().sealer, few=0)
    return render_template(
        "participants/people.html",
        course=course,
        page=lists.people(g.session, course, standing=standing, search=search, page=number),
        people=section,
        join_address=join_address(section),
        standing=standing,
        standings=list(Standing),
        search=search,
        outcomes=outcomes,
        why=why,
        failure=course.people_failure if g.actor.is_governance else "",
    )


def why(refusal: Refusal) -> str:
    """A refusal in the language of the request."""
    return _(refusal.text, **{name: _(value) for name, value in refusal.values})


def join_address(section: lists.Section) -> str | None:
    """The link to join, as people pass it on."""
    if section.code is None:
        return None
    return absolute("joining.show", code=section.code)


def _deed(word: str) -> Deed:
    if word not in BY_LEADS:
        abort(404)
    return Deed(word)


def _back(course_id: uuid.UUID) -> Response:
    return redirect(url_for("participants.people", course_id=course_id))


def _done(deed: Deed, count: int) -> str:
    match deed:
        case Deed.ACCEPT:
            return ngettext("One person was accepted.", "%(num)d people were accepted.", count)
        case Deed.REJECT:
            return ngettext("One person was rejected.", "%(num)d people were rejected.", count)
        case Deed.REMOVE:
            return ngettext(
                "One person was removed; their access is being ended.",
                "%(num)d people were removed; their access is being ended.",
                count,
            )
    return ngettext("The link works again for one person.", "The link works again for %(num)d people.", count)
