"""Signing in and out."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta

import structlog
from flask import Blueprint, abort, g, make_response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from portal.identity import people
from portal.identity import sessions as web_sessions
from portal.identity.oidc import ProviderRefused, ProviderUnreachable
from portal.sealing import Unsealable
from portal.texts import N_
from portal.web import cookies
from portal.web.access import allow_anonymous, works_without_provider
from portal.web.addresses import absolute, own_path
from portal.web.context import portal
from portal.web.csrf import proves_itself
from portal.web.database import transaction
from portal.web.errors import error_page
from portal.web.limits import by_person_or_address, limit

blueprint = Blueprint("auth", __name__)

_log = structlog.get_logger("jhaas.sign_in")
_PATIENCE = timedelta(minutes=15)
"""How long somebody may take at the identity provider."""
_AT_ONCE = 5
"""Sign-ins that one browser may have begun: several tabs."""

MOST_BEGUN = 600
"""Sign-ins that one address may begin in a minute: a lecture hall may have one address for all."""

AWAY = N_("The identity provider does not answer, so that nobody can sign in now. Try again in a minute.")
REFUSED = N_("The identity provider did not let you in. Try again, or ask the people named below.")
STALE = N_("This sign-in took too long or was begun in another browser. Begin again.")


@blueprint.get("/sign-in")
@allow_anonymous
def sign_in() -> Response:
    """Send the browser to the identity provider, and remember in the browser alone what its answer must fit to."""
    goal = own_path(request.args.get("next"))
    if g.actor.user is not None:
        return redirect(goal)
    limit("sign-in", by_person_or_address(), MOST_BEGUN, seconds=60)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    try:
        url = portal().provider.authorization_url(
            redirect_uri=absolute("auth.callback"), state=state, nonce=nonce, verifier=verifier
        )
    except ProviderUnreachable as error:
        _log.warning("sign-in is not possible", reason=str(error))
        return error_page(503, _(AWAY))
    now = portal().clock.wall().timestamp()
    begun = {key: one for key, one in cookies.sign_ins().items() if one["until"] > now}
    begun = dict(list(begun.items())[-(_AT_ONCE - 1) :])
    begun[state] = {"nonce": nonce, "verifier": verifier, "next": goal, "until": now + _PATIENCE.total_seconds()}
    response = redirect(url)
    cookies.set_sign_ins(response, begun, _PATIENCE)
    return response


@blueprint.get("/sign-in/callback")
@allow_anonymous
def callback() -> Response:
    """The provider's answer: checked against what this browser began, then exchanged for a session of our own."""
    parts = portal()
    begun = cookies.sign_ins()
    flow = begun.pop(request.args.get("state", ""), None)
    if flow is None or flow["until"] <= parts.clock.wall().timestamp():
        return _again(STALE, 400)
    issuer = request.args.get("iss")
    if issuer is not None and not hmac.compare_digest(issuer.encode(), parts.provider.issuer.encode()):
        return _again(REFUSED, 403)
    code = request.args.get("code")
    if not code:
        return _again(REFUSED, 403)
    try:
        tokens = parts.provider.exchange(
            code, redirect_uri=absolute("auth.callback"), nonce=flow["nonce"], verifier=flow["verifier"]
        )
        said = parts.provider.person(tokens, subject=str(tokens.claims["sub"]))
    except ProviderUnreachable as error:
        _log.warning("sign-in is not possible", reason=str(error))
        return error_page(503, _(AWAY))
    except ProviderRefused as error:
        _log.warning("sign-in was refused", reason=str(error))
        return _again(REFUSED, 403)
    with transaction() as session:
        user = people.arrive(session, parts.clock, parts.settings, parts.provider.issuer, said)
        token = web_sessions.begin(
            session,
            parts.clock,
            parts.settings,
            parts.sealer,
            g.actor,
            user,
            tokens,
            browser=request.user_agent.string,
            before=request.cookies.get(cookies.session_name()),
        )
    response = redirect(own_path(flow["next"]))
    cookies.set_session(response, token, timedelta(hours=parts.settings.session_hours))
    cookies.set_sign_ins(response, begun, _PATIENCE)
    return response


@blueprint.post("/sign-out")
@works_without_provider
def sign_out() -> Response:
    """End this session here, then at the identity provider."""
    parts = portal()
    try:
        hint = parts.sealer.open(g.web_session.id_token) if g.web_session.id_token else None
    except Unsealable:
        hint = None
    with transaction() as session:
        web_sessions.end(session, parts.clock, g.actor, g.web_session.id)
    url = parts.provider.end_session_url(id_token=hint, return_to=absolute("auth.signed_out"))
    response = redirect(url or url_for("auth.signed_out"))
    cookies.end_session(response)
    return response


@blueprint.get("/signed-out")
@allow_anonymous
def signed_out() -> str:
    """Where the identity provider sends the browser afterwards."""
    return render_template("auth/signed_out.html")


@blueprint.post("/sign-out/provider")
@allow_anonymous
@proves_itself
def provider_sign_out() -> Response:
    """The identity provider tells that it ended sessions (OpenID Connect Back-Channel Logout); its signature counts."""
    parts = portal()
    try:
        logout = parts.provider.logout(request.form.get("logout_token", ""))
    except ProviderUnreachable:
        abort(503)
    except ProviderRefused as error:
        _log.warning("a logout token was refused", reason=str(error))
        abort(400)
    with transaction() as session:
        web_sessions.end_by_provider(session, parts.clock, parts.provider.issuer, logout)
    return make_response("", 200)


def _again(text: str, status: int) -> Response:
    page = render_template("auth/again.html", text=_(text))
    return make_response(page, status)
