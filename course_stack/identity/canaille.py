"""Canaille as identity provider: clients by dynamic client registration (RFC 7591, 7592), groups by SCIM (RFC 7644).

Registration by itself is not idempotent: a run killed between effect and reply would leave a client with a secret that
nobody knows. Canaille takes a client's id from the signed token that allows its registration, so that here **a client's
id is its name**: a second registration is refused, and the management token of any client can be signed anew, which
reads the client back with its secret.

A subject (`sub`) is the person's user name at Canaille.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from course_stack.hub_files.trust import distrust
from course_stack.identity import ClientRequest, Endpoints, IdentityError, OidcClient
from course_stack.identity.connection import Connection
from course_stack.target import IdentityTarget

if TYPE_CHECKING:
    import httpx

ADMINISTRATOR = "administrator"
"""Id of the client whose tokens may use SCIM."""

_TIMEOUT = 15.0
_TOKEN_LIFETIME = 60
_GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
_USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"


class Canaille(Connection):
    """An `IdentityProvider`. Makes no connection before it is used; `with` or `close` ends its connections.

    `credentials`: `management_key` (private JWK as JSON, one of Canaille's inactive keys), `client_id` and
    `client_secret` of the administrator.
    """

    def __init__(self, target: IdentityTarget, credentials: Mapping[str, str]) -> None:
        self._url = target.url
        self._base = target.internal_url or target.url
        super().__init__(self._url, self._base, {"Accept": "application/json, application/scim+json"}, _TIMEOUT)
        self._credentials = credentials
        self._token: str | None = None

    # --- clients

    def ensure_client(self, request: ClientRequest) -> OidcClient:
        wanted = {
            "client_name": request.title,
            # a client whose home is below the trusted domain asks nobody for consent
            "client_uri": request.launch_url,
            "redirect_uris": [request.redirect_uri],
            "post_logout_redirect_uris": [request.post_logout_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "openid profile email groups",
            "token_endpoint_auth_method": "client_secret_basic",
        }
        # who may sign in is decided by the hub: Canaille has no groups of a client
        return self._oidc_client(self._ensure_registered(request.name, wanted))

    def find_client(self, name: str) -> OidcClient | None:
        found = self._registered(name)
        return None if found is None else self._oidc_client(found)

    def delete_client(self, name: str) -> None:
        if self._registered(name) is not None:
            response = self._managing("DELETE", name)
            self._expect(response, f"delete client {name}", 204)

    def client_names(self, prefix: str) -> frozenset[str]:
        # no protocol lists clients: our Canaille answers this one address more
        response = self._administering("GET", "/client-names")
        self._expect(response, "list its clients", 200)
        return frozenset(name for name in response.json() if name.startswith(prefix))

    # --- groups

    def ensure_group(self, name: str, members: Iterable[str]) -> str:
        wanted = frozenset(members)
        found = self._group(name)
        before = frozenset() if found is None else _members(found)
        for subject in sorted(wanted - before):
            if self._user(subject) is None:
                raise IdentityError(
                    f"{subject!r} is no account at {self._url}: correct the list of people, or make the account first.",
                    unknown=subject,
                )
        if found is None:
            body = self._group_body(name, wanted)
            response = self._scim("POST", "/Groups", body)
            if response.status_code == 201:
                return str(response.json()["id"])
            found = self._group(name)  # somebody else made it in between
            if found is None:
                self._expect(response, f"make group {name}", 201)
        assert found is not None
        if _members(found) != wanted:
            response = self._scim("PUT", f"/Groups/{quote(str(found['id']))}", self._group_body(name, wanted))
            self._expect(response, f"set the members of group {name}", 200)
        return str(found["id"])

    def group_members(self, name: str) -> frozenset[str] | None:
        found = self._group(name)
        return None if found is None else _members(found)

    def delete_group(self, name: str) -> None:
        found = self._group(name)
        if found is not None:
            response = self._scim("DELETE", f"/Groups/{quote(str(found['id']))}")
            self._expect(response, f"delete group {name}", 204, 404)

    def group_names(self, prefix: str) -> frozenset[str]:
        # all in one page: Canaille 0.3.6 fails on a page size
        response = self._scim("GET", "/Groups?excludedAttributes=members")
        self._expect(response, "list its groups", 200)
        names = (str(group["displayName"]) for group in response.json().get("Resources") or [])
        return frozenset(name for name in names if name.startswith(prefix))

    # --- people, of this machine's own accounts only

    def ensure_person(self, subject: str, given_name: str, family_name: str, email: str, password: str) -> None:
        """Make the account where it is missing; an existing one stays as it is, password included."""
        if self._user(subject) is not None:
            return
        body = {
            "schemas": [_USER_SCHEMA],
            "userName": subject,
            "name": {"givenName": given_name, "familyName": family_name, "formatted": f"{given_name} {family_name}"},
            "displayName": subject,
            "emails": [{"value": email}],
            "password": password,
            "active": True,
        }
        self._expect(self._scim("POST", "/Users", body), f"make account {subject}", 201)

    # --- readiness

    def trouble(self) -> str | None:
        """None when Canaille answers under its public name; else one sentence that says what is wrong."""
        try:
            response = self._send("GET", "/.well-known/openid-configuration")
            self._expect(response, "describe itself", 200)
        except IdentityError as error:
            return str(error)
        if (issuer := response.json().get("issuer")) != self._url:
            return f"The identity provider calls itself {issuer}, not {self._url}: restart it."
        return None

    def ensure_administrator(self) -> str:
        """Secret of the client whose tokens may use SCIM; registered where it is missing."""
        client = self._ensure_registered(
            ADMINISTRATOR,
            {
                "client_name": "Administration",
                "grant_types": ["client_credentials"],
                "token_endpoint_auth_method": "client_secret_basic",
            },
        )
        return str(client["client_secret"])

    # --- inside: registration

    def _ensure_registered(self, name: str, wanted: dict[str, Any]) -> dict[str, Any]:
        found = self._registered(name)
        if found is None:
            token = self._signed("client:register", name)
            response = self._send("POST", "/oauth/register", json=wanted, headers=_bearer(token))
            if response.status_code == 201:
                return dict(response.json())
            found = self._registered(name)  # somebody else registered it in between
            if found is None:
                self._expect(response, f"register client {name}", 201)
        assert found is not None
        if any(found.get(key) != value for key, value in wanted.items()):
            response = self._managing("PUT", name, {**wanted, "client_id": name})
            self._expect(response, f"update client {name}", 200)
            found = dict(response.json())
        return found

    def _registered(self, name: str) -> dict[str, Any] | None:
        response = self._managing("GET", name)
        if response.status_code == 200:
            return dict(response.json())
        # Canaille gives one answer to "no such client" and to "not with this key": the administrator's client tells
        # them apart, since it is always there
        if _denied(response) and (name == ADMINISTRATOR or self._managing("GET", ADMINISTRATOR).status_code == 200):
            return None
        self._expect(response, f"look for client {name}", 200)
        return None

    def _managing(self, method: str, name: str, body: dict[str, Any] | None = None) -> httpx.Response:
        token = self._signed("client:manage", name)
        return self._send(method, f"/oauth/register/{quote(name)}", json=body, headers=_bearer(token))

    def _signed(self, scope: str, client_id: str) -> str:
        """A token as Canaille's own `canaille jwt` command makes it."""
        from joserfc import jwt
        from joserfc.jwk import ECKey

        now = int(time.time())
        claims = {
            "iss": self._url,
            "aud": self._url,
            "sub": client_id,
            "scope": scope,
            "iat": now,
            "exp": now + _TOKEN_LIFETIME,
            "jti": str(uuid.uuid4()),
        }
        key = ECKey.import_key(json.loads(self._credential("management_key")))
        return jwt.encode({"alg": "ES256"}, claims, key)

    def _oidc_client(self, registered: dict[str, Any]) -> OidcClient:
        name = str(registered["client_id"])
        return OidcClient(
            name=name,
            client_id=name,
            secret=str(registered["client_secret"]),
            endpoints=Endpoints(
                issuer=self._url,
                authorize=f"{self._url}/oauth/authorize",
                token=f"{self._base}/oauth/token",
                userinfo=f"{self._base}/oauth/userinfo",
                end_session=f"{self._url}/oauth/end_session",
            ),
        )

    # --- inside: SCIM

    def _group(self, name: str) -> dict[str, Any] | None:
        response = self._scim("GET", f"/Groups/{quote(name, safe='')}")
        if response.status_code == 404:
            return None
        self._expect(response, f"look for group {name}", 200)
        found = dict(response.json())
        # the address takes the name and the id alike
        return found if found["displayName"] == name else None

    def _user(self, subject: str) -> dict[str, Any] | None:
        response = self._scim("GET", f"/Users/{quote(subject, safe='')}")
        if response.status_code == 404:
            return None
        self._expect(response, f"look for account {subject}", 200)
        found = dict(response.json())
        return found if found["userName"] == subject else None

    def _group_body(self, name: str, members: Iterable[str]) -> dict[str, Any]:
        return {
            "schemas": [_GROUP_SCHEMA],
            "displayName": name,
            "members": [
                {"value": subject, "$ref": f"{self._url}/scim/v2/Users/{quote(subject, safe='')}"}
                for subject in sorted(members)
            ],
        }

    def _scim(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return self._administering(method, f"/scim/v2{path}", body)

    def _administering(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        for _ in range(2):
            fresh = self._token is None
            if self._token is None:
                self._token = self._new_token()
            response = self._send(method, path, json=body, headers=_bearer(self._token))
            if response.status_code != 401 or fresh:
                break
            self._token = None  # expired: once more with a new one
        return response

    def _new_token(self) -> str:
        response = self._send(
            "POST",
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=(self._credential("client_id"), self._credential("client_secret")),
        )
        self._expect(response, "take our administrative key", 200)
        return str(response.json()["access_token"])

    # --- inside: HTTP

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with self._reachable():
            return self._http.request(method, path, **arguments)

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TransportError as error:
            if why := distrust(error):
                raise IdentityError(f"The identity provider {self._url} cannot be asked: {why}") from error
            raise IdentityError(
                f"The identity provider {self._url} does not answer ({type(error).__name__}): start it, "
                "or correct its address."
            ) from error

    def _expect(self, response: httpx.Response, what: str, *statuses: int) -> None:
        if response.status_code in statuses:
            return
        if response.status_code in (401, 403) or _denied(response):
            reason = "it refuses the key in identity.json"
        elif response.status_code >= 500:
            reason = f"it fails itself (HTTP {response.status_code}): look at its log, and whether its database runs"
        else:
            reason = _reason(response)
        raise IdentityError(f"The identity provider {self._url} did not {what}: {reason}.")

    def _credential(self, name: str) -> str:
        try:
            return self._credentials[name]
        except KeyError:
            raise IdentityError(f"identity.json has no {name!r}: start the local services again to renew it.") from None


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _denied(response: httpx.Response) -> bool:
    return response.status_code == 400 and '"access_denied"' in response.text


def _members(group: dict[str, Any]) -> frozenset[str]:
    return frozenset(str(member["value"]) for member in group.get("members") or [])


def _reason(response: httpx.Response) -> str:
    """The provider's own words, where it gives any; its answers to errors hold no secrets."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    said = body.get("error_description") or body.get("detail") or body.get("error") or ""
    return f"HTTP {response.status_code} {said}".strip()
