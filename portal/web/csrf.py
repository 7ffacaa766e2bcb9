"""Requests that change something come from our own pages: a token in the form, and the browser's word for it.

The token follows from the session's own token: each sign-in has another one, nothing is stored, and a token of one
person's page is worth nothing in another's.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request, session
from flask_wtf.csrf import CSRFError, CSRFProtect

from portal.models import WebSession
from portal.sealing import derived
from portal.web.access import SAFE
from portal.web.context import portal
from portal.web.cookies import CSRF

_View = TypeVar("_View", bound=Callable[..., Any])

_protect = CSRFProtect()
_PROVES_ITSELF = "jhaas_proves_itself"


def without_token(view: _View) -> _View:
    """For a view without a session to bind a token to. Browsers must still call it from our own pages."""
    _protect.exempt(view)
    return view


def proves_itself(view: _View) -> _View:
    """For a view that machines call, with a signature that the view checks."""
    setattr(view, _PROVES_ITSELF, True)
    return without_token(view)


def set_up(app: Flask) -> None:
    """Check every request that is not only a look."""
    app.config.update(
        WTF_CSRF_FIELD_NAME=CSRF,
        WTF_CSRF_TIME_LIMIT=None,  # it ends with the session
        WTF_CSRF_SSL_STRICT=False,  # `_same_origin` asks for more, and does not need a Referer
    )
    app.before_request(_same_origin)
    app.before_request(_bind)
    _protect.init_app(app)


def raw_token(web_session: WebSession) -> str:
    """What the form's token of this session is made from (Flask-WTF signs it)."""
    key = derived(portal().settings.secret_key.get_secret_value(), "csrf")
    return hmac.new(key, web_session.token_hash, sha256).hexdigest()


def _same_origin() -> None:
    """Browsers say where a request comes from. One that says nothing (a script) still needs the token."""
    if request.method in SAFE:
        return
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, _PROVES_ITSELF, False):
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    own = urlsplit(portal().settings.public_url)
    if (site is not None and site != "same-origin") or (
        origin is not None and origin != f"{own.scheme}://{own.netloc}"
    ):
        raise CSRFError("The request came from another site.")


def _bind() -> None:
    session.pop(CSRF, None)
    if g.web_session is not None:
        session[CSRF] = raw_token(g.web_session)
