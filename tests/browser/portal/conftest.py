"""The portal with a small university in it, served on this machine for a browser to visit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from werkzeug.serving import make_server

from portal import migrations
from portal.actor import Actor
from portal.app import create_app
from portal.config import PortalSettings
from portal.db import connect, sessions, transaction
from portal.identity import sessions as web_sessions
from portal.identity.oidc import Tokens
from portal.models import User
from portal.participants import codes
from portal.web.cookies import session_name
from tests.conftest import free_port
from tests.portal.clock import MovableClock
from tests.portal.look.sample import Sample, fill
from tests.portal.makers import ISSUER
from tests.portal.provider import FakeProvider
from tests.support.database import database_server


@dataclass(frozen=True)
class Site:
    """The running portal. Tests that change something make what they change."""

    app: Flask
    url: str
    sample: Sample
    code: str
    """Join code of the course statistics."""

    def token(self, user: User) -> str:
        """A session of this person."""
        parts = self.app.extensions["jhaas"]
        with transaction(parts.sessions) as session:
            person = session.get_one(User, user.id)
            tokens = Tokens("access", "refresh", "id-token", {"sub": person.subject})
            return web_sessions.begin(
                session, parts.clock, parts.settings, parts.sealer, Actor(None), person, tokens, browser="Test"
            )


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """The portal in demo mode, at `portal.localhost`, which browsers take for secure."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with database_server() as server:
        server.postgres.ensure_database("portal_pages")
        engine = connect(server.url("portal_pages"))
        migrations.upgrade(engine)
        port = free_port()
        settings = PortalSettings(
            database_url=server.url("portal_pages"),
            secret_key="not a secret, but long enough for a test",
            public_url=f"http://portal.localhost:{port}",
            site_name="Example University courses",
            contact="courses@example.org",
            oidc_issuer=ISSUER,
            oidc_client_id="jhaas-portal",
            oidc_client_secret="not a secret either",
            demo=True,
        )
        clock, make = MovableClock(), sessions(engine)
        app = create_app(settings, clock=clock, engine=engine)
        app.extensions["jhaas"] = replace(app.extensions["jhaas"], provider=FakeProvider(make))
        with transaction(make) as session:
            sample = fill(session, clock)
        with transaction(make) as session:
            teacher = Actor(session.get_one(User, sample.teacher.id))
            sealer = app.extensions["jhaas"].sealer
            code = codes.renew(session, clock, teacher, sample.courses["statistics"].id, sealer)
        httpd = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield Site(app, settings.public_url, sample, code)
        if live := app.extensions.get("jhaas-live"):
            live.stop()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
        engine.dispose()


Visit = Callable[..., Page]


def is_complaint(message: ConsoleMessage, allowed: str) -> bool:
    """An error, but for forms that come back with what has to be put right (Chromium calls those failures)."""
    is_allowed = "status of 422" in message.text or (allowed and allowed in message.text)
    return message.type == "error" and not is_allowed


@pytest.fixture
def visit(site: Site, chromium: Browser) -> Iterator[Visit]:
    """Opens an address of the portal as somebody: `visit(path, user, width=320, theme="dark", …)`.

    Whatever the browser complains about (a blocked style, a script's error, a file that is missing) fails the test,
    unless it holds the text `allowed`.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(
        path: str, user: User | None = None, *, width: int = 1280, theme: str = "light", locale: str = "en-GB",
        allowed: str = "",
        **options: Any,
    ) -> Page:  # fmt: skip
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, locale=locale, **options
        )
        contexts.append(context)
        if user is not None:
            cookie = {"name": session_name(), "value": site.token(user), "url": "https://portal.localhost"}
            context.add_cookies([{**cookie, "secure": True, "httpOnly": True}])
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if is_complaint(message, allowed) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
