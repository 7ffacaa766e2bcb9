"""Whatever changes something is asked for by our own pages: OWASP ASVS 5.0, 3.5.1 and 3.5.3."""

from __future__ import annotations

import pytest
from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from portal.web.access import SAFE
from tests.portal.client import PortalClient
from tests.portal.web.world import World

WITHOUT_TOKEN = {"profile.choose_language", "auth.provider_sign_out"}
"""A language may be chosen by strangers, who have no session to bind a token to; the provider signs what it sends."""


def test_asvs_3_5_1_every_change_refuses_a_missing_token(app: Flask, world: World) -> None:
    """E8."""
    client = world.client(app, "governance")
    tried = 0
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - SAFE:
            if rule.endpoint in WITHOUT_TOKEN:
                continue
            response = client.open(world.path(app, rule), method=method)
            assert response.status_code == 400, (method, rule.rule)
            assert "reload the page" in response.text
            tried += 1
    assert tried > 3


def test_the_exceptions_are_these_alone(app: Flask) -> None:
    exempt = app.extensions["csrf"]._exempt_views
    marked = {
        endpoint for endpoint, view in app.view_functions.items() if f"{view.__module__}.{view.__name__}" in exempt
    }
    assert marked == WITHOUT_TOKEN
    assert not app.extensions["csrf"]._exempt_blueprints


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
     {"Origin": "https://evil.example.org"}, {"Origin": "null"}, {"Origin": "http://portal.example.org"},
     {"Origin": "https://hub.portal.example.org"}],
    ids=str,
)  # fmt: skip
def test_asvs_3_5_1_a_change_from_another_site_is_refused_even_with_a_token(
    client: PortalClient, world: World, headers: dict[str, str]
) -> None:
    """Hubs run participants' code: a notebook's page posts nothing to the portal."""
    client.sign_in(world.people["lead"])
    assert client.post("/profile/sessions/end-others", headers=headers).status_code == 400
    assert client.post("/profile/language", data={"language": "de"}, headers=headers).status_code == 400
    same = {"Sec-Fetch-Site": "same-origin", "Origin": "https://portal.example.org"}
    assert client.post("/profile/sessions/end-others", headers=same).status_code == 302


def test_a_token_is_worth_nothing_in_another_session(app: Flask, world: World) -> None:
    lead, stranger = world.client(app, "lead"), world.client(app, "stranger")
    token = stranger.csrf_token()
    assert lead.bare_post("/profile/sessions/end-others", data={"csrf_token": token}).status_code == 400
    before = lead.csrf_token()
    lead.post("/sign-out")
    lead.sign_in(world.people["lead"])
    assert lead.bare_post("/profile/sessions/end-others", data={"csrf_token": before}).status_code == 400
    fresh = {"csrf_token": lead.csrf_token()}
    assert lead.bare_post("/profile/sessions/end-others", data=fresh).status_code == 302


@pytest.mark.parametrize("made_up", ["", "x", "None"])
def test_a_token_cannot_be_made_up(app: Flask, world: World, made_up: str) -> None:
    lead = world.client(app, "lead")
    assert lead.bare_post("/profile/sessions/end-others", data={"csrf_token": made_up}).status_code == 400
    signed = URLSafeTimedSerializer("another key", salt="wtf-csrf-token").dumps(made_up)
    assert lead.bare_post("/profile/sessions/end-others", data={"csrf_token": signed}).status_code == 400


def test_the_page_holds_the_token_that_its_forms_need(app: Flask, world: World) -> None:
    lead = world.client(app, "lead")
    page = lead.get("/profile/").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert lead.bare_post("/profile/sessions/end-others", data={"csrf_token": token}).status_code == 302


def test_asvs_3_5_3_no_look_changes_anything(app: Flask, world: World) -> None:
    """Every GET of everybody leaves each row as it was, except those of sessions and people themselves."""
    from sqlalchemy import text

    parts = app.extensions["jhaas"]

    def rows() -> dict[str, list[str]]:
        with parts.engine.connect() as connection:
            names = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
            return {
                name: sorted(str(row) for row in connection.execute(text(f"SELECT * FROM {name}")))
                for name in set(names) - {"web_sessions", "users", "rate_limits", "audit_log"}
            }

    before = rows()
    for role in ("lead", "participant", "governance"):
        client = world.client(app, role)
        for rule in app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and rule.endpoint not in ("static", "auth.sign_in", "operations.events"):
                with client.get(world.path(app, rule)) as response:
                    assert response.status_code < 500, rule.rule
    assert rows() == before
