"""The portal and a real Authentik to which the platform's blueprint was applied (docs/developing.md): people come in,
have their roles, and leave, by the portal's own client there. The portal needs no address that a browser reaches.
"""

from __future__ import annotations

import queue
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import Engine, select

from portal.app import create_app
from portal.config import PortalSettings
from portal.db import Sessions
from portal.identity.oidc import Provider, ProviderRefused
from portal.models import User
from tests.course_stack.identity.authentik_pages import Browser, DeniedError, Person
from tests.course_stack.identity.real_authentik import URL, Admin, administrator, there_is_one
from tests.portal.client import PortalClient

pytestmark = there_is_one

CALLBACK = "/sign-in/callback"


@pytest.fixture(scope="module")
def admin() -> Iterator[Admin]:
    with administrator() as found:
        yield found


@pytest.fixture(scope="module")
def ours(admin: Admin) -> dict[str, Any]:
    """The portal's client, as Authentik was told."""
    (found,) = admin.find("/providers/oauth2/", client_id="jhaas-portal")
    return found


@pytest.fixture
def settings(database_url: str, ours: dict[str, Any]) -> PortalSettings:
    return PortalSettings(
        database_url=database_url,
        secret_key="not a secret, but long enough for a test",
        public_url=ours["redirect_uris"][0]["url"].removesuffix(CALLBACK),
        oidc_issuer=f"{URL}/application/o/jhaas-portal/",
        oidc_client_id=ours["client_id"],
        oidc_client_secret=ours["client_secret"],
    )


@pytest.fixture
def client(settings: PortalSettings, engine: Engine) -> PortalClient:
    app = create_app(settings, engine=engine)
    app.test_client_class = PortalClient
    found = app.test_client()
    assert isinstance(found, PortalClient)
    return found


def come_in(client: PortalClient, browser: Browser) -> None:
    """From the portal's page to Authentik's and back."""
    away = client.get("/sign-in?next=/profile/").headers["Location"]
    assert away.startswith(f"{URL}/application/o/authorize/?")
    back = urlsplit(browser.open(away))
    assert f"{back.scheme}://{back.netloc}" == client.portal.settings.public_url
    answer = client.get(f"{back.path}?{back.query}")
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/profile/"), answer.text


def test_somebody_comes_in_has_roles_by_groups_and_leaves(
    client: PortalClient, admin: Admin, session_factory: Sessions
) -> None:
    person, subject = admin.person()
    (account,) = admin.find("/core/users/", uuid=subject)
    (group,) = admin.find("/core/groups/", name="jhaas-governance")
    with Browser(URL, person) as browser:
        come_in(client, browser)
        with session_factory() as session:
            user = session.scalars(select(User)).one()
            assert (user.subject, user.login, user.name) == (subject, person.username, "Trial")
            assert (user.is_governance, user.may_request) == (False, False)
        # by the portal's button: here, then at Authentik, whose page leads back
        end = client.post("/sign-out").headers["Location"]
        assert end.startswith(f"{URL}/application/o/jhaas-portal/end-session/?")
        assert browser.open(end) == f"{client.portal.settings.public_url}/signed-out"
        assert browser.get("/api/v3/core/users/me/").status_code == 403
        assert client.get("/profile/").status_code == 302
    admin.do("POST", f"/core/groups/{group['pk']}/add_user/", 204, pk=account["pk"])
    with Browser(URL, person) as browser:
        come_in(client, browser)
        with session_factory() as session:
            user = session.scalars(select(User)).one()
            assert (user.subject, user.is_governance) == (subject, True)


