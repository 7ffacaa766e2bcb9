"""Signing in and out: what a browser must have begun, what it keeps, and what ends."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.identity.oidc import Logout
from portal.identity.sessions import digest
from portal.models import AuditEntry, Mail, User, WebSession
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import ISSUER, make_user
from tests.portal.provider import FakeProvider


def begin(client: PortalClient, path: str = "/sign-in") -> str:
    """Go to the provider; the state that it is sent with."""
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith(f"{ISSUER}/authorize?")
    return parse_qs(urlsplit(response.headers["Location"]).query)["state"][0]


def come_back(client: PortalClient, state: str, code: str = "anna", **more: str) -> Any:
    return client.get("/sign-in/callback", query_string={"state": state, "code": code, **more})


def is_in(client: PortalClient) -> bool:
    return client.get("/profile/").status_code == 200


def test_a_page_leads_over_the_provider_back_to_itself(client: PortalClient, session_factory: Sessions) -> None:
    first = client.get("/profile/?a=1")
    assert first.headers["Location"] == "/sign-in?next=/profile/?a%3D1"
    state = begin(client, first.headers["Location"])
    back = come_back(client, state)
    assert back.headers["Location"] == "/profile/?a=1"
    assert is_in(client)
    with session_factory() as session:
        user = session.scalars(select(User)).one()
        assert (user.issuer, user.subject) == (ISSUER, "anna")
        assert session.scalars(select(Mail.event)).all() == ["welcome"]
        assert session.scalars(select(AuditEntry.action)).all() == ["session.begin"]


def test_a_second_sign_in_is_the_same_person_and_no_second_welcome(
    client: PortalClient, app: Flask, session_factory: Sessions, provider: FakeProvider
) -> None:
    come_back(client, begin(client))
    provider.says["anna"] = {"preferred_username": "anna.b", "name": "Anna Berg", "groups": ["jhaas-governance"]}
    other = app.test_client()
    assert isinstance(other, PortalClient)
    come_back(other, begin(other))
    with session_factory() as session:
        user = session.scalars(select(User)).one()
        assert (user.login, user.name, user.is_governance, user.may_request) == ("anna.b", "Anna Berg", True, False)
        assert session.scalar(select(func.count()).select_from(Mail)) == 1


def test_no_cookie_before_somebody_signs_in(client: PortalClient) -> None:
    """E7: looking at a public page makes no session."""
    for path in ("/signed-out", "/nothing", "/health/live", "/static/css/site.css"):
        with client.get(path) as response:
            assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("state", ["", "another state", "None"])
def test_an_answer_that_this_browser_did_not_begin_is_refused(client: PortalClient, state: str) -> None:
    begin(client)
    assert come_back(client, state).status_code == 400
    assert not is_in(client)


def test_an_answer_that_another_browser_began_is_refused(client: PortalClient, app: Flask) -> None:
    """Login CSRF: nobody is signed in as somebody else by a link."""
    other = app.test_client()
    assert isinstance(other, PortalClient)
    assert come_back(other, begin(client)).status_code == 400


def test_an_answer_counts_once(client: PortalClient) -> None:
    state = begin(client)
    assert come_back(client, state).status_code == 302
    client.post("/sign-out")
    assert come_back(client, state).status_code == 400


def test_an_answer_after_a_quarter_of_an_hour_is_refused(client: PortalClient, clock: MovableClock) -> None:
    state = begin(client)
    clock.move(minutes=16)
    assert come_back(client, state).status_code == 400


def test_an_answer_in_the_name_of_another_issuer_is_refused(client: PortalClient) -> None:
    """RFC 9207: mix-up of providers."""
    assert come_back(client, begin(client), iss="https://other.example.org").status_code == 403
    assert come_back(client, begin(client), iss=ISSUER).status_code == 302


def test_a_refusal_of_the_provider_is_a_page_that_says_so(client: PortalClient) -> None:
    response = client.get("/sign-in/callback", query_string={"state": begin(client), "error": "access_denied"})
    assert response.status_code == 403
    assert "did not let you in" in response.text


def test_several_tabs_may_sign_in_at_once(client: PortalClient) -> None:
    first, second = begin(client), begin(client)
    assert come_back(client, first).status_code == 302
    assert come_back(client, second).status_code == 302


def test_a_provider_that_is_down_is_a_clear_page_and_later_all_is_well(
    client: PortalClient, provider: FakeProvider
) -> None:
    """E14."""
    provider.is_down = True
    response = client.get("/sign-in")
    assert response.status_code == 503
    assert "identity provider" in response.text
    provider.is_down = False
    assert come_back(client, begin(client)).status_code == 302


@pytest.mark.parametrize(
    "hostile",
    ["//evil.example.org", "https://evil.example.org", "/\\evil.example.org", "\\\\evil", "javascript:alert(1)",
     "/\t/evil.example.org", "///evil.example.org", "evil", "", "/a\r\nSet-Cookie: x=1", "http:/evil", "/%0d%0a" * 900],
    ids=repr,
)  # fmt: skip
def test_next_leads_nowhere_but_here(client: PortalClient, hostile: str) -> None:
    """ASVS 3.7.2: an address that could lead elsewhere becomes the start page."""
    state = begin(client, "/sign-in")
    client.get("/sign-in", query_string={"next": hostile})
    response = client.get("/sign-in", query_string={"next": hostile})
    state = parse_qs(urlsplit(response.headers["Location"]).query)["state"][0]
    assert come_back(client, state).headers["Location"] == "/"
    assert client.get("/sign-in", query_string={"next": hostile}).headers["Location"] == "/"


def test_a_session_that_a_browser_brought_along_is_not_taken_over(
    client: PortalClient, session_factory: Sessions
) -> None:
    """Session fixation: each sign-in has a token of its own, and the old one is worth nothing."""
    client.set_session("chosen-by-somebody-else")
    come_back(client, begin(client))
    first = client.session_token
    assert first not in (None, "chosen-by-somebody-else")
    client.set_session("chosen-by-somebody-else")
    assert not is_in(client)
    client.set_session(str(first))
    assert is_in(client)


def test_signing_in_again_ends_the_session_before(
    client: PortalClient, session_factory: Sessions, clock: MovableClock, settings: PortalSettings
) -> None:
    come_back(client, begin(client))
    first = str(client.session_token)
    with transaction(session_factory) as session:
        session.scalars(select(WebSession)).one().seen_at = clock.now()
    state = None
    clock.move(hours=settings.session_idle_hours, minutes=1)
    state = begin(client)
    come_back(client, state)
    with session_factory() as session:
        assert session.scalar(select(WebSession).where(WebSession.token_hash == digest(first))) is None
        assert session.scalar(select(func.count()).select_from(WebSession)) == 1


def test_the_database_holds_no_token_in_clear(client: PortalClient, session_factory: Sessions) -> None:
    come_back(client, begin(client))
    with session_factory() as session:
        row = session.scalars(select(WebSession)).one()
    token = str(client.session_token)
    assert row.token_hash == digest(token)
    assert len(token) >= 43, "256 bits"
    for stored in (row.refresh_token, row.id_token):
        assert stored is not None
        assert b"anna" not in stored


def test_signing_out_really_ends_it(client: PortalClient) -> None:
    """A cookie that somebody copied before is worth nothing afterwards."""
    come_back(client, begin(client))
    stolen = str(client.session_token)
    response = client.post("/sign-out")
    assert response.headers["Location"].startswith(f"{ISSUER}/end?")
    assert client.session_token is None
    client.set_session(stolen)
    assert not is_in(client)


@pytest.mark.parametrize(
    "named", [Logout("their session", None), Logout("their session", "anna"), Logout(None, "anna")], ids=str
)
def test_what_the_provider_ends_ends_here(
    client: PortalClient, app: Flask, provider: FakeProvider, session_factory: Sessions,
    monkeypatch: pytest.MonkeyPatch, named: Logout,
) -> None:  # fmt: skip
    """Back-channel logout."""
    come_back(client, begin(client))
    with transaction(session_factory) as session:
        session.scalars(select(WebSession)).one().provider_session = "their session"
    assert client.bare_post("/sign-out/provider", data={"logout_token": "made up"}).status_code == 400
    assert is_in(client)
    monkeypatch.setattr(provider, "logout", lambda _token: Logout("another session", None))
    assert client.bare_post("/sign-out/provider", data={"logout_token": "x"}).status_code == 200
    assert is_in(client)
    monkeypatch.setattr(provider, "logout", lambda _token: named)
    answer = client.bare_post(
        "/sign-out/provider", data={"logout_token": "x"}, headers={"Origin": "null", "Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 200
    assert not is_in(client)


def test_signing_out_works_while_the_provider_is_down(client: PortalClient, provider: FakeProvider) -> None:
    come_back(client, begin(client))
    provider.is_down = True
    assert client.post("/sign-out").headers["Location"] == "/signed-out"
    assert not is_in(client)


def test_a_session_ends_without_use_and_after_its_time(
    client: PortalClient, clock: MovableClock, settings: PortalSettings
) -> None:
    come_back(client, begin(client))
    clock.move(hours=settings.session_idle_hours, minutes=-1)
    assert is_in(client)
    clock.move(hours=settings.session_idle_hours, minutes=1)
    assert not is_in(client)
    come_back(client, begin(client))
    for _ in range(int(settings.session_hours * 2) - 1):
        clock.move(minutes=30)
        assert is_in(client), "use keeps it"
    clock.move(minutes=30)
    assert not is_in(client), "but not for ever (D7)"


def test_one_sees_and_ends_ones_own_sessions_only(
    client: PortalClient, app: Flask, session_factory: Sessions, clock: MovableClock
) -> None:
    with transaction(session_factory) as session:
        anna, ben = make_user(session, clock, "anna"), make_user(session, clock, "ben")
    other, third = app.test_client(), app.test_client()
    assert isinstance(other, PortalClient)
    assert isinstance(third, PortalClient)
    client.sign_in(anna)
    other.sign_in(anna)
    third.sign_in(ben)
    with session_factory() as session:
        sessions = {row.token_hash: row.id for row in session.scalars(select(WebSession))}
    of_ben, of_other = sessions[digest(str(third.session_token))], sessions[digest(str(other.session_token))]
    page = client.get("/profile/").text
    assert str(of_other) in page
    assert str(of_ben) not in page
    assert client.post(f"/profile/sessions/{of_ben}/end").status_code == 404
    assert is_in(third)
    assert client.post(f"/profile/sessions/{of_other}/end").status_code == 302
    assert not is_in(other)
    other.sign_in(anna)
    assert client.post("/profile/sessions/end-others").status_code == 302
    assert not is_in(other)
    assert is_in(client)
    assert is_in(third)


def test_names_cannot_break_lines(client: PortalClient, provider: FakeProvider, session_factory: Sessions) -> None:
    provider.says["anna"] = {"name": "Anna\r\nBcc: all@example.org\0", "email": "a@example.org\nX: y"}
    come_back(client, begin(client))
    with session_factory() as session:
        user = session.scalars(select(User)).one()
    assert user.name == "Anna Bcc: all@example.org"
    assert "\n" not in user.email
