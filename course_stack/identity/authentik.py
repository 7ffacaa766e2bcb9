"""Authentik as identity provider, by its REST API (2026.8).

A course has four objects there, all named after it: an **application** (what people open), guarded by a **policy
binding** to the course's **group**, and an **OAuth2 provider** (the OIDC client). Authentik lets everybody into an
application without a binding, and cascades the deletion of a group to the bindings on it. So:

- The application is made without a provider, in which state nobody can sign in through it; then it is bound to the
  group; only then the provider is attached. Killed between any two calls, it is never open.
- A group that still guards something is not deleted.

A subject (`sub`) is the person's UUID at Authentik. The client's id is its name, which makes a second one impossible.

Plain HTTP instead of the `authentik-client` package: importing that package takes seconds of processor time and 160 MB
in each process, for eight kinds of objects. The tests check each request and answer with the package's own models.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from course_stack.hub_files.trust import distrust
from course_stack.identity import ClientRequest, Endpoints, IdentityError, OidcClient
from course_stack.identity.connection import Connection
from course_stack.target import IdentityTarget

if TYPE_CHECKING:
    import httpx

AUTHORIZATION_FLOW = "default-provider-authorization-implicit-consent"
INVALIDATION_FLOW = "default-provider-invalidation-flow"
SCOPES = ("openid", "email", "profile", "offline_access")
"""Of Authentik's own scope mappings; `profile` carries the groups, `offline_access` lets a hub look again later."""
GRANTS = ["authorization_code", "refresh_token"]
"""How a hub gets tokens. Since 2026.5 a provider that is not told may do nothing: every sign-in would fail."""
PREFERRED_KEY = "authentik Self-signed Certificate"
"""Authentik's own key pair for signing tokens, which every installation starts with."""

_API = "/api/v3"
_TIMEOUT = 30.0
_PAGE = 100  # Authentik gives no more at once

_APPLICATIONS = "/core/applications/"
_BINDINGS = "/policies/bindings/"
_FLOWS = "/flows/instances/"
_GROUPS = "/core/groups/"
_KEYS = "/crypto/certificatekeypairs/"
_PROVIDERS = "/providers/oauth2/"
_SCOPES = "/propertymappings/provider/scope/"
_USERS = "/core/users/"

_PERMISSIONS = {
    _APPLICATIONS: "authentik_core.{}_application",
    _BINDINGS: "authentik_policies.{}_policybinding",
    _FLOWS: "authentik_flows.{}_flow",
    _GROUPS: "authentik_core.{}_group",
    _KEYS: "authentik_crypto.{}_certificatekeypair",
    _PROVIDERS: "authentik_providers_oauth2.{}_oauth2provider",
    _SCOPES: "authentik_providers_oauth2.{}_scopemapping",
    _USERS: "authentik_core.{}_user",
}
_VERBS = {"GET": "view", "POST": "add", "PATCH": "change", "DELETE": "delete"}

Found = dict[str, Any]
"""An object of Authentik's, as its API describes it."""


