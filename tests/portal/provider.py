"""An identity provider that is not there: tests say what it says."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import select

from portal.db import Sessions
from portal.identity.oidc import Logout, Provider, ProviderRefused, ProviderUnreachable, Tokens
from portal.models import User
from tests.portal.makers import ISSUER


class FakeProvider(Provider):
    """`is_down`: it does not answer. `says`: subject → claims. `refuses`: subjects whose refresh tokens are void."""

    def __init__(self, make: Sessions) -> None:
        self.issuer = ISSUER
        self._make = make
        self.is_down = False
        self.says: dict[str, dict[str, Any]] = {}
        self.refuses: set[str] = set()
        self.asked = 0
        """How often a refresh token was used."""

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        self._answer()
        return f"{ISSUER}/authorize?state={state}&nonce={nonce}"

    def exchange(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> Tokens:
        """The code is the subject."""
        self._answer()
        return Tokens(f"access of {code}", f"refresh of {code}", f"id of {code}", {"sub": code})

    def refresh(self, refresh_token: str, *, subject: str) -> Tokens:
        self._answer()
        self.asked += 1
        if subject in self.refuses:
            raise ProviderRefused("The identity provider refused (invalid_grant).")
        return Tokens(f"access of {subject}", f"refresh of {subject}", None)

    def person(self, tokens: Tokens, *, subject: str) -> dict[str, Any]:
        self._answer()
        return {"sub": subject, **self.says.get(subject, self._stored(subject))}

    def end_session_url(self, *, id_token: str | None, return_to: str) -> str | None:
        return None if self.is_down else f"{ISSUER}/end?post_logout_redirect_uri={return_to}"

    def logout(self, token: str) -> Logout:
        raise ProviderRefused("A token is not signed by the identity provider.")

    @property
    def state(self) -> Literal["ok", "away", "not asked yet"]:
        return "away" if self.is_down else "ok"

    def _answer(self) -> None:
        if self.is_down:
            raise ProviderUnreachable(f"The identity provider {ISSUER} does not answer.")

    def _stored(self, subject: str) -> dict[str, Any]:
        with self._make() as session:
            user = session.scalar(select(User).where(User.issuer == ISSUER, User.subject == subject))
        if user is None:
            return {"preferred_username": subject, "name": subject, "email": f"{subject}@example.org"}
        groups = ["jhaas-teachers"] * user.may_request + ["jhaas-governance"] * user.is_governance
        return {"preferred_username": user.login, "name": user.name, "email": user.email, "groups": groups}
