"""Signing in at a real identity provider: the one of a single machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
import requests
from sqlalchemy import Engine, select
from werkzeug.serving import make_server

from course_stack import identity
from course_stack.identity import ClientRequest
from course_stack.identity.canaille import Canaille
from course_stack.local.machine import credential
from portal.app import create_app
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions
from portal.models import User, WebSession
from tests.conftest import Machine, free_port
from tests.support.browser import Browser

pytestmark = pytest.mark.machine

CLIENT = "portal-of-a-test"


@dataclass
class Site:
    """A portal that really listens, and a person of its own who governs it."""

    url: str
    login: str
    password: str
    group: str
    provider: Canaille

    def sign_in(self, browser: Browser) -> requests.Response:
        return browser.sign_in(f"{self.url}/governance/mails/", self.login, self.password)


@pytest.fixture
def site(machine: Machine, settings: PortalSettings, engine: Engine) -> Iterator[Site]:
    port = free_port()
    url = f"http://portal.localhost:{port}"
    target = machine.target.identity
    login, password = f"gwen-{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    request = ClientRequest(CLIENT, "Portal", f"{url}/sign-in/callback", f"{url}/signed-out", f"{url}/", "")
    with Canaille(target, credential(machine.layout, "identity.json")) as provider:
        group = f"governance-{login}"
        provider.ensure_person(login, "Gwen", "Example", f"{login}@example.org", password)
        provider.ensure_group(group, [login])
        with closing(identity.connect(machine.target, machine.layout.credentials)) as clients:
            client = clients.ensure_client(request)
        own = settings.model_copy(
            update={
                "public_url": url,
                "oidc_issuer": target.url,
                "oidc_internal_url": target.internal_url,
                "oidc_client_id": client.client_id,
                "oidc_client_secret": type(settings.oidc_client_secret)(client.secret),
                "governance_group": group,
                "role_check_minutes": 0.0001,  # at every request
            }
        )
        app = create_app(own, clock=SiteClock(ZoneInfo("Europe/Berlin")), engine=engine)
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Site(url, login, password, group, provider)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            provider.delete_client(CLIENT)
            provider.delete_group(group)


def test_somebody_signs_in_works_and_signs_out_everywhere(site: Site, session_factory: Sessions) -> None:
    browser = Browser()
    page = site.sign_in(browser)
    assert page.status_code == 200, page.url
    assert page.url == f"{site.url}/governance/mails/"
    with session_factory() as session:
        user = session.scalars(select(User)).one()
        assert (user.subject, user.name, user.is_governance) == (site.login, "Gwen Example", True)
        first = session.scalars(select(WebSession.refresh_token)).one()
    for _ in range(3):  # the roles are asked for with each: a refresh token that works once is replaced each time
        assert browser.get(f"{site.url}/governance/mails/").status_code == 200
    with session_factory() as session:
        assert session.scalars(select(WebSession.refresh_token)).one() != first
    form = next(form for form in browser.forms(page) if form.action == "/sign-out")
    ended = browser.submit(page, form)
    assert ended.url == f"{site.url}/signed-out"
    again = browser.get(f"{site.url}/profile/")
    assert again.url.startswith("http://id.localhost:"), "the provider asks for the password again"


def test_who_loses_a_role_at_the_provider_loses_it_here(site: Site) -> None:
    browser = Browser()
    assert site.sign_in(browser).status_code == 200
    site.provider.ensure_group(site.group, ["teacher"])
    assert browser.get(f"{site.url}/governance/mails/").status_code == 403
    assert browser.get(f"{site.url}/profile/").status_code == 200
    site.provider.ensure_group(site.group, ["teacher", site.login])
    assert browser.get(f"{site.url}/governance/mails/").status_code == 200


def test_an_account_that_is_gone_is_signed_out(site: Site, session_factory: Sessions) -> None:
    browser = Browser()
    assert site.sign_in(browser).status_code == 200
    site.provider._scim("DELETE", f"/Users/{site.login}")
    page = browser.get(f"{site.url}/profile/", allow_redirects=False)
    assert page.headers["Location"].startswith("/sign-in?")
    with session_factory() as session:
        assert session.scalars(select(WebSession)).all() == []
