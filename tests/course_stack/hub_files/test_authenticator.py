"""Who stays signed in: the authenticator against a provider whose answers we choose."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from course_stack.hub_files.authenticator import CourseAuthenticator
from course_stack.hub_rules import CHECK_USER, REFRESH_SECONDS
from tests.support.tls import Authority, by_tls


class Provider(ThreadingHTTPServer):
    """Answers for `/userinfo` and `/token`: (status, content), changed by the test at any time."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not believe our certificate hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.hosts: list[str] = []
        self.exchanged: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        self._answer("userinfo")

    def do_POST(self) -> None:
        self.server.exchanged.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._answer("token")

    def _answer(self, which: str) -> None:
        status, content = self.server.answers[which]
        if callable(content):
            status, content = content(self.headers)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
        """Quiet."""


class Person:
    """What the authenticator uses of JupyterHub's user."""

    def __init__(self, name: str = "anna", state: dict[str, Any] | None = None) -> None:
        self.name = name
        self.state = state

    async def get_auth_state(self) -> dict[str, Any] | None:
        return self.state

    async def save_auth_state(self, state: dict[str, Any]) -> None:
        self.state = state


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _authenticator(url: str, **more: Any) -> CourseAuthenticator:
    settings = Config(
        CourseAuthenticator={
            **more,
            "client_id": "course",
            "client_secret": "client-secret",
            "basic_auth": True,
            "token_url": f"{url}/token",
            "userdata_url": f"{url}/userinfo",
            "provider_host": "id.localhost:8000",
            "username_claim": "sub",
            "manage_groups": True,
            "auth_state_groups_key": "oauth_user.groups",
            "allowed_groups": {"jhaas-biology"},
            "enable_auth_state": True,
            "recheck_seconds": 0,
            "check_user": CHECK_USER,
        }
    )
    return CourseAuthenticator(config=settings)


def _signed_in(refresh_token: str | None = "refresh-1") -> Person:
    token = {"access_token": "access-1", "token_type": "Bearer", "refresh_token": refresh_token}
    return Person(state={**token, "token_response": token})


def _refresh(url: str, person: Person, **more: Any) -> Any:
    async def ask() -> Any:
        authenticator = _authenticator(url, **more)
        try:
            return await authenticator.refresh_user(person)
        finally:
            authenticator.http_client.close()

    return asyncio.run(ask())


def test_a_member_stays_and_has_the_groups_of_now(provider: Provider) -> None:
    provider.answers["userinfo"] = (200, {"sub": "anna", "groups": ["jhaas-biology", "jhaas-biology-leads"]})
    found = _refresh(provider.url, _signed_in())
    assert found["groups"] == ["jhaas-biology", "jhaas-biology-leads"]
    assert provider.hosts == ["id.localhost:8000"]


@pytest.mark.parametrize("groups", [{"groups": ["jhaas-chemistry"]}, {"groups": []}, {}])
def test_who_is_in_no_group_of_the_course_any_more_is_not_refreshed(provider: Provider, groups: Any) -> None:
    provider.answers["userinfo"] = (200, {"sub": "anna", **groups})
    assert _refresh(provider.url, _signed_in()) is False


@pytest.mark.parametrize(
    "answers",
    [
        {"userinfo": (500, {})},
        {"userinfo": (503, {})},
        {"userinfo": (401, {}), "token": (500, {})},
    ],
)
def test_a_provider_in_trouble_throws_nobody_out(provider: Provider, answers: dict[str, tuple[int, Any]]) -> None:
    provider.answers |= answers
    assert _refresh(provider.url, _signed_in()) is True


def test_a_provider_whose_certificate_the_site_signed_is_asked(provider: Provider, tmp_path: Path) -> None:
    provider.answers["userinfo"] = (200, {"sub": "anna", "groups": ["jhaas-biology"]})
    own = Authority()
    by_tls(provider, own, tmp_path)
    url = provider.url.replace("http:", "https:")
    # nobody is thrown out, but nobody is known either
    assert _refresh(url, _signed_in()) is True
    (tmp_path / "authorities.crt").write_text(own.pem)
    found = _refresh(url, _signed_in(), authorities=str(tmp_path / "authorities.crt"))
    assert found["groups"] == ["jhaas-biology"]


def test_a_provider_that_is_down_throws_nobody_out() -> None:
    assert _refresh("http://127.0.0.1:1", _signed_in()) is True


def test_a_provider_that_says_no_is_heard(provider: Provider) -> None:
    provider.answers |= {"userinfo": (401, {}), "token": (400, {"error": "invalid_grant"})}
    assert _refresh(provider.url, _signed_in()) is False
    assert _refresh(provider.url, _signed_in(refresh_token=None)) is False
    assert _refresh(provider.url, Person()) is False


def test_an_expired_token_is_exchanged_once_also_when_two_ask_at_the_same_time(provider: Provider) -> None:
    """The provider takes each refresh token once: the second to ask must use the new one."""

    def userinfo(headers: Any) -> tuple[int, Any]:
        good = headers["Authorization"] == "Bearer access-2"
        return (200, {"sub": "anna", "groups": ["jhaas-biology"]}) if good else (401, {})

    fresh = {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "refresh-2"}
    provider.answers |= {"userinfo": (200, userinfo), "token": (200, fresh)}
    person = _signed_in()

    async def both() -> list[Any]:
        authenticator = _authenticator(provider.url)
        try:
            return await asyncio.gather(authenticator.refresh_user(person), authenticator.refresh_user(person))
        finally:
            authenticator.http_client.close()

    assert all(isinstance(one, dict) for one in asyncio.run(both()))
    assert provider.exchanged == ["grant_type=refresh_token&refresh_token=refresh-1"]
    assert person.state
    assert person.state["refresh_token"] == "refresh-2"


def test_what_a_provider_in_trouble_quotes_is_not_logged(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    provider.answers["userinfo"] = (500, {"error_description": "duplicate key: access-1"})
    with caplog.at_level("DEBUG"):
        _refresh(provider.url, _signed_in())
    assert "HTTP 500" in caplog.text
    assert "access-1" not in caplog.text


def test_the_checks_user_is_asked_about_by_nobody_and_nobody_signs_in_as_it(provider: Provider) -> None:
    assert _refresh(provider.url, Person(CHECK_USER)) is True
    authenticator = _authenticator(provider.url)
    assert not authenticator.check_blocked_users(CHECK_USER)
    assert authenticator.check_blocked_users("anna")


def test_names_that_differ_in_capitals_are_different_people(provider: Provider) -> None:
    authenticator = _authenticator(provider.url)
    assert authenticator.normalize_username("Anna") != authenticator.normalize_username("anna")
    assert REFRESH_SECONDS <= 300


def test_signing_out_goes_on_to_the_provider_and_back_to_the_hub() -> None:
    addresses = {"end_session_url": "https://id.example.org/end", "home_url": "https://biology.example.org/"}
    settings = Config(CourseAuthenticator={"client_id": "course", "recheck_seconds": 0, **addresses})
    assert CourseAuthenticator(config=settings).logout_redirect_url == (
        "https://id.example.org/end?client_id=course&post_logout_redirect_uri=https%3A%2F%2Fbiology.example.org%2F"
    )
    assert CourseAuthenticator(recheck_seconds=0).logout_redirect_url == ""
