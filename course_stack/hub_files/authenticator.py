"""Who gets in, and who no longer does: OIDC sign-in that is asked again while people work."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlencode

from jupyterhub.utils import new_token
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthCallbackHandler
from tornado.httpclient import HTTPClientError
from tornado.ioloop import PeriodicCallback
from tornado.web import HTTPError
from traitlets import Integer, Unicode

_unreachable: ContextVar[list[str]] = ContextVar("unreachable")


class CourseCallback(OAuthCallbackHandler):  # type: ignore[misc] # it has no types
    """Where the provider leads back to. A sign-in that cannot be finished is begun anew by a click."""

    def check_state(self) -> None:
        """The hub remembers one sign-in of a browser, for a while. Raises `HTTPError`."""
        try:
            super().check_state()
        except HTTPError as error:
            # not to where this sign-in wanted to go: its address is what anybody may have written
            error.jupyterhub_html_message = (  # type: ignore[attr-defined] # what JupyterHub looks for
                "Signing in took too long, or was begun in another window as well. "
                f'<a href="{self.hub.base_url}">Try again</a>'
            )
            raise


class CourseAuthenticator(GenericOAuthenticator):  # type: ignore[misc] # it has no types
    """GenericOAuthenticator, with five additions.

    - Group membership counts at every refresh, not only at sign-in: oauthenticator brings the groups up to date, but
      leaves somebody in who is in none of the allowed ones any more.
    - People whose server runs are asked about again by the hub itself. A notebook that is left open makes no request
      that would ask, and a participant could change a server to ask less often.
    - A provider that does not answer throws nobody out; one that says no does.
    - Signing out goes on to the provider.
    - A sign-in that cannot be finished says how to go on.
    """

    callback_handler = CourseCallback

    provider_host = Unicode(
        help="Host header for calls to the provider, where its internal address differs from its public one.",
        config=True,
    )
    authorities = Unicode(
        help="File with the certificates of all authorities that the provider's may be of; empty: the public ones.",
        config=True,
    )
    end_session_url = Unicode(help="Where the provider ends its own session; empty: it stays.", config=True)
    home_url = Unicode(help="Public address of this hub, to which the provider leads back from there.", config=True)
    check_user = Unicode(
        help="Name of the user under which the portal checks that a notebook runs; nobody can sign in under it.",
        config=True,
    )
    recheck_seconds = Integer(60, help="How often people with a running server are asked about; 0: never.", config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refreshing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        if self.recheck_seconds:
            PeriodicCallback(self.recheck, self.recheck_seconds * 1000).start()

    def _logout_redirect_url_default(self) -> str:
        """RP-initiated logout: the provider asks whether to end the session there as well, then leads back."""
        if not self.end_session_url:
            return ""
        return f"{self.end_session_url}?" + urlencode(
            {"client_id": self.client_id, "post_logout_redirect_uri": self.home_url}
        )

    def normalize_username(self, username: str) -> str:
        """Subjects are compared letter by letter: `Anna` and `anna` may be two people."""
        return str(username)

    def check_blocked_users(self, username: str, authentication: Any = None) -> bool:
        """Nobody signs in as the check."""
        return username != self.check_user and bool(super().check_blocked_users(username, authentication))

    async def fetch(self, req: Any, label: str = "fetching", parse_json: bool = True, **kwargs: Any) -> Any:  # noqa: ARG002
        """As the original, with the provider's host name and the authorities that vouch for it. It notes where the
        provider could not be reached, and logs no answer's text: a provider in trouble quotes what it was sent."""
        if self.provider_host:
            req.headers["Host"] = self.provider_host
        if self.authorities:
            req.ca_certs = self.authorities
        try:
            response = await self.http_client.fetch(req, **kwargs)
        except (HTTPClientError, OSError) as error:
            code = error.code if isinstance(error, HTTPClientError) else None
            if code is None or code >= 500:
                _unreachable.get([]).append(f"HTTP {code}" if code else type(error).__name__)
            self.log.error("%s %s failed: %s", req.method, req.url.partition("?")[0], code or type(error).__name__)
            raise
        return (json.loads(response.body) if response.body else None) if parse_json else response

    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> Any:
        """True: nothing changed, or the provider cannot be asked. False: sign in again. A dict: brought up to date."""
        if user.name == self.check_user:
            return True
        # A refresh token that was exchanged is void: the next one to ask must find the new one stored.
        async with self._refreshing[user.name]:
            problems: list[str] = []
            _unreachable.set(problems)
            try:
                model = await super().refresh_user(user, handler, **kwargs)
            except Exception:
                if not problems:
                    raise
                model = False
            if not model and problems:
                self.log.warning("The identity provider cannot be asked about %s now: %s", user.name, problems[-1])
                return True
            if isinstance(model, dict):
                await user.save_auth_state(model["auth_state"])
                if not await self.check_allowed(user.name, model):
                    self.log.info("%s is no longer in the course", user.name)
                    return False
            return model

    async def recheck(self) -> None:
        """Ask about everybody whose server runs, and put out those who are no longer in the course."""
        for user in list(self.parent.users.values()):
            if any(spawner.active for spawner in user.spawners.values()):
                try:
                    await self._recheck(user)
                except Exception:
                    self.log.exception("%s could not be asked about", user.name)

    async def _recheck(self, user: Any) -> None:
        model = await self.refresh_user(user)
        if not model:
            await self.put_out(user)
            return
        user._auth_refreshed = time.monotonic()  # noqa: SLF001 (as JupyterHub's own handlers keep it)
        if isinstance(model, dict) and model.get("groups") is not None:
            user.sync_groups(model["groups"])

    async def put_out(self, user: Any) -> None:
        """End everything the person has here but the files: servers, sessions, tokens."""
        self.log.warning("%s is put out: servers, sessions and tokens end", user.name)
        user.cookie_id = new_token()
        for token in list(user.api_tokens):
            user.db.delete(token)
        user.db.commit()
        for name, spawner in list(user.spawners.items()):
            if spawner.active and not spawner.pending:
                await self.parent.proxy.delete_user(user, name)
                await user.stop(name)
