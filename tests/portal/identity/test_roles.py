"""Roles are asked for again: who loses one loses it within minutes, and a provider that is away is no way in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from flask import Flask
from sqlalchemy import select

from portal.app import create_app
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.identity.oidc import Tokens
from portal.identity.roles import Roles, recheck
from portal.models import AuditEntry, User, WebSession
from portal.sealing import Sealer
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import make_user
from tests.portal.provider import FakeProvider

GOVERNED = "/governance/mails/"


@pytest.fixture
def governor(session_factory: Sessions, clock: MovableClock) -> User:
    with transaction(session_factory) as session:
        return make_user(session, clock, "gwen", governance=True)


def test_a_role_that_was_taken_away_is_gone_within_the_interval(
    client: PortalClient, governor: User, provider: FakeProvider, clock: MovableClock, settings: PortalSettings,
    session_factory: Sessions,
) -> None:  # fmt: skip
    """D7."""
    client.sign_in(governor)
    assert client.get(GOVERNED).status_code == 200
    provider.says["gwen"] = {"groups": []}
    clock.move(minutes=settings.role_check_minutes)
    assert client.get(GOVERNED).status_code == 403
    with session_factory() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "person.roles")).one()
    assert entry.before == {"may_request": False, "is_governance": True}
    assert entry.after == {"may_request": False, "is_governance": False}


def test_a_role_that_was_given_comes_without_signing_in_again(
    client: PortalClient, provider: FakeProvider, clock: MovableClock, session_factory: Sessions
) -> None:
    with transaction(session_factory) as session:
        anna = make_user(session, clock, "anna")
    client.sign_in(anna)
    assert client.get(GOVERNED).status_code == 403
    provider.says["anna"] = {"groups": ["jhaas-governance"]}
    clock.move(minutes=5)
    assert client.get(GOVERNED).status_code == 200


def test_a_person_whom_the_provider_refuses_is_signed_out(
    client: PortalClient, governor: User, provider: FakeProvider, clock: MovableClock, session_factory: Sessions
) -> None:
    client.sign_in(governor)
    provider.refuses.add("gwen")
    clock.move(minutes=5)
    assert client.get("/profile/").headers["Location"].startswith("/sign-in?")
    with session_factory() as session:
        assert session.scalars(select(WebSession)).all() == []


def test_without_a_refresh_token_the_sign_in_lasts_until_the_next_check(
    client: PortalClient, governor: User, clock: MovableClock
) -> None:
    client.sign_in(governor, refresh_token=None)
    assert client.get("/profile/").status_code == 200
    clock.move(minutes=5)
    assert client.get("/profile/").status_code == 302


def test_while_the_provider_is_away_reading_goes_on_and_changes_wait(
    client: PortalClient, governor: User, provider: FakeProvider, clock: MovableClock
) -> None:
    client.sign_in(governor)
    provider.is_down = True
    assert client.post("/demo/clock").status_code == 404, "roles are fresh: the page itself says no"
    clock.move(minutes=5)
    assert client.get(GOVERNED).status_code == 200
    refused = client.post("/demo/clock")
    assert refused.status_code == 503
    assert "identity provider does not answer" in refused.text
    assert client.post("/profile/language", data={"language": "de"}).status_code == 302, "that needs no role"
    provider.is_down = False
    assert client.post("/demo/clock").status_code == 404


def test_of_many_requests_at_once_one_asks(
    app: Flask, client: PortalClient, governor: User, provider: FakeProvider, clock: MovableClock,
    session_factory: Sessions, settings: PortalSettings,
) -> None:  # fmt: skip
    """A refresh token works once: whoever asks second with the same one would be thrown out."""
    client.sign_in(governor)
    clock.move(minutes=5)
    with session_factory() as session:
        row = session.scalars(select(WebSession)).one()
    together = Barrier(4)
    sealer = Sealer(settings.secret_key.get_secret_value())

    def ask() -> Roles:
        together.wait(10)
        return recheck(session_factory, clock, settings, sealer, provider, row.token_hash)

    with ThreadPoolExecutor(4) as pool:
        outcomes = [future.result(20) for future in [pool.submit(ask) for _ in range(4)]]
    assert outcomes == [Roles.FRESH] * 4
    assert provider.asked == 1


def test_a_new_refresh_token_is_kept_even_if_the_rest_fails(
    client: PortalClient, governor: User, provider: FakeProvider, clock: MovableClock, session_factory: Sessions,
    settings: PortalSettings, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    client.sign_in(governor, refresh_token="the first")
    clock.move(minutes=5)
    sealer = Sealer(settings.secret_key.get_secret_value())

    def refresh(refresh_token: str, *, subject: str) -> Tokens:
        assert refresh_token == "the first"
        provider.is_down = True  # it goes away between two calls
        return Tokens("access", "the second", None)

    monkeypatch.setattr(provider, "refresh", refresh)
    assert client.get("/profile/").status_code == 200
    with session_factory() as session:
        row = session.scalars(select(WebSession)).one()
    assert row.refresh_token is not None
    assert sealer.open(row.refresh_token) == "the second"


def test_the_secret_key_can_be_changed(
    client: PortalClient, governor: User, clock: MovableClock, settings: PortalSettings, session_factory: Sessions
) -> None:
    """E6: what the former key sealed is opened, and sealed with the new one when it is next written."""
    client.sign_in(governor)
    old = settings.secret_key.get_secret_value()
    new = "another key, which is long enough as well"
    with session_factory() as session:
        sealed = session.scalars(select(WebSession.refresh_token)).one()
    assert sealed is not None
    assert Sealer(new, former=old).open(sealed) == "refresh"
    with pytest.raises(ValueError, match="cannot be opened"):
        Sealer(new).open(sealed)
    assert Sealer(new).open(Sealer(new, former=old).seal("x")) == "x"


def test_a_change_of_the_secret_key_signs_nobody_out(
    app: Flask, client: PortalClient, governor: User, clock: MovableClock, settings: PortalSettings,
    session_factory: Sessions, provider: FakeProvider,
) -> None:  # fmt: skip
    """E6: what the new process writes is sealed with the new key; afterwards the old one can go."""
    client.sign_in(governor)
    new = settings.model_copy(
        update={
            "secret_key": type(settings.secret_key)("another key, which is long enough as well"),
            "former_secret_key": settings.secret_key,
        }
    )
    other = create_app(new, clock=clock, engine=app.extensions["jhaas"].engine)
    other.extensions["jhaas"] = replace(other.extensions["jhaas"], provider=provider)
    other.test_client_class = PortalClient
    later = other.test_client()
    assert isinstance(later, PortalClient)
    later.set_session(str(client.session_token))
    clock.move(minutes=5)
    assert later.get(GOVERNED).status_code == 200
    with session_factory() as session:
        sealed = session.scalars(select(WebSession.refresh_token)).one()
    assert sealed is not None
    assert Sealer(new.secret_key.get_secret_value()).open(sealed) == "refresh of gwen"
