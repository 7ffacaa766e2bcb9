"""Clients and groups at a real Canaille: adopted after a crash at any call, never made twice, gone when deleted."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import secrets
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from course_stack import identity
from course_stack.identity import ClientRequest, IdentityError, OidcClient
from course_stack.identity.canaille import Canaille
from course_stack.local.machine import credential
from course_stack.target import IdentityTarget
from tests.conftest import Machine
from tests.support.browser import Browser

machine_only = pytest.mark.machine


@pytest.fixture
def provider(machine: Machine) -> Iterator[Canaille]:
    found = identity.connect(machine.target, machine.layout.credentials)
    assert isinstance(found, Canaille)
    with found:
        yield found


@pytest.fixture
def request_(machine: Machine, provider: Canaille) -> Iterator[ClientRequest]:
    """What a course asks for, under a name of its own; client and group are gone afterwards."""
    slug = f"test-{uuid.uuid4().hex[:8]}"
    url = machine.target.hub_url(slug)
    yield ClientRequest(
        name=f"jhaas-{slug}",
        title="A course",
        redirect_uri=f"{url}hub/oauth_callback",
        post_logout_uri=f"{url}hub/",
        launch_url=url,
        group=f"jhaas-{slug}",
    )
    provider.delete_client(f"jhaas-{slug}")
    provider.delete_group(f"jhaas-{slug}")


# --- clients


@machine_only
def test_a_client_is_registered_once_and_found_with_its_secret(provider: Canaille, request_: ClientRequest) -> None:
    assert provider.find_client(request_.name) is None
    made = provider.ensure_client(request_)
    assert provider.ensure_client(request_) == made
    assert provider.find_client(request_.name) == made
    assert request_.name in provider.client_names("jhaas-test-")
    assert request_.name not in provider.client_names("other-")


@machine_only
def test_a_client_whose_registration_was_never_answered_is_adopted(
    machine: Machine, provider: Canaille, request_: ClientRequest
) -> None:
    """The run dies between the effect and the reply: the next one finds the client, secret included."""
    with CutOff(str(machine.target.identity.internal_url), "POST /oauth/register") as way:
        target = machine.target.identity.model_copy(update={"internal_url": way.url})
        with Canaille(target, credential(machine.layout, "identity.json")) as dying, pytest.raises(IdentityError):
            dying.ensure_client(request_)
    orphan = provider.find_client(request_.name)
    assert orphan is not None
    assert provider.ensure_client(request_) == orphan
    assert token_answer(machine, orphan, grant_type="authorization_code", code="x").json()["error"] == "invalid_grant"


@machine_only
def test_runs_at_the_same_time_make_one_client_and_one_group(
    machine: Machine, provider: Canaille, request_: ClientRequest
) -> None:
    def run(_: int) -> tuple[OidcClient, str]:
        with Canaille(machine.target.identity, credential(machine.layout, "identity.json")) as mine:
            return mine.ensure_client(request_), mine.ensure_group(request_.group, ["student"])

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(8)))
    assert len(set(results)) == 1
    assert provider.find_client(request_.name) == results[0][0]
    assert provider.group_members(request_.group) == {"student"}


@machine_only
def test_a_changed_request_changes_the_client_and_keeps_its_secret(
    provider: Canaille, request_: ClientRequest, machine: Machine
) -> None:
    before = provider.ensure_client(request_)
    elsewhere = request_.redirect_uri.replace("oauth_callback", "elsewhere")
    after = provider.ensure_client(dataclasses.replace(request_, redirect_uri=elsewhere, title="New title"))
    assert after.secret == before.secret
    browser = Browser()
    assert "code" in signed_in(machine, browser, after, elsewhere)
    refused = browser.get(authorize_url(after, request_.redirect_uri), allow_redirects=False)
    assert refused.status_code == 400


@machine_only
def test_a_deleted_client_is_gone_and_can_be_made_again(provider: Canaille, request_: ClientRequest) -> None:
    first = provider.ensure_client(request_)
    provider.delete_client(request_.name)
    provider.delete_client(request_.name)
    assert provider.find_client(request_.name) is None
    assert request_.name not in provider.client_names("jhaas-")
    assert provider.ensure_client(request_).secret != first.secret


@machine_only
def test_a_wrong_key_is_not_taken_for_an_absent_client(machine: Machine, request_: ClientRequest) -> None:
    from joserfc.jwk import ECKey

    given = credential(machine.layout, "identity.json")
    other = json.dumps(ECKey.generate_key("P-256", auto_kid=True).as_dict(private=True))
    with Canaille(machine.target.identity, {**given, "management_key": other}) as stranger:
        for call in (stranger.find_client, stranger.delete_client):
            with pytest.raises(IdentityError, match="refuses the key in identity"):
                call(request_.name)
        with pytest.raises(IdentityError, match="refuses the key in identity"):
            stranger.ensure_client(request_)
    with Canaille(machine.target.identity, {**given, "client_secret": "wrong"}) as stranger:
        for listing in (stranger.client_names, stranger.group_names):
            with pytest.raises(IdentityError, match="refuses the key in identity"):
                listing("jhaas-")


@machine_only
def test_nobody_registers_a_client_without_a_signed_token(machine: Machine) -> None:
    wish = {"client_name": "x", "redirect_uris": ["http://x.localhost/"], "grant_types": ["client_credentials"]}
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        answer = call(machine, "POST", "/oauth/register", json=wish, headers=headers)
        assert answer.status_code in (400, 401, 403)


# --- signing in


def authorize_url(client: OidcClient, redirect_uri: str, verifier: str = "v" * 50) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid profile email groups",
        "state": secrets.token_urlsafe(8),
        "code_challenge": digest,
        "code_challenge_method": "S256",
    }
    return f"{client.endpoints.authorize}?{urlencode(query)}"


def signed_in(machine: Machine, browser: Browser, client: OidcClient, redirect_uri: str) -> dict[str, str]:
    """What the hub is sent back after the student signed in: `code` and `state`, without a question in between."""
    student = machine.people["student"]
    browser.sign_in(f"{machine.target.identity.url}/login", student.login, student.password)
    page = browser.get(authorize_url(client, redirect_uri), allow_redirects=False)
    assert page.status_code == 302, page.text[:500]
    assert page.headers["Location"].startswith(redirect_uri)
    return {key: values[0] for key, values in parse_qs(urlsplit(page.headers["Location"]).query).items()}


def call(machine: Machine, method: str, path: str, **arguments: Any) -> httpx.Response:
    headers = {"Host": urlsplit(machine.target.identity.url).netloc, **arguments.pop("headers", {})}
    base = str(machine.target.identity.internal_url)
    return httpx.request(method, f"{base}{path}", headers=headers, timeout=30, trust_env=False, **arguments)


def token_answer(machine: Machine, client: OidcClient, **form: str) -> httpx.Response:
    return call(machine, "POST", "/oauth/token", data=form, auth=(client.client_id, client.secret))


@machine_only
def test_a_member_signs_in_without_consent_and_the_hub_learns_subject_and_groups(
    machine: Machine, provider: Canaille, request_: ClientRequest
) -> None:
    provider.ensure_group(request_.group, ["student"])
    client = provider.ensure_client(request_)
    code = signed_in(machine, Browser(), client, request_.redirect_uri)["code"]
    redeem = {"grant_type": "authorization_code", "code": code, "redirect_uri": request_.redirect_uri}
    assert token_answer(machine, client, **redeem, code_verifier="w" * 50).status_code == 400
    tokens = token_answer(machine, client, **redeem, code_verifier="v" * 50).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    claims = call(machine, "GET", "/oauth/userinfo", headers=bearer).json()
    assert claims["sub"] == machine.people["student"].subject
    assert request_.group in claims["groups"]

    # a hub that asks again learns at once that somebody was removed, by the old token and by a refreshed one
    provider.ensure_group(request_.group, [])
    assert request_.group not in call(machine, "GET", "/oauth/userinfo", headers=bearer).json().get("groups", [])
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    fresh = token_answer(machine, client, **refresh).json()
    bearer = {"Authorization": f"Bearer {fresh['access_token']}"}
    assert request_.group not in call(machine, "GET", "/oauth/userinfo", headers=bearer).json().get("groups", [])


@machine_only
def test_a_hubs_client_cannot_administer(machine: Machine, provider: Canaille, request_: ClientRequest) -> None:
    """Canaille lets every token that belongs to a client alone use SCIM: a hub must not be able to get one."""
    client = provider.ensure_client(request_)
    assert token_answer(machine, client, grant_type="client_credentials").status_code == 400
    code = signed_in(machine, Browser(), client, request_.redirect_uri)["code"]
    redeem = {"grant_type": "authorization_code", "code": code, "redirect_uri": request_.redirect_uri}
    tokens = token_answer(machine, client, **redeem, code_verifier="v" * 50).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert call(machine, "GET", "/scim/v2/Groups", headers=bearer).status_code == 403
    assert call(machine, "GET", "/scim/v2/Users", headers=bearer).status_code == 403
    assert call(machine, "GET", "/client-names", headers=bearer).status_code == 403
    assert call(machine, "GET", "/client-names").status_code == 401
    assert call(machine, "GET", f"/oauth/register/{request_.name}", headers=bearer).status_code in (400, 401, 403)


@machine_only
def test_people_can_make_no_groups(machine: Machine) -> None:
    """Who makes a course's group before the course would own it."""
    browser, student = Browser(), machine.people["student"]
    browser.sign_in(f"{machine.target.identity.url}/login", student.login, student.password)
    assert browser.get(f"{machine.target.identity.url}/groups/add").status_code == 403


