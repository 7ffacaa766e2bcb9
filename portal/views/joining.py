"""Joining a course by its link, and leaving it."""

from __future__ import annotations

import uuid

from flask import Blueprint, abort, flash, g, make_response, redirect, render_template, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from portal.courses.problems import Refused
from portal.models import Course
from portal.participants import lists, places
from portal.participants.rules import DEAD_CODE, Standing
from portal.views.participants import course_address, why
from portal.web.context import portal
from portal.web.database import transaction
from portal.web.limits import limit

blueprint = Blueprint("joining", __name__)

TRIES_OF_A_PERSON = 30
TRIES_OF_AN_ADDRESS = 1500
"""In `TRIES_WITHIN` seconds. A lecture hall joins from one address."""
TRIES_WITHIN = 600.0


@blueprint.get("/join/<code>")
def show(code: str) -> Response | str:
    """What joining means; changes nothing."""
    _limit()
    try:
        found = places.invitation(g.session, portal().clock, g.actor, code)
    except Refused as refused:
        return _no_link(refused)
    return render_template("participants/join.html", invitation=found, code=code, why=why)


@blueprint.post("/join/<code>")
def join(code: str) -> Response | str:
    """Join, or ask to."""
    _limit()
    try:
        with transaction() as session:
            course, place = places.join(session, portal().clock, g.actor, code)
    except Refused as refused:
        if refused.refusal.code == DEAD_CODE:
            return _no_link(refused)
        raise
    if place.standing is Standing.WAITING:
        flash(_("You asked to join. You get a mail as soon as a teacher has decided."), "success")
    else:
        flash(_("You are in the course %(title)s.", title=course.title), "success")
    return redirect(course_address(course))


@blueprint.get("/courses/<uuid:course_id>/leave")
def confirm_leaving(course_id: uuid.UUID) -> str:
    """What leaving means; changes nothing."""
    course = g.session.get(Course, course_id)
    standing = course and lists.place_of(g.session, course, g.actor.user)
    if course is None or standing not in (Standing.ACCEPTED, Standing.WAITING):
        abort(404)
    return render_template("participants/leave.html", course=course, waiting=standing is Standing.WAITING)


@blueprint.post("/courses/<uuid:course_id>/leave")
def leave(course_id: uuid.UUID) -> Response:
    """Leave, or take the request back."""
    course = g.session.get(Course, course_id)
    if course is None or lists.place_of(g.session, course, g.actor.user) is None:
        abort(404)
    with transaction() as session:
        places.leave(session, portal().clock, g.actor, course_id)
    flash(_("You have left the course %(title)s.", title=course.title), "success")
    return redirect(url_for("courses.mine"))


def _limit() -> None:
    """Guessing codes is hopeless anyway; this makes it noticed."""
    limit("join", g.actor.id, TRIES_OF_A_PERSON, TRIES_WITHIN)
    limit("join from", g.actor.address, TRIES_OF_AN_ADDRESS, TRIES_WITHIN)


def _no_link(refused: Refused) -> Response:
    """One answer for a code that is unknown, revoked, of a closed course, or dead for this person."""
    return make_response(render_template("participants/no_link.html", text=_(refused.refusal.text)), 404)