@contextmanager
def told_by_authentik(admin: Admin, ours: dict[str, Any]) -> Iterator[queue.Queue[str]]:
    """What Authentik sends to the portal's address for sign-outs, which is here for now."""
    came: queue.Queue[str] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    at = urlsplit(URL)
    with socket.create_connection((at.hostname or "", at.port or 443), timeout=60) as connection:
        here = connection.getsockname()[0]
    path = f"/providers/oauth2/{ours['pk']}/"
    with HTTPServer((here, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        admin.do("PATCH", path, 200, logout_uri=f"http://{here}:{server.server_port}/")
        try:
            yield came
        finally:
            admin.do("PATCH", path, 200, logout_uri=ours["logout_uri"])
            server.shutdown()
            thread.join()


def test_who_signs_out_at_authentik_is_signed_out_of_the_portal(
    client: PortalClient, admin: Admin, ours: dict[str, Any]
) -> None:
    person, _ = admin.person()
    with told_by_authentik(admin, ours) as told, Browser(URL, person) as browser:
        come_in(client, browser)
        assert client.get("/profile/").status_code == 200
        browser.open("/if/flow/jhaas-sign-out/")
        answer = client.bare_post(
            "/sign-out/provider", data=told.get(timeout=120), content_type="application/x-www-form-urlencoded"
        )
        assert answer.status_code == 200, answer.text
        assert client.get("/profile/").status_code == 302


def test_a_code_needs_its_verifier_its_nonce_and_an_address_that_is_registered(
    settings: PortalSettings, admin: Admin
) -> None:
    person, subject = admin.person()
    provider, redirect_uri = Provider(settings), f"{settings.public_url}{CALLBACK}"
    verifier = secrets.token_urlsafe(32)

    def code(browser: Browser) -> str:
        url = provider.authorization_url(redirect_uri=redirect_uri, state="s", nonce="mine", verifier=verifier)
        return parse_qs(urlsplit(browser.open(url)).query)["code"][0]

    with Browser(URL, person) as browser:
        for nonce, other in (("mine", secrets.token_urlsafe(32)), ("another", verifier)):
            with pytest.raises(ProviderRefused):
                provider.exchange(code(browser), redirect_uri=redirect_uri, nonce=nonce, verifier=other)
        tokens = provider.exchange(code(browser), redirect_uri=redirect_uri, nonce="mine", verifier=verifier)
        assert tokens.claims["sub"] == subject
        said = provider.person(tokens, subject=subject)
        assert said.keys() >= {"sub", "name", "preferred_username", "email", "groups"}
        # nobody proved this address
        assert said["email_verified"] is False
        assert tokens.refresh is not None
        later = provider.refresh(tokens.refresh, subject=subject)
        assert later.refresh != tokens.refresh
        admin.change(person, is_active=False)
        assert later.refresh is not None
        with pytest.raises(ProviderRefused):
            provider.person(provider.refresh(later.refresh, subject=subject), subject=subject)
    elsewhere = provider.authorization_url(
        redirect_uri="https://elsewhere.example.org/sign-in/callback", state="s", nonce="n", verifier=verifier
    )
    somebody, _ = admin.person()
    assert not _reached(somebody, elsewhere).startswith("https://elsewhere.example.org")


def _reached(person: Person, address: str) -> str:
    with Browser(URL, person) as browser:
        try:
            return browser.open(address)
        except DeniedError:
            return "denied"


def test_the_client_has_no_other_way_to_a_token_and_sends_nobody_elsewhere(
    settings: PortalSettings, ours: dict[str, Any], admin: Admin
) -> None:
    with httpx.Client(base_url=URL, timeout=60, trust_env=False) as http:
        described = http.get("/application/o/jhaas-portal/.well-known/openid-configuration").json()
        assert described["issuer"] == settings.oidc_issuer
        assert "S256" in described["code_challenge_methods_supported"]
        assert described["id_token_signing_alg_values_supported"] == ["RS256"]
        assert {"openid", "profile", "email", "groups", "offline_access"} <= {*described["scopes_supported"]}
        wrong = {"grant_type": "authorization_code", "code": "c", "redirect_uri": f"{settings.public_url}{CALLBACK}"}
        answer = http.post("/application/o/token/", data=wrong, auth=(ours["client_id"], "not the secret"))
        assert answer.status_code in (400, 401)
    query = {"client_id": ours["client_id"], "post_logout_redirect_uri": "https://elsewhere.example.org/"}
    person, _ = admin.person()
    with Browser(URL, person) as browser:
        try:
            end = browser.open(f"/application/o/jhaas-portal/end-session/?{urlencode(query)}")
        except DeniedError:
            end = "denied"
    assert not end.startswith("https://elsewhere.example.org")