# --- groups


@machine_only
def test_a_groups_members_become_exactly_the_wanted_ones(provider: Canaille, request_: ClientRequest) -> None:
    assert provider.group_members(request_.group) is None
    made = provider.ensure_group(request_.group, ["student", "teacher"])
    for wanted in (["student", "teacher"], ["teacher"], [], ["student", "student"]):
        assert provider.ensure_group(request_.group, wanted) == made
        assert provider.group_members(request_.group) == set(wanted)
    assert request_.group in provider.group_names("jhaas-test-")
    assert request_.group not in provider.group_names("other-")
    provider.delete_group(request_.group)
    provider.delete_group(request_.group)
    assert provider.group_members(request_.group) is None
    assert request_.group not in provider.group_names("jhaas-")


@machine_only
def test_a_group_may_begin_empty(provider: Canaille, request_: ClientRequest) -> None:
    provider.ensure_group(request_.group, [])
    assert provider.group_members(request_.group) == frozenset()


@machine_only
@pytest.mark.parametrize("subject", ["ghost", "ghost/../student", "student?x=1", "ghost%2f", "STUDENT ", "ö"])
def test_an_unknown_subject_is_named_before_anything_changes(
    provider: Canaille, request_: ClientRequest, subject: str
) -> None:
    provider.ensure_group(request_.group, ["teacher"])
    with pytest.raises(IdentityError) as refused:
        provider.ensure_group(request_.group, ["student", subject])
    assert repr(subject) in str(refused.value)
    assert provider.group_members(request_.group) == {"teacher"}


