"""The identity provider as this portal sees it (OpenID Connect: code flow with PKCE).

Nothing is asked of it before somebody signs in, so that it may be down when the portal starts; what it says of itself
is kept for a while and asked again. Every call has a time-out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from course_stack.hub_files.trust import distrust
from course_stack.trust import context
from portal.config import PortalSettings

SCOPES = ("openid", "profile", "email", "groups", "offline_access")
"""What is asked for, as far as the provider knows it. `offline_access` is what some want to be asked for before they
give the refresh token with which roles are checked again."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Signatures by a key that the provider publishes. Never by our own secret, never none."""

_TIMEOUT = 5.0
"""Seconds for an answer; to reach it at all takes 2 at most."""
_FRESH = 600.0
"""Seconds for which the provider's description and keys are not asked for again."""
_PAUSE = 10.0
"""Seconds after a failure in which it is not called again, so that not every page waits for it."""
_LEEWAY = 60
"""Seconds by which the two clocks may differ."""
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class ProviderUnreachable(Exception):
    """The identity provider cannot be asked now: it does not answer, or fails itself."""


class ProviderRefused(Exception):
    """The identity provider said no, or its answer is not what it must be. The message holds no token."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave. All of them are secrets."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    id: str | None = field(repr=False)
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Of the verified ID token; empty where there was none."""


@dataclass(frozen=True, slots=True)
class Logout:
    """Whom the provider signed out: one session, or everything of a person."""

    session: str | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class _Known:
    metadata: Mapping[str, Any]
    keys: Any
    at: float


