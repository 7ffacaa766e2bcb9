"""One's own page: who the portal thinks one is, the language, and where one is signed in."""

from __future__ import annotations

import uuid
from datetime import timedelta

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from portal import i18n
from portal.identity import sessions as web_sessions
from portal.models import User
from portal.web.access import allow_anonymous, works_without_provider
from portal.web.addresses import own_path
from portal.web.context import portal
from portal.web.csrf import without_token
from portal.web.database import transaction

blueprint = Blueprint("profile", __name__, url_prefix="/profile")

_YEAR = timedelta(days=365)


@blueprint.get("/")
def show() -> str:
    """Person, roles and sessions."""
    parts = portal()
    return render_template(
        "profile/show.html",
        user=g.actor.user,
        sessions=web_sessions.mine(g.session, parts.clock, parts.settings, g.actor.user),
        current=g.web_session.id,
        roles=", ".join(_roles(g.actor.user)),
        browser=_browser,
    )


@blueprint.post("/sessions/<uuid:session_id>/end")
@works_without_provider
def end_session(session_id: uuid.UUID) -> Response:
    """End one of one's own sessions; somebody else's is not there."""
    with transaction() as session:
        if not web_sessions.end(session, portal().clock, g.actor, session_id):
            abort(404)
    flash(_("The sign-in is ended."), "success")
    return redirect(url_for("profile.show"))


@blueprint.post("/sessions/end-others")
@works_without_provider
def end_others() -> Response:
    """End all of one's sessions but this one."""
    with transaction() as session:
        web_sessions.end_others(session, portal().clock, g.actor, g.web_session.id)
    flash(_("All other sign-ins are ended."), "success")
    return redirect(url_for("profile.show"))


@blueprint.post("/language")
@allow_anonymous
@works_without_provider
@without_token  # strangers choose a language, too
def choose_language() -> Response:
    """Speak another language from now on: kept with the person, and in the browser."""
    chosen = request.form.get("language", "")
    if chosen not in i18n.LANGUAGES:
        abort(400)
    if g.actor.user is not None:
        with transaction() as session:
            session.get_one(User, g.actor.user.id).locale = chosen
    response = redirect(own_path(request.form.get("next")))
    response.set_cookie(i18n.COOKIE, chosen, max_age=_YEAR, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _roles(user: User) -> list[str]:
    found = [(user.may_request, _("may ask for courses")), (user.is_governance, _("governance"))]
    return [name for holds, name in found if holds] or [_("participant")]


def _browser(agent: str | None) -> str:
    """What a person calls that browser, as far as it says so."""
    text = agent or ""
    names = ("Firefox", "Edg", "OPR", "Chrome", "Safari")
    systems = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux")
    name = next((one for one in names if one in text), "")
    system = next((one for one in systems if one in text), "")
    name = {"Edg": "Edge", "OPR": "Opera"}.get(name, name)
    return " · ".join(part for part in (name, system) if part) or _("Unknown browser")