class Authentik(Connection):
    """An `IdentityProvider`. Makes no connection before it is used; `with` or `close` ends its connections.

    `credentials`: `token`, an API token of an account that may view, add, change and delete applications, OAuth2
    providers, groups and policy bindings, and view users, flows, scope mappings and key pairs. Of OAuth2 providers it
    is enough to view those that it made: whoever views one reads its secret. With an account that is
    no superuser `client_names` overlooks an application whose provider was deleted by hand, unless asked for its
    very name: Authentik lists all applications to superusers only.
    """

    def __init__(self, target: IdentityTarget, credentials: Mapping[str, str]) -> None:
        self._url = target.url.rstrip("/")
        self._base = (target.internal_url or target.url).rstrip("/")
        if not credentials.get("token"):
            raise IdentityError("identity.json has no 'token': put an API token of Authentik there.")
        self._token = credentials["token"]
        headers = {"Accept": "application/json", "Authorization": f"Bearer {self._token}"}
        super().__init__(self._url, self._base + _API, headers, _TIMEOUT)

    # --- clients

    def ensure_client(self, request: ClientRequest) -> OidcClient:
        name = request.name
        group = self._group(request.group) or self._make(
            _GROUPS, {"name": request.group, "users": []}, lambda: self._group(request.group)
        )
        application = self._application(name) or self._make(
            _APPLICATIONS,
            {"name": request.title, "slug": name, "policy_engine_mode": "all"},
            lambda: self._application(name),
        )
        self._guard(application, group)
        provider = self._provider(name)
        wanted = self._wanted_provider(request, provider)
        provider = provider or self._make(_PROVIDERS, wanted, lambda: self._provider(name))
        provider = self._bring(_PROVIDERS, provider["pk"], provider, wanted)
        self._bring(
            _APPLICATIONS,
            name,
            application,
            {
                "name": request.title,
                "provider": provider["pk"],
                "policy_engine_mode": "all",
                "meta_launch_url": request.launch_url,
                "meta_hide": False,
            },
        )
        return self._client(name, provider)

    def find_client(self, name: str) -> OidcClient | None:
        application = self._application(name)
        if application is None or application["provider"] is None:
            return None
        provider = self._get_or_none(f"{_PROVIDERS}{application['provider']}/")
        return None if provider is None else self._client(name, provider)

    def delete_client(self, name: str) -> None:
        # the application first: a provider without one lets nobody in; its bindings go with it
        self._delete(f"{_APPLICATIONS}{quote(name, safe='')}/")
        for provider in self._providers(name):
            self._delete(f"{_PROVIDERS}{provider['pk']}/")

    def client_names(self, prefix: str) -> frozenset[str]:
        names = {name for provider in self._all(_PROVIDERS) for name in (provider["name"], provider["client_id"])}
        names |= {application["slug"] for application in self._all(_APPLICATIONS, superuser_full_list="true")}
        if self._application(prefix):
            names.add(prefix)
        return frozenset(name for name in names if name.startswith(prefix))

    # --- groups

    def ensure_group(self, name: str, members: Iterable[str]) -> str:
        wanted = frozenset(members)
        group = self._group(name)
        if group and group["children"]:
            nested = ", ".join(self._get(f"{_GROUPS}{child}/")["name"] for child in group["children"])
            raise IdentityError(
                f"Members of {nested} count as members of the course's group {name}, because one lies in the other: "
                "take them out of it at Authentik."
            )
        users = self._users_in(group) if group else {}
        for subject in sorted(wanted - users.keys()):
            users[subject] = self._user(subject)
        body = {
            "users": sorted(users[subject] for subject in wanted),
            # whatever stood under this name before: being in a course gives no rights at Authentik itself
            "is_superuser": False,
            "parents": [],
            "roles": [],
        }
        group = group or self._make(_GROUPS, {"name": name, **body}, lambda: self._group(name))
        return str(self._bring(_GROUPS, group["pk"], group, body)["pk"])

    def group_members(self, name: str) -> frozenset[str] | None:
        group = self._group(name)
        return None if group is None else frozenset(self._users_in(group))

    def delete_group(self, name: str) -> None:
        group = self._group(name)
        if group is None:
            return
        if guarded := self._guarded_by(group):
            raise IdentityError(
                f"Group {name} is not deleted: without it everybody could open what it guards "
                f"({'; '.join(guarded)}). Delete that first, or bind it to another group."
            )
        self._delete(f"{_GROUPS}{group['pk']}/")

    def group_names(self, prefix: str) -> frozenset[str]:
        names = (str(group["name"]) for group in self._all(_GROUPS, search=prefix, include_users="false"))
        return frozenset(name for name in names if name.startswith(prefix))

    # --- inside: the objects of a course

    def _application(self, name: str) -> Found | None:
        return self._get_or_none(f"{_APPLICATIONS}{quote(name, safe='')}/")

    def _guard(self, application: Found, group: Found) -> None:
        """Leave one binding of people on the application: members of the group, without end.

        Bindings of the site's own policies stay: with the mode `all` they can only keep people out.
        """
        if not any(_admits_only(binding, group) for binding in self._bindings(application)):
            body = {"target": application["pk"], "group": group["pk"], "order": 0, "enabled": True, "negate": False}
            self._send("POST", _BINDINGS, _BINDINGS, {201}, json=body)
        while superfluous := self._superfluous(application, group):
            for binding in superfluous:
                self._delete(f"{_BINDINGS}{binding['pk']}/")

    def _superfluous(self, application: Found, group: Found) -> list[Found]:
        bindings = self._bindings(application)
        good = [binding["pk"] for binding in bindings if _admits_only(binding, group)]
        if not good:
            raise IdentityError(f"The binding of {application['slug']} to its group went in between: try again.")
        # of several runs at once each keeps the same one
        return [binding for binding in bindings if binding["policy"] is None and binding["pk"] != min(good)]

    def _bindings(self, application: Found) -> list[Found]:
        return self._all(_BINDINGS, target=application["pbm_uuid"])

    def _guarded_by(self, group: Found) -> list[str]:
        """Titles of what the group guards; for what is no application of the group's name, its UUID.

        Not by the group's own `used_by`: that fails (HTTP 500) for every account that is no superuser.
        """
        bindings = self._all(_BINDINGS, policy__isnull="true")
        targets = {binding["target"] for binding in bindings if binding["group"] == group["pk"]}
        application = self._application(group["name"]) if targets else None
        titles = {application["pk"]: application["name"]} if application else {}
        return sorted(str(titles.get(target, target)) for target in targets)

    def _providers(self, name: str) -> list[Found]:
        """Those that have the name as their client id or as their name, the former first."""
        found = {
            provider["pk"]: provider
            for key in ("client_id", "name")
            for provider in self._all(_PROVIDERS, **{key: name})
            if provider[key] == name
        }
        return list(found.values())

    def _provider(self, name: str) -> Found | None:
        return next(iter(self._providers(name)), None)

    def _wanted_provider(self, request: ClientRequest, existing: Found | None) -> Found:
        return {
            "name": request.name,
            "client_id": request.name,
            "client_type": "confidential",
            "grant_types": GRANTS,
            "authorization_flow": self._flow(AUTHORIZATION_FLOW),
            "invalidation_flow": self._flow(INVALIDATION_FLOW),
            "redirect_uris": [
                {"matching_mode": "strict", "url": request.redirect_uri, "redirect_uri_type": "authorization"},
                {"matching_mode": "strict", "url": request.post_logout_uri, "redirect_uri_type": "logout"},
            ],
            "property_mappings": [self._scope(scope) for scope in SCOPES],
            "signing_key": self._signing_key(existing),
            "sub_mode": "user_uuid",
            "issuer_mode": "per_provider",
            "include_claims_in_id_token": True,
        }

    def _client(self, name: str, provider: Found) -> OidcClient:
        if not provider.get("client_secret"):
            raise IdentityError(
                f"Authentik does not tell the secret of client {name}: the account of the token in identity.json lacks "
                f"the permission {_PERMISSIONS[_PROVIDERS].format('change')}."
            )
        return OidcClient(
            name=name,
            client_id=str(provider["client_id"]),
            secret=str(provider["client_secret"]),
            endpoints=Endpoints(
                issuer=f"{self._url}/application/o/{name}/",
                authorize=f"{self._url}/application/o/authorize/",
                token=f"{self._base}/application/o/token/",
                userinfo=f"{self._base}/application/o/userinfo/",
                end_session=f"{self._url}/application/o/{name}/end-session/",
            ),
        )

    def _group(self, name: str) -> Found | None:
        groups = self._all(_GROUPS, name=name, include_users="false")
        return next((group for group in groups if group["name"] == name), None)

    # --- inside: what Authentik has already

    def _users_in(self, group: Found) -> dict[str, int]:
        """Subject → Authentik's number, of the members."""
        return {str(user["uuid"]): user["pk"] for user in self._all(_USERS, groups_by_pk=group["pk"], **_SHORT_USERS)}

    def _user(self, subject: str) -> int:
        if _is_uuid(subject):
            for user in self._all(_USERS, uuid=subject, **_SHORT_USERS):
                if user["uuid"] == subject:
                    return int(user["pk"])
        raise IdentityError(
            f"{subject!r} is no account at {self._url} (a subject is the UUID of an account there): correct the list "
            "of people, or make the account first.",
            unknown=subject,
        )

    def _flow(self, slug: str) -> str:
        for flow in self._all(_FLOWS, slug=slug):
            if flow["slug"] == slug:
                return str(flow["pk"])
        raise IdentityError(f"Authentik has no flow {slug!r}: its default blueprints must be applied (by its worker).")

    def _scope(self, name: str) -> str:
        managed = f"goauthentik.io/providers/oauth2/scope-{name}"
        # not by the filter `managed`, which refuses (HTTP 400) what is not there yet
        for mapping in self._all(_SCOPES, scope_name=name):
            if mapping["managed"] == managed:
                return str(mapping["pk"])
        raise IdentityError(
            f"Authentik has no scope mapping {managed!r}: its default blueprints must be applied (by its worker)."
        )

    def _signing_key(self, existing: Found | None) -> str:
        """The key that the provider has, if it is usable: another one would end everybody's session."""
        keys = self._all(_KEYS, has_key="true")
        if existing and existing["signing_key"] in {key["pk"] for key in keys}:
            return str(existing["signing_key"])
        # managed ones belong to the insides of Authentik, which signs with RSA and EC keys only
        own = [key for key in keys if not key["managed"] and key["key_type"] in ("rsa", "ec")]
        for key in sorted(own, key=lambda key: (key["name"] != PREFERRED_KEY, key["name"])):
            return str(key["pk"])
        raise IdentityError("Authentik has no key pair to sign tokens with: make one there (System, Certificates).")

    # --- inside: HTTP

    def _make(self, path: str, body: Found, find: Callable[[], Found | None]) -> Found:
        """Create, or adopt what somebody else made under the same name in between."""
        response = self._send("POST", path, path, {201, 400}, json=body)
        if response.status_code == 201:
            return dict(response.json())
        if found := find():
            return found
        refused = self._refused(response, "POST", path)
        if path == _PROVIDERS:
            raise IdentityError(
                f"{refused} If there is one already, the account of the token in identity.json lacks the permission "
                f"{_PERMISSIONS[path].format('view')} for it."
            )
        raise refused

    def _bring(self, path: str, key: str | int, existing: Found, wanted: Found) -> Found:
        """Change what differs; without a difference nothing is sent."""
        changes = {name: value for name, value in wanted.items() if not _same(existing.get(name), value)}
        if not changes:
            return existing
        return dict(self._send("PATCH", f"{path}{quote(str(key), safe='')}/", path, {200}, json=changes).json())

    def _get(self, address: str) -> Found:
        return dict(self._send("GET", address, address, {200}).json())

    def _get_or_none(self, address: str) -> Found | None:
        response = self._send("GET", address, address, {200, 404})
        return None if response.status_code == 404 else dict(response.json())

    def _delete(self, address: str) -> None:
        self._send("DELETE", address, address, {204, 404})

    def _all(self, path: str, **filters: str) -> list[Found]:
        """Every object, page by page, in an order that is the same for each page."""
        found: list[Found] = []
        page = 1
        # an account that may view the providers that it made is refused as long as there is none
        no_own = {403} if path == _PROVIDERS else set()
        while page:
            query = {"page": str(page), "page_size": str(_PAGE), "ordering": "pk", **filters}
            response = self._send("GET", path, path, {200, *no_own} if page == 1 else {200, 404}, params=query)
            if response.status_code == 403:
                return []
            if response.status_code == 404:  # something was deleted, and the rest moved to the pages before
                found, page = [], 1
                continue
            answer = response.json()
            found += answer["results"]
            page = int(answer["pagination"]["next"])
        return found

    def _send(self, method: str, address: str, path: str, expected: set[int], **arguments: Any) -> httpx.Response:
        """One request; any answer but the expected ones, and one that is not JSON, is an IdentityError."""
        import httpx

        try:
            response = self._http.request(method, address, **arguments)
        except httpx.TimeoutException:
            raise IdentityError(
                f"Authentik ({self._url}) did not answer within {_TIMEOUT:g} seconds: look at its log and its database."
            ) from None
        except httpx.TransportError as error:
            if why := distrust(error):
                raise IdentityError(f"Authentik ({self._url}) cannot be asked: {why}") from None
            raise IdentityError(
                f"Authentik ({self._url}) does not answer ({type(error).__name__}): start it, or correct its address."
            ) from None
        if response.status_code not in expected:
            raise self._refused(response, method, path)
        if response.status_code != 204 and "json" not in response.headers.get("Content-Type", ""):
            raise IdentityError(f"{self._url} answers, but not as Authentik does: correct the address.")
        return response

    def _refused(self, response: httpx.Response, method: str, path: str) -> IdentityError:
        status, said = response.status_code, _said(response).replace(self._token, "***")
        if status == 401 or (status == 403 and ("Token" in said or "credentials" in said)):
            return IdentityError(f"Authentik ({self._url}) refuses the token in identity.json: put a valid one there.")
        if status == 403:
            permission = next(name for start, name in _PERMISSIONS.items() if path.startswith(start))
            return IdentityError(
                f"Authentik ({self._url}) refuses to {_VERBS[method]}: the account of the token in identity.json lacks "
                f"the permission {permission.format(_VERBS[method])}."
            )
        what = f"{method} {path}"
        if status == 404:
            return IdentityError(f"Authentik ({self._url}) has nothing at {what}: it went in between; try again.")
        if status >= 500:
            return IdentityError(
                f"Authentik ({self._url}) fails itself at {what} (HTTP {status}): look at its log and its database."
            )
        return IdentityError(f"Authentik ({self._url}) refuses {what} (HTTP {status}): {said or 'without a reason'}.")