class Provider:
    """One identity provider and our client there. Safe to use from several threads.

    `now` gives Unix time in seconds for the validity of tokens; `ticks` seconds for what is kept for how long.
    """

    def __init__(
        self,
        settings: PortalSettings,
        *,
        now: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = settings.oidc_issuer
        self._internal = settings.oidc_internal_url
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        self._now = now
        self._ticks = ticks
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._failed_at: float | None = None

    # --- signing in

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is sent to sign in. Raises `ProviderUnreachable`."""
        known = self._description()
        scopes = known.metadata.get("scopes_supported") or SCOPES
        with self._client() as client:
            url, _ = client.create_authorization_url(
                known.metadata["authorization_endpoint"],
                state=state,
                nonce=nonce,
                code_verifier=verifier,
                redirect_uri=redirect_uri,
                scope=" ".join(scope for scope in SCOPES if scope in scopes),
            )
        return str(url)

    def exchange(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> Tokens:
        """The tokens for a code, with the ID token verified: signature, issuer, audience, party, time, nonce.

        Raises `ProviderUnreachable` or `ProviderRefused`."""
        answer = self._token(
            grant_type="authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier
        )
        if not isinstance(answer.get("id_token"), str):
            raise ProviderRefused("The identity provider gave no ID token.")
        claims = self._verified(answer["id_token"], nonce=nonce, access_token=answer["access_token"])
        return Tokens(answer["access_token"], answer.get("refresh_token"), answer["id_token"], claims)

    def refresh(self, refresh_token: str, *, subject: str) -> Tokens:
        """New tokens for an old refresh token, which is void afterwards where the provider gives another one.

        Raises `ProviderRefused` where it says no: the person is to sign in again."""
        answer = self._token(grant_type="refresh_token", refresh_token=refresh_token)
        claims: Mapping[str, Any] = {}
        if isinstance(answer.get("id_token"), str):
            claims = self._verified(answer["id_token"], access_token=answer["access_token"])
            if claims["sub"] != subject:
                raise ProviderRefused("The identity provider answered for somebody else.")
        return Tokens(
            answer["access_token"], answer.get("refresh_token") or refresh_token, answer.get("id_token"), claims
        )

    def person(self, tokens: Tokens, *, subject: str) -> dict[str, Any]:
        """What the provider says of the person now, groups included. Raises as `refresh` does."""
        endpoint = self._description().metadata.get("userinfo_endpoint")
        if not endpoint:
            return dict(tokens.claims)
        response = self._call("GET", endpoint, headers={"Authorization": f"Bearer {tokens.access}"})
        if response.status_code in (400, 401, 403):
            raise ProviderRefused("The identity provider says nothing of this person any more.")
        said = self._json(response)
        if said.get("sub") != subject:
            raise ProviderRefused("The identity provider answered for somebody else.")
        return {**tokens.claims, **said}

    # --- signing out

    def end_session_url(self, *, id_token: str | None, return_to: str) -> str | None:
        """Where the browser is sent to sign out there, too; None where the provider cannot say, or offers nothing."""
        try:
            endpoint = self._description().metadata.get("end_session_endpoint")
        except ProviderUnreachable:
            return None
        if not endpoint:
            return None
        query = {"post_logout_redirect_uri": return_to, "client_id": self._client_id}
        if id_token:
            query["id_token_hint"] = id_token
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def logout(self, token: str) -> Logout:
        """Whom a back-channel logout token names. Raises `ProviderRefused` for one that is not what it must be."""
        claims = self._signed_claims(token)
        self._check_registered(claims)
        events = claims.get("events")
        if not isinstance(events, dict) or _LOGOUT_EVENT not in events or "nonce" in claims:
            raise ProviderRefused("That is no logout token.")
        session, subject = claims.get("sid"), claims.get("sub")
        if not session and not subject:
            raise ProviderRefused("The logout token names nobody.")
        return Logout(session, subject)

    @property
    def state(self) -> Literal["ok", "away", "not asked yet"]:
        """How the last call ended. Asks nothing: whoever probes this process must not wait for another."""
        if self._failed_at is not None:
            return "away"
        return "not asked yet" if self._known is None else "ok"

    # --- inside: tokens

    def _token(self, **fields: str) -> dict[str, Any]:
        endpoint = self._description().metadata["token_endpoint"]
        response = self._call("POST", endpoint, data=fields, auth=(self._client_id, self._secret.get_secret_value()))
        answer = self._json(response, allow=(400, 401, 403))
        if response.status_code != 200 or not isinstance(answer.get("access_token"), str):
            raise ProviderRefused(f"The identity provider refused ({_word(answer.get('error'))}).")
        return answer

    def _verified(self, id_token: str, *, access_token: str, nonce: str | None = None) -> Mapping[str, Any]:
        from authlib.oidc.core import CodeIDToken
        from joserfc.errors import JoseError

        claims, header = self._signed(id_token)
        self._check_registered(claims)
        params = {"nonce": nonce, "client_id": self._client_id, "access_token": access_token}
        try:
            CodeIDToken(claims, header, params=params).validate(now=int(self._now()), leeway=_LEEWAY)
        except JoseError as error:
            raise ProviderRefused(f"The ID token is not valid ({error.error}).") from None
        return claims

    def _check_registered(self, claims: Mapping[str, Any]) -> None:
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        registry = JWTClaimsRegistry(
            now=int(self._now()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            iat={"essential": True},
        )
        try:
            registry.validate(dict(claims))
        except JoseError as error:
            raise ProviderRefused(f"A token is not valid ({error.error}).") from None

    def _signed_claims(self, token: str) -> dict[str, Any]:
        return self._signed(token)[0]

    def _signed(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Claims and header of a token that one of the provider's keys signed; keys may have changed since we asked."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        for fresh in (False, True):
            keys = self._description(fresh=fresh).keys
            try:
                found = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):
                continue
            return dict(found.claims), dict(found.header)
        raise ProviderRefused("A token is not signed by the identity provider.")

    # --- inside: calls

    def _description(self, *, fresh: bool = False) -> _Known:
        """What the provider says of itself, and its keys. Old knowledge is better than none."""
        with self._lock:
            known, now = self._known, self._ticks()
            if known is not None and not fresh and now - known.at < _FRESH:
                return known
            try:
                self._known = self._ask()
            except ProviderUnreachable:
                if known is not None and not fresh:
                    return known
                raise
            return self._known

    def _ask(self) -> _Known:
        from joserfc.jwk import KeySet

        metadata = self._json(self._call("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"))
        if metadata.get("issuer") != self.issuer:
            raise ProviderUnreachable(
                f"The identity provider calls itself {metadata.get('issuer')}, not {self.issuer}: correct "
                "JHAAS_OIDC_ISSUER."
            )
        for needed in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(metadata.get(needed), str):
                raise ProviderUnreachable(f"The identity provider {self.issuer} names no {needed}.")
        keys = self._json(self._call("GET", metadata["jwks_uri"]))
        return _Known(metadata, KeySet.import_key_set(keys), self._ticks())  # type: ignore[arg-type]

    @contextmanager
    def _client(self) -> Iterator[Any]:
        from authlib.integrations.requests_client import OAuth2Session

        with OAuth2Session(self._client_id, code_challenge_method="S256") as client:
            yield client

    def _call(self, method: str, url: str, **arguments: Any) -> Any:
        import httpx

        if self._failed_at is not None and self._ticks() - self._failed_at < _PAUSE:
            raise ProviderUnreachable(f"The identity provider {self.issuer} does not answer.")
        address, host = self._way(url)
        headers = {"Accept": "application/json", "Host": host, **arguments.pop("headers", {})}
        try:
            with httpx.Client(timeout=httpx.Timeout(_TIMEOUT, connect=2), verify=context(), trust_env=False) as client:
                response = client.request(method, address, headers=headers, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._failed_at = self._ticks()
            why = distrust(error)
            said = f"cannot be asked: {why}" if why else f"does not answer ({type(error).__name__})."
            raise ProviderUnreachable(f"The identity provider {self.issuer} {said}") from None
        if response.status_code >= 500 or response.status_code == 429:
            self._failed_at = self._ticks()
            raise ProviderUnreachable(f"The identity provider {self.issuer} fails (HTTP {response.status_code}).")
        self._failed_at = None
        return response

    def _way(self, url: str) -> tuple[str, str]:
        """The address to connect to, and the name to call for: the provider may have an internal address."""
        parts, own = urlsplit(url), urlsplit(self.issuer)
        if self._internal and parts.netloc == own.netloc:
            inner = urlsplit(self._internal)
            return urlunsplit((inner.scheme, inner.netloc, parts.path, parts.query, "")), parts.netloc
        return url, parts.netloc

    def _json(self, response: Any, allow: tuple[int, ...] = ()) -> dict[str, Any]:
        if response.status_code != 200 and response.status_code not in allow:
            raise ProviderUnreachable(
                f"The identity provider {self.issuer} answers HTTP {response.status_code} at {response.url.path}."
            )
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ProviderUnreachable(f"The identity provider {self.issuer} does not answer in JSON.")
        return content


def _word(text: object) -> str:
    """An error code of the protocol, as far as it is one."""
    words = str(text or "no reason")
    return words if words.replace("_", "").replace(" ", "").isalnum() and len(words) < 50 else "no reason"
