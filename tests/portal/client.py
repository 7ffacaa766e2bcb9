"""A browser for tests of pages: comes by the portal's own address, and sends what forms of our pages send."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.actor import Actor
from portal.db import transaction
from portal.identity import sessions as web_sessions
from portal.identity.oidc import Tokens
from portal.models import User, WebSession
from portal.web.context import Portal
from portal.web.cookies import session_name
from portal.web.csrf import raw_token


class PortalClient(FlaskClient):
    """`post` adds the form's token by itself; `bare_post` does not."""

    @property
    def portal(self) -> Portal:
        parts: Portal = self.application.extensions["jhaas"]
        return parts

    def sign_in(self, user: User, *, refresh_token: str | None = "refresh") -> PortalClient:
        """Let this person be signed in here, without the way over the identity provider."""
        parts = self.portal
        with transaction(parts.sessions) as session:
            person = session.get_one(User, user.id)
            tokens = Tokens("access", refresh_token, "id-token", {"sub": person.subject})
            token = web_sessions.begin(
                session, parts.clock, parts.settings, parts.sealer, Actor(None), person, tokens, browser="Test"
            )
        self.set_session(token)
        return self

    def set_session(self, token: str) -> None:
        """Put the session's cookie into the browser."""
        self.set_cookie(session_name(), token, domain=self._host, path="/", secure=True)

    @property
    def session_token(self) -> str | None:
        """The session's cookie; None where there is none."""
        cookie = self.get_cookie(session_name(), domain=self._host)
        return cookie.value if cookie else None

    def csrf_token(self) -> str:
        """What a form of a page in this browser would hold."""
        token = self.session_token
        if token is None:
            return ""
        with self.portal.sessions() as session:
            found = session.scalar(select(WebSession).where(WebSession.token_hash == web_sessions.digest(token)))
        if found is None:
            return ""
        with self.application.app_context():
            raw = raw_token(found)
        return str(URLSafeTimedSerializer(str(self.application.secret_key), salt="wtf-csrf-token").dumps(raw))

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        kwargs.setdefault("base_url", self.portal.settings.public_url)
        return super().open(*args, **kwargs)

    def post(self, *args: Any, **kwargs: Any) -> TestResponse:
        data = kwargs.get("data")
        if data is None or isinstance(data, dict):
            kwargs["data"] = {"csrf_token": self.csrf_token(), **(data or {})}
        else:
            kwargs["headers"] = {"X-CSRFToken": self.csrf_token(), **(kwargs.get("headers") or {})}
        return super().post(*args, **kwargs)

    def bare_post(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Without the token that our own forms send."""
        return super().post(*args, **kwargs)

    @property
    def _host(self) -> str:
        return self.portal.settings.public_url.partition("://")[2].partition(":")[0]