_SHORT_USERS = {"include_groups": "false", "include_roles": "false"}


def _admits_only(binding: Found, group: Found) -> bool:
    return bool(
        binding["group"] == group["pk"]
        and binding["enabled"]
        and not binding["negate"]
        and not binding["expiring"]  # an application whose last binding expires is open to everybody
        and not binding["failure_result"]
    )


def _same(existing: Any, wanted: Any) -> bool:
    """Lists are sets to Authentik, and it fills in what an entry leaves out."""
    if isinstance(existing, list) and isinstance(wanted, list):
        return _entries(existing) == _entries(wanted)
    return bool(existing == wanted)


def _entries(values: list[Any]) -> set[Any]:
    return {tuple(sorted(value.items())) if isinstance(value, dict) else value for value in values}


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _said(response: httpx.Response) -> str:
    """Authentik's reasons, each with its field; at most 300 characters."""
    try:
        body = response.json()
    except ValueError:
        return ""
    return "; ".join(_reasons(body))[:300]


def _reasons(body: Any, field: str = "") -> Iterator[str]:
    if isinstance(body, dict):
        for name, inner in body.items():
            plain = name in ("detail", "non_field_errors", "code")
            yield from _reasons(inner, field if plain else f"{field}.{name}" if field else name)
    elif isinstance(body, list):
        for inner in body:
            yield from _reasons(inner, field)
    else:
        text = str(body).strip().rstrip(".")
        yield f"{field}: {text}" if field else text
