"""The portal's cookies: names, and the attributes that all of them have.

`__Host-` binds a cookie to exactly this host over a secure way: no other host of the site can set or read it (hubs run
code of participants). Browsers take http://*.localhost for secure, so that one machine needs no exception.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import timedelta
from typing import Any

from flask import Flask, Request, request
from flask.sessions import SecureCookieSession, SessionInterface
from werkzeug.wrappers import Response

from portal.sealing import Sealer, Unsealable
from portal.web.context import portal

_SESSION = "__Host-jhaas"
_NOTES = "__Host-jhaas-notes"
_SIGN_IN = "__Host-jhaas-sign-in"

CSRF = "csrf_token"
"""Key of the notes that never leaves the process: it follows from the session (`portal.web.csrf`)."""


def session_name() -> str:
    """Name of the cookie that says who somebody is."""
    return _SESSION


def set_session(response: Response, token: str, lifetime: timedelta) -> None:
    """Let the browser keep the token of a new session."""
    _set(response, _SESSION, token, lifetime)


def end_session(response: Response) -> None:
    """Let the browser forget its session, and what it noted for it."""
    for name in (_SESSION, _NOTES):
        response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")


def sign_ins() -> dict[str, Any]:
    """The sign-ins that this browser has begun, by state."""
    return _opened(_sign_in_sealer(), request.cookies.get(_SIGN_IN))


def set_sign_ins(response: Response, begun: dict[str, Any], lifetime: timedelta) -> None:
    """Remember the sign-ins under way; none of them removes the cookie."""
    if begun:
        _set(response, _SIGN_IN, _sealed(_sign_in_sealer(), begun), lifetime)
    else:
        response.delete_cookie(_SIGN_IN, path="/", secure=True, httponly=True, samesite="Lax")


class Notes(SessionInterface):
    """`flask.session`: small things between two pages (messages, the language of somebody who is not signed in).

    They lie sealed in the browser, and there is no cookie as long as there is nothing to note.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession:
        return SecureCookieSession(_opened(_notes_sealer(app), request.cookies.get(_NOTES)))

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        notes = {key: value for key, value in session.items() if key != CSRF}
        if not session.modified:
            return
        if notes:
            _set(response, _NOTES, _sealed(_notes_sealer(app), notes), None)
        elif request.cookies.get(_NOTES):
            response.delete_cookie(_NOTES, path="/", secure=True, httponly=True, samesite="Lax")


def _set(response: Response, name: str, value: str, lifetime: timedelta | None) -> None:
    response.set_cookie(name, value, max_age=lifetime, path="/", secure=True, httponly=True, samesite="Lax")


def _notes_sealer(app: Flask) -> Sealer:
    return Sealer.of(app.extensions["jhaas"].settings, "notes")


def _sign_in_sealer() -> Sealer:
    return Sealer.of(portal().settings, "sign-in")


def _sealed(sealer: Sealer, content: dict[str, Any]) -> str:
    return urlsafe_b64encode(sealer.seal(json.dumps(content, separators=(",", ":")))).decode().rstrip("=")


def _opened(sealer: Sealer, text: str | None) -> dict[str, Any]:
    """What was sealed; nothing where the cookie is missing, foreign or damaged."""
    if not text:
        return {}
    try:
        content = json.loads(sealer.open(urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    except (Unsealable, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
