"""Who may call which route. Nobody may, unless a rule says so: a route without a mark needs a person.

The marks go on views (below the route) and on whole blueprints; a view's own mark goes before its blueprint's.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Flask, abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from portal.actor import Actor
from portal.identity import sessions as web_sessions
from portal.identity.roles import Roles, recheck
from portal.web import cookies
from portal.web.context import portal
from portal.web.errors import ProviderAway, wants_json

_Marked = TypeVar("_Marked", bound="Callable[..., Any] | Blueprint")
_MARK = "jhaas_access"
_CALM = "jhaas_works_without_provider"

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access(StrEnum):
    """Whom a route is for."""

    ANYBODY = "anybody"
    PERSON = "person"
    TEACHER = "teacher"
    """People who may ask for courses; governance among them."""
    GOVERNANCE = "governance"


def _mark(access: Access) -> Callable[[_Marked], _Marked]:
    def mark(marked: _Marked) -> _Marked:
        setattr(marked, _MARK, access)
        return marked

    return mark


allow_anonymous = _mark(Access.ANYBODY)
"""For a view or a blueprint that needs nobody to be signed in."""
teachers_only = _mark(Access.TEACHER)
"""For a view or a blueprint of people who may ask for courses."""
governance_only = _mark(Access.GOVERNANCE)
"""For a view or a blueprint of governance."""


def works_without_provider(view: _Marked) -> _Marked:
    """For a view whose changes depend on nobody's role: it works while roles cannot be asked for."""
    setattr(view, _CALM, True)
    return view


def access_of(app: Flask, endpoint: str) -> Access:
    """Whom the route of this endpoint is for."""
    if endpoint == "static":
        return Access.ANYBODY
    own = getattr(app.view_functions[endpoint], _MARK, None)
    blueprint = app.blueprints.get(endpoint.rpartition(".")[0])
    return own or getattr(blueprint, _MARK, None) or Access.PERSON


def may(access: Access, actor: Actor) -> bool:
    """Whether a route is for this person (or for nobody in particular)."""
    match access:
        case Access.ANYBODY:
            return True
        case Access.PERSON:
            return actor.user is not None
        case Access.TEACHER:
            return actor.user is not None and (actor.user.may_request or actor.is_governance)
        case Access.GOVERNANCE:
            return actor.is_governance


def set_up(app: Flask) -> None:
    """Ask before every request who that is, and whether the route is for them."""
    app.before_request(_only_our_name)
    app.before_request(_only_text)
    app.before_request(_who_is_it)
    app.before_request(_may_they)


def _only_our_name() -> None:
    """Answers go to the public address only: a foreign name that leads here gets nothing."""
    if request.host != urlsplit(portal().settings.public_url).netloc and not _is_for_machines():
        abort(421)


def _only_text() -> None:
    """No text of ours holds the character NUL, which Postgres cannot store; an address with it leads nowhere."""
    if "\0" in request.path:
        abort(404)
    if any("\0" in value for values in (request.args, request.form) for value in values.values()):
        abort(400)


def _is_for_machines() -> bool:
    return request.blueprint == "health"


def _who_is_it() -> None:
    g.actor = Actor(None, request.remote_addr, g.get("request_id"))
    g.web_session = None
    g.roles_are_old = False
    if request.endpoint in (None, "static") or _is_for_machines():
        return
    token = request.cookies.get(cookies.session_name())
    if not token:
        return
    parts = portal()
    found = web_sessions.find(g.session, parts.clock, parts.settings, token)
    if found is None:
        return
    if recheck_is_due(found.user.roles_checked_at):
        outcome = recheck(parts.sessions, parts.clock, parts.settings, parts.sealer, parts.provider, found.token_hash)
        if outcome is Roles.ENDED:
            return
        g.roles_are_old = outcome is Roles.UNKNOWN
        found = web_sessions.find(g.session, parts.clock, parts.settings, token)
        if found is None:
            return
    web_sessions.note_use(parts.sessions, parts.clock, found)
    g.web_session = found
    g.actor = Actor(found.user, request.remote_addr, g.get("request_id"))


def _is_a_page_view() -> bool:
    """Whether a person would see the answer as a page: scripts that fetch a part of one get a status instead."""
    return request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate" and not wants_json()


def recheck_is_due(checked_at: Any) -> bool:
    """Whether the roles were last asked for longer ago than the settings allow."""
    parts = portal()
    return bool((parts.clock.wall() - checked_at).total_seconds() >= parts.settings.role_check_minutes * 60)


def _may_they() -> Response | None:
    if request.endpoint is None:
        # not even which addresses exist is told to strangers, but a wrong link of ours is no reason to sign in
        return None
    access = access_of(current_app, request.endpoint)
    if access is Access.ANYBODY:
        return None
    if g.actor.user is None:
        if request.method in SAFE and _is_a_page_view():
            return redirect(url_for("auth.sign_in", next=request.full_path.removesuffix("?")))
        abort(401)
    if not may(access, g.actor):
        abort(403)
    view = current_app.view_functions[request.endpoint]
    if g.roles_are_old and request.method not in SAFE and not getattr(view, _CALM, False):
        raise ProviderAway
    return None