@machine_only
def test_the_id_of_an_account_is_no_subject(provider: Canaille, request_: ClientRequest) -> None:
    """Canaille takes both in its addresses; a group would then hold somebody under another name."""
    found = provider._user("student")
    assert found is not None
    with pytest.raises(IdentityError, match=found["id"]):
        provider.ensure_group(request_.group, [found["id"]])


@machine_only
def test_a_group_whose_creation_was_never_answered_is_adopted(
    machine: Machine, provider: Canaille, request_: ClientRequest
) -> None:
    with CutOff(str(machine.target.identity.internal_url), "POST /scim/v2/Groups") as way:
        target = machine.target.identity.model_copy(update={"internal_url": way.url})
        with Canaille(target, credential(machine.layout, "identity.json")) as dying, pytest.raises(IdentityError):
            dying.ensure_group(request_.group, ["student"])
    assert provider.group_members(request_.group) == {"student"}
    provider.ensure_group(request_.group, ["teacher"])
    assert provider.group_members(request_.group) == {"teacher"}


@machine_only
def test_an_expired_token_is_replaced(provider: Canaille) -> None:
    provider.group_names("jhaas-")
    provider._token = "expired"
    assert isinstance(provider.group_names("jhaas-"), frozenset)


# --- errors


def test_a_provider_that_is_down_is_one_clear_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        target = IdentityTarget(kind="canaille", url="http://id.localhost:8000", internal_url=base)
        with Canaille(target, {"client_id": "administrator", "client_secret": "x"}) as provider:
            with pytest.raises(IdentityError) as refused:
                provider.group_names("jhaas-")
            assert provider.trouble() is not None
    message = str(refused.value)
    assert message.startswith("The identity provider http://id.localhost:8000 does not answer")
    assert "start it" in message


def test_a_missing_key_is_named() -> None:
    target = IdentityTarget(kind="canaille", url="http://id.localhost:8000")
    with Canaille(target, {}) as provider:
        with pytest.raises(IdentityError, match=r"identity\.json has no 'management_key'"):
            provider.find_client("one")
        with pytest.raises(IdentityError, match=r"identity\.json has no 'client_id'"):
            provider.group_names("one")


class CutOff:
    """A way to the provider that delivers one kind of request and cuts the line before its answer comes back."""

    def __init__(self, base: str, cut: str) -> None:
        parts = urlsplit(base)
        self._upstream = (parts.hostname or "", parts.port or 0)
        self._cut = cut.encode()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=30)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, socket.create_connection(self._upstream) as upstream:
                while request := self._one_message(client):
                    upstream.sendall(request)
                    answer = self._one_message(upstream)
                    if request.startswith(self._cut):
                        break
                    client.sendall(answer)

    def _one_message(self, line: socket.socket) -> bytes:
        """Head and body of one message; bodies here always have a length."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := line.recv(65536)):
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [row.split(b":")[1] for row in head.split(b"\r\n") if row.lower().startswith(b"content-length:")]
        while len(body) < (int(lengths[0]) if lengths else 0):
            body += line.recv(65536)
        return head + b"\r\n\r\n" + body
