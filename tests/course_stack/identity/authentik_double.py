"""A stand-in for Authentik's server that is stricter than the real one.

It keeps state, checks the body of each request and the form of each answer with the models of Authentik's own client,
refuses fields, filters and addresses that the client does not know, keeps the real server's rules (unique names, what
a deletion takes with it, who is let into an application), pages its lists two by two, and can drop the connection
before or after the effect of any call.

Whatever it had to refuse as malformed is in `violations`, and whoever was ever let into an application without being in
a group that guards it is in `strangers_let_in`: tests want both empty.
"""

from __future__ import annotations

import inspect
import json
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import authentik_client as client

from course_stack.identity import IdentityError

Row = dict[str, Any]
TOKEN = "token-of-the-test"
NOW = "2026-11-22T12:00:00Z"
MAX_PAGE = 2


class RefusedError(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class DroppedError(Exception):
    """The connection ends without an answer."""


@dataclass
class Kind:
    """One collection of the API and what Authentik's client knows of it."""

    path: str
    permission: str
    model: Any
    list_call: Callable[..., Any]
    key: str = "pk"
    request: Any = None
    patched: Any = None
    filters: tuple[str, ...] = ()
    """Filters that this double carries out; another one that the client knows is refused as well, as not built yet."""


KINDS = {
    kind.path: kind
    for kind in [
        Kind(
            "/core/applications/",
            "authentik_core.{}_application",
            client.Application,
            client.CoreApi.core_applications_list,
            key="slug",
            request=client.ApplicationRequest,
            patched=client.PatchedApplicationRequest,
            filters=("superuser_full_list",),
        ),
        Kind(
            "/core/groups/",
            "authentik_core.{}_group",
            client.Group,
            client.CoreApi.core_groups_list,
            request=client.GroupRequest,
            patched=client.PatchedGroupRequest,
            filters=("name", "search", "include_users"),
        ),
        Kind(
            "/core/users/",
            "authentik_core.{}_user",
            client.User,
            client.CoreApi.core_users_list,
            filters=("uuid", "groups_by_pk", "include_groups", "include_roles"),
        ),
        Kind(
            "/providers/oauth2/",
            "authentik_providers_oauth2.{}_oauth2provider",
            client.OAuth2Provider,
            client.ProvidersApi.providers_oauth2_list,
            request=client.OAuth2ProviderRequest,
            patched=client.PatchedOAuth2ProviderRequest,
            filters=("name", "client_id"),
        ),
        Kind(
            "/policies/bindings/",
            "authentik_policies.{}_policybinding",
            client.PolicyBinding,
            client.PoliciesApi.policies_bindings_list,
            request=client.PolicyBindingRequest,
            patched=client.PatchedPolicyBindingRequest,
            filters=("target", "policy__isnull"),
        ),
        Kind(
            "/flows/instances/",
            "authentik_flows.{}_flow",
            client.Flow,
            client.FlowsApi.flows_instances_list,
            filters=("slug",),
        ),
        Kind(
            "/propertymappings/provider/scope/",
            "authentik_providers_oauth2.{}_scopemapping",
            client.ScopeMapping,
            client.PropertymappingsApi.propertymappings_provider_scope_list,
            filters=("scope_name",),
        ),
        Kind(
            "/crypto/certificatekeypairs/",
            "authentik_crypto.{}_certificatekeypair",
            client.CertificateKeyPair,
            client.CryptoApi.crypto_certificatekeypairs_list,
            filters=("has_key",),
        ),
    ]
}
APPLICATIONS, GROUPS, USERS, PROVIDERS, BINDINGS, FLOWS, SCOPES, KEYS = KINDS
VERBS = {"GET": "view", "POST": "add", "PATCH": "change", "DELETE": "delete"}


@dataclass
class Crash:
    """The n-th call from now on (1 is the next) loses its connection, before or after it took effect."""

    call: int
    after: bool


MANY_CALLS = 200
"""More than any run makes."""


@dataclass
class AuthentikDouble:
    """`with AuthentikDouble() as server:` serves on a free port of the loopback interface."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {path: [] for path in KINDS})
    violations: list[str] = field(default_factory=list)
    strangers_let_in: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    crash: Crash | None = None
    missing_permissions: set[str] = field(default_factory=set)
    superuser: bool = True
    """Else the token's account sees, of the providers, only those that it made."""
    answer: tuple[int, str, str] | None = None
    """Status, content type and body of every answer, instead of the right ones."""
    silent: threading.Event | None = None
    """No call is answered before this is set."""
    hook: Callable[[str, str], None] | None = None
    """Called before each call takes effect, with its method and address."""

    METHODS: ClassVar[tuple[str, ...]] = ("GET", "POST", "PATCH", "DELETE")

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._numbers = iter(range(1, 1_000_000))
        self._own: set[object] = set()
        for slug in ("default-provider-authorization-implicit-consent", "default-provider-invalidation-flow", "x"):
            self.rows[FLOWS].append({"pk": new_id(), "slug": slug})
        for scope in ("openid", "email", "profile", "entitlements", "offline_access"):
            managed = f"goauthentik.io/providers/oauth2/scope-{scope}"
            self.rows[SCOPES].append({"pk": new_id(), "managed": managed, "scope_name": scope})
        self.add_key("authentik Internal JWT Certificate", managed="goauthentik.io/crypto/jwt-managed")
        self.add_key("a certificate without its key", private_key_available=False)
        self.add_key("a key of another kind", key_type="ed25519")
        self.add_key("aaa")
        self.add_key("authentik Self-signed Certificate")

    # --- for tests: a connection that is lost

    def every_crash(self, run: Callable[[], object], *, after: bool) -> Iterator[int]:
        """Run and lose the connection at the first call, then again at the second, until a run comes through."""
        for call in range(1, MANY_CALLS):
            self.crash = Crash(call, after)
            try:
                run()
            except IdentityError as error:
                assert "does not answer" in str(error)
                yield call
            else:
                self.crash = None
                return
        raise AssertionError(f"no run came through: {self.violations}")

    # --- for tests: state

    def add_key(self, name: str, **values: Any) -> Row:
        row: Row = {
            "pk": new_id(),
            "name": name,
            "managed": None,
            "private_key_available": True,
            "key_type": "rsa",
            **values,
        }
        self.rows[KEYS].append(row)
        return row

    def add_user(self, name: str) -> str:
        """Subject of a new account."""
        row = {"pk": next(self._numbers), "uuid": new_id(), "username": name}
        self.rows[USERS].append(row)
        return str(row["uuid"])

    def add_group(self, name: str, subjects: tuple[str, ...] = (), **values: Any) -> Row:
        users = [self.user(subject)["pk"] for subject in subjects]
        row = {
            "pk": new_id(),
            "name": name,
            "users": users,
            "is_superuser": False,
            "parents": [],
            "roles": [],
            **values,
        }
        self.rows[GROUPS].append(row)
        return row

    def add_application(self, slug: str, **values: Any) -> Row:
        row: Row = {"pk": new_id(), "pbm_uuid": new_id(), "name": slug, "slug": slug, "provider": None}
        row |= {"policy_engine_mode": "any", "meta_launch_url": "", "meta_hide": False, **values}
        self.rows[APPLICATIONS].append(row)
        return row

    def add_provider(self, name: str, *, own: bool = True, **values: Any) -> Row:
        """`own`: the token's account made it."""
        flow = self.rows[FLOWS][0]["pk"]
        row = {"pk": next(self._numbers), "name": name, "client_id": secrets.token_hex(20), "redirect_uris": []}
        row |= {"client_secret": secrets.token_hex(64), "client_type": "confidential", "sub_mode": "hashed_user_id"}
        # nobody signs in by a client that was not told how
        row["grant_types"] = []
        row |= {"authorization_flow": flow, "invalidation_flow": flow, "property_mappings": [], "signing_key": None}
        row |= {"issuer_mode": "per_provider", "include_claims_in_id_token": True, **values}
        self.rows[PROVIDERS].append(row)
        if own:
            self._own.add(row["pk"])
        return row

    def add_binding(self, application: Row, **values: Any) -> Row:
        row = {"pk": new_id(), "target": application["pk"], "policy": None, "group": None, "user": None, "order": 0}
        row |= {"enabled": True, "negate": False, "failure_result": False, "timeout": 30, "expiring": False, **values}
        self.rows[BINDINGS].append(row)
        return row

    def user(self, subject: str) -> Row:
        return next(user for user in self.rows[USERS] if user["uuid"] == subject)

    def only(self, path: str) -> Row:
        (row,) = self.rows[path]
        return row

    def writes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] != "GET"]

    # --- who is let in (authentik/policies/engine.py and models.py)

    def admits(self, subject: str, slug: str) -> bool:
        """Whether this person can sign in through the application."""
        application = next((row for row in self.rows[APPLICATIONS] if row["slug"] == slug), None)
        if application is None or application["provider"] is None:
            return False
        results = [
            self._passes(binding, subject) != binding["negate"]
            for binding in self.rows[BINDINGS]
            if binding["target"] == application["pk"] and binding["enabled"]
        ]
        if not results:
            return True
        return all(results) if application["policy_engine_mode"] == "all" else any(results)

    def _passes(self, binding: Row, subject: str) -> bool:
        if binding["group"]:
            return self.is_member(subject, binding["group"])
        if binding["user"]:
            return bool(self.user(subject)["pk"] == binding["user"])
        return True  # a policy of the site that lets everybody pass

    def is_member(self, subject: str, group: str) -> bool:
        """Directly, or through a group that lies in this one."""
        number = self.user(subject)["pk"]
        return any(
            number in row["users"]
            if row["pk"] == group
            else group in row["parents"] and self.is_member(subject, row["pk"])
            for row in self.rows[GROUPS]
        )

    def _look_for_strangers(self, call: str) -> None:
        for application in self.rows[APPLICATIONS]:
            for user in self.rows[USERS]:
                in_a_group = any(user["pk"] in group["users"] for group in self.rows[GROUPS])
                if not in_a_group and self.admits(user["uuid"], application["slug"]):
                    self.strangers_let_in.append(f"{user['username']} into {application['slug']} after {call}")

    # --- serving

    def __enter__(self) -> Self:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    status, kind, content = double._reply(self.command, self.path, dict(self.headers), body)
                except DroppedError:
                    self.close_connection = True
                    return
                data = content.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 (names of the base class)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.silent:
            self.silent.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def _reply(self, method: str, address: str, headers: dict[str, str], body: bytes) -> tuple[int, str, str]:
        if self.silent:
            self.silent.wait()
            raise DroppedError
        if self.hook:
            self.hook(method, address)
        with self._lock:
            self.calls.append((method, urlsplit(address).path.removeprefix("/api/v3")))
            self.hosts.add(headers["Host"])
            crashing = self._crashes_now()
            if crashing and not crashing.after:
                raise DroppedError
            if self.answer:
                return self.answer
            try:
                status, content = self._act(method, address, headers, body)
            except RefusedError as refused:
                status, content = refused.status, refused.body
            except Exception as error:  # noqa: BLE001 (a defect of the double itself)
                self.violations.append(f"{type(error).__name__} at {method} {address}: {error}")
                status, content = 500, {}
            self._look_for_strangers(f"{method} {address}")
            if crashing:
                raise DroppedError
            return status, "application/json", "" if status == 204 else json.dumps(content)

    def _crashes_now(self) -> Crash | None:
        if self.crash is None:
            return None
        self.crash.call -= 1
        if self.crash.call:
            return None
        crash, self.crash = self.crash, None
        return crash

    def _violation(self, text: str) -> RefusedError:
        self.violations.append(text)
        return RefusedError(400, {"detail": text})

    # --- requests

    def _act(self, method: str, address: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        url = urlsplit(address)
        path = url.path.removeprefix("/api/v3")
        found = next(((kind, path[len(kind.path) :]) for kind in KINDS.values() if path.startswith(kind.path)), None)
        match = re.fullmatch(r"(?:(?P<key>[^/]+)/)?", found[1]) if found else None
        if url.path == path or found is None or match is None or method not in self.METHODS:
            raise self._violation(f"no such address: {method} {address}")
        kind, key = found[0], match["key"] and unquote(match["key"])
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            raise RefusedError(403, {"detail": "Token invalid/expired"})
        if kind.permission.format(VERBS[method]) in self.missing_permissions:
            raise RefusedError(403, {"detail": "You do not have permission to perform this action."})
        query = self._query(kind, url.query, listing=method == "GET" and key is None)
        content = json.loads(body) if body else None
        if method == "GET" and key is None:
            return 200, self._page(kind, query)
        if method == "POST" and key is None and kind.request:
            return 201, self._shown(kind, self._create(kind, self._checked(kind.request, content)))
        row = next((row for row in self._visible(kind) if str(row[kind.key]) == key), None)
        if row is None:
            raise RefusedError(404, {"detail": "No such object."})
        if method == "GET":
            return 200, self._shown(kind, row)
        if method == "PATCH" and kind.patched:
            self._change(kind, row, self._checked(kind.patched, content))
            return 200, self._shown(kind, row)
        if method == "DELETE" and kind.request:
            self._remove(kind, row)
            return 204, None
        raise self._violation(f"{method} is not possible at {path}")

    def _query(self, kind: Kind, text: str, *, listing: bool) -> dict[str, str]:
        query = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}
        known = set(inspect.signature(kind.list_call).parameters) if listing else set()
        if unknown := query.keys() - known:
            raise self._violation(f"{kind.path} has no filters {sorted(unknown)}")
        if unbuilt := query.keys() - {"page", "page_size", "ordering", *kind.filters}:
            raise self._violation(f"the double does not carry out the filters {sorted(unbuilt)} of {kind.path}")
        return query

    def _checked(self, model: Any, content: Any) -> Row:
        if not isinstance(content, dict):
            raise self._violation(f"{model.__name__}: the body is no object")
        if unknown := content.keys() - model.model_fields.keys():
            raise self._violation(f"{model.__name__} has no fields {sorted(unknown)}")
        for entry in content.get("redirect_uris", []):
            self._checked(client.RedirectURIRequest, entry)
        try:
            model.model_validate(content)
        except ValueError as error:
            raise self._violation(f"{model.__name__}: {error}") from None
        return content

    def _page(self, kind: Kind, query: dict[str, str]) -> Row:
        visible = self._visible(kind)
        # whoever may see some of a kind, and sees none, is refused
        if kind.path == PROVIDERS and not self.superuser and not visible:
            raise RefusedError(403, {"detail": "You do not have permission to perform this action."})
        rows = [row for row in visible if self._selected(kind, row, query)]
        if query.get("ordering") == "pk":
            rows.sort(key=lambda row: str(row["pk"]))
        size, number = min(int(query.get("page_size", 20)), MAX_PAGE), int(query.get("page", 1))
        pages = max(1, -(-len(rows) // size))
        if number > pages:
            raise RefusedError(404, {"detail": "Invalid page."})
        start = (number - 1) * size
        shown = rows[start : start + size]
        pagination = {"next": number + 1 if number < pages else 0, "previous": number - 1, "count": len(rows)}
        pagination |= {
            "current": number,
            "total_pages": pages,
            "start_index": start + 1,
            "end_index": start + len(shown),
        }
        assert client.Pagination.from_dict(pagination)
        return {"pagination": pagination, "results": [self._shown(kind, row) for row in shown], "autocomplete": {}}

    def _visible(self, kind: Kind) -> list[Row]:
        rows = self.rows[kind.path]
        if kind.path != PROVIDERS or self.superuser:
            return rows
        return [row for row in rows if row["pk"] in self._own]

    def _selected(self, kind: Kind, row: Row, query: dict[str, str]) -> bool:
        if kind.path == APPLICATIONS:  # others see what they may open themselves, and the token's account opens nothing
            return self.superuser and query.get("superuser_full_list") == "true"
        tests: dict[str, Callable[[str], bool]] = {
            "name": lambda value: row["name"] == value,
            "search": lambda value: value.lower() in row["name"].lower(),
            "uuid": lambda value: row["uuid"] == value,
            "groups_by_pk": lambda value: row["pk"] in self._group(value)["users"],
            "client_id": lambda value: row["client_id"] == value,
            "target": lambda value: self._application_of(row)["pbm_uuid"] == self._bound(value),
            "slug": lambda value: row["slug"] == value,
            "scope_name": lambda value: row["scope_name"] == value,
            "policy__isnull": lambda value: (row["policy"] is None) is (value == "true"),
            "has_key": lambda value: row["private_key_available"] is (value == "true"),
        }
        return all(tests[name](value) for name, value in query.items() if name in tests)

    def _group(self, key: str) -> Row:
        group = next((row for row in self.rows[GROUPS] if row["pk"] == key), None)
        if group is None:
            raise RefusedError(
                400, {"groups_by_pk": [f"Select a valid choice. {key} is not one of the available choices."]}
            )
        return group

    def _bound(self, target: str) -> str:
        if target not in (row["pbm_uuid"] for row in self.rows[APPLICATIONS]):
            raise RefusedError(400, {"target": ["Select a valid choice."]})
        return target

    def _application_of(self, binding: Row) -> Row:
        return next(row for row in self.rows[APPLICATIONS] if row["pk"] == binding["target"])

    # --- rules

    def _create(self, kind: Kind, content: Row) -> Row:
        if kind.path == APPLICATIONS:
            self._check_application(content, None)
            return self.add_application(**content)
        if kind.path == GROUPS:
            self._check_group(content, None)
            return self.add_group(**content)
        if kind.path == PROVIDERS:
            self._check_provider(content, None)
            return self.add_provider(**content)
        self._check_binding(content)
        key = content.pop("target")
        target = next((row for row in self.rows[APPLICATIONS] if key in (row["pk"], row["pbm_uuid"])), None)
        if target is None:
            raise RefusedError(400, {"target": ["Invalid pk - object does not exist."]})
        return self.add_binding(target, **content)

    def _change(self, kind: Kind, row: Row, content: Row) -> None:
        checks = {APPLICATIONS: self._check_application, GROUPS: self._check_group, PROVIDERS: self._check_provider}
        checks[kind.path](content, row)
        row.update(content)

    def _remove(self, kind: Kind, row: Row) -> None:
        self.rows[kind.path].remove(row)
        if kind.path == APPLICATIONS:  # its provider stays
            self._forget(BINDINGS, "target", row["pk"])
        if kind.path == GROUPS:  # and what it guarded is open
            self._forget(BINDINGS, "group", row["pk"])
        if kind.path == PROVIDERS:
            for application in self.rows[APPLICATIONS]:
                if application["provider"] == row["pk"]:
                    application["provider"] = None

    def _forget(self, path: str, name: str, value: str) -> None:
        self.rows[path] = [row for row in self.rows[path] if row[name] != value]

    def _unique(self, path: str, content: Row, own: Row | None, *names: str) -> None:
        for name in names:
            others = [row[name] for row in self.rows[path] if row is not own]
            if content.get(name) is not None and content[name] in others:
                raise RefusedError(400, {name: [f"Object with this {name} already exists."]})

    def _known(self, path: str, content: Row, *names: str) -> None:
        keys = {row["pk"] for row in self.rows[path]}
        for name in names:
            values = content.get(name)
            for value in values if isinstance(values, list) else [values]:
                if value is not None and value not in keys:
                    raise RefusedError(400, {name: [f'Invalid pk "{value}" - object does not exist.']})

    def _check_application(self, content: Row, own: Row | None) -> None:
        if not re.fullmatch(r"[-a-zA-Z0-9_]+", content.get("slug", "x")):
            raise RefusedError(400, {"slug": ["Enter a valid slug."]})
        self._unique(APPLICATIONS, content, own, "slug", "provider")
        self._known(PROVIDERS, content, "provider")

    def _check_group(self, content: Row, own: Row | None) -> None:
        self._unique(GROUPS, content, own, "name")
        self._known(USERS, content, "users")
        self._known(GROUPS, content, "parents")
        if content.get("is_superuser") and not (own and own["is_superuser"]):
            raise RefusedError(
                400, {"is_superuser": ["User does not have permission to set superuser status to True."]}
            )

    def _check_provider(self, content: Row, own: Row | None) -> None:
        self._unique(PROVIDERS, content, own, "name", "client_id")
        self._known(FLOWS, content, "authorization_flow", "invalidation_flow")
        self._known(SCOPES, content, "property_mappings")
        self._known(KEYS, content, "signing_key")
        if content.get("grant_types") == []:
            raise RefusedError(400, {"grant_types": ["This list may not be empty."]})

    def _check_binding(self, content: Row) -> None:
        set_ones = [name for name in ("policy", "group", "user") if content.get(name)]
        if len(set_ones) != 1:
            raise RefusedError(400, {"non_field_errors": ["One of 'policy', 'user', 'group' must be set."]})
        self._known(GROUPS, content, "group")
        self._known(USERS, content, "user")

    # --- answers

    def _shown(self, kind: Kind, row: Row) -> Row:
        shown = {**ALWAYS[kind.path], **self._computed(kind, row), **row}
        kind.model.model_validate(shown)
        return shown

    def _computed(self, kind: Kind, row: Row) -> Row:
        if kind.path == GROUPS:
            return {"children": [group["pk"] for group in self.rows[GROUPS] if row["pk"] in group["parents"]]}
        if kind.path == USERS:
            return {"name": row["username"]}
        if kind.path == FLOWS:
            return {**dict.fromkeys(("name", "title", "background_url", "export_url"), row["slug"])}
        if kind.path == PROVIDERS:
            application = next((each for each in self.rows[APPLICATIONS] if each["provider"] == row["pk"]), None)
            return {
                "assigned_application_slug": application and application["slug"],
                "assigned_application_name": application and application["name"],
            }
        return {}


def new_id() -> str:
    return str(uuid.uuid4())


MODEL_TEXTS = dict.fromkeys(("component", "verbose_name", "verbose_name_plural", "meta_model_name"), "model")
ALWAYS: dict[str, Row] = {
    APPLICATIONS: {
        **dict.fromkeys(("provider_obj", "launch_url", "meta_icon_url", "meta_icon_themed_urls")),
        "backchannel_providers_obj": [],
    },
    GROUPS: {
        **dict.fromkeys(("parents_obj", "users_obj", "inherited_roles_obj", "children_obj")),
        "num_pk": 1,
        "roles_obj": [],
    },
    USERS: {
        **dict.fromkeys(("date_joined", "password_change_date", "last_updated"), NOW),
        **dict.fromkeys(("groups_obj", "roles_obj")),
        "is_superuser": False,
        "avatar": "data:",
        "uid": "x",
    },
    PROVIDERS: {
        **MODEL_TEXTS,
        **dict.fromkeys(("assigned_backchannel_application_slug", "assigned_backchannel_application_name")),
    },
    BINDINGS: dict.fromkeys(("policy_obj", "group_obj", "user_obj", "expires")),
    FLOWS: {
        "policybindingmodel_ptr_id": new_id(),
        "designation": "authorization",
        "background_themed_urls": None,
        "stages": [],
        "policies": [],
        "cache_count": 0,
    },
    SCOPES: {**MODEL_TEXTS, "name": "scope", "expression": "return {}"},
    KEYS: {
        **dict.fromkeys(("fingerprint_sha256", "fingerprint_sha1", "cert_expiry", "cert_subject")),
        "certificate_download_url": "/c",
        "private_key_download_url": "/k",
    },
}
"""What each answer holds beside what is kept: fields that the code under test has no use for."""
