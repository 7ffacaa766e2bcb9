"""What tests of the portal share: a database of their own each, a clock that they move, an application."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import Engine

from portal import migrations
from portal.app import create_app
from portal.config import PortalSettings
from portal.db import Sessions, connect, sessions
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import ISSUER
from tests.portal.provider import FakeProvider
from tests.support.database import DatabaseServer, database_server

_TEMPLATE = "portal_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[DatabaseServer]:
    """The server of this test session, with one migrated database that each test gets a copy of."""
    with database_server() as server:
        server.postgres.ensure_database(_TEMPLATE)
        engine = connect(server.url(_TEMPLATE))
        migrations.upgrade(engine)
        engine.dispose()
        yield server


@pytest.fixture
def database_url(postgres_server: DatabaseServer) -> Iterator[str]:
    """A fresh migrated database; dropped afterwards, whoever is still connected."""
    name = f"portal_test_{next(_numbers)}"
    postgres_server.postgres.execute(
        "postgres", f'CREATE DATABASE "{name}" TEMPLATE "{_TEMPLATE}" OWNER "{_TEMPLATE}" STRATEGY FILE_COPY'
    )
    yield postgres_server.url(name, role=_TEMPLATE)
    postgres_server.postgres.execute("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session_factory(engine: Engine) -> Sessions:
    return sessions(engine)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def settings(database_url: str) -> PortalSettings:
    return PortalSettings(
        database_url=database_url,
        secret_key="not a secret, but long enough for a test",
        public_url="https://portal.example.org",
        oidc_issuer=ISSUER,
        oidc_client_id="jhaas-portal",
        oidc_client_secret="not a secret either",
    )


@pytest.fixture
def provider(session_factory: Sessions) -> FakeProvider:
    """The identity provider: says of everybody what the database says, unless a test lets it say something else."""
    return FakeProvider(session_factory)


@pytest.fixture
def app(settings: PortalSettings, clock: MovableClock, engine: Engine, provider: FakeProvider) -> Flask:
    made = create_app(settings, clock=clock, engine=engine)
    made.config["PROPAGATE_EXCEPTIONS"] = False  # errors become pages, as in production
    made.test_client_class = PortalClient
    parts = made.extensions["jhaas"]
    made.extensions["jhaas"] = replace(parts, provider=provider)
    return made


@pytest.fixture
def client(app: Flask) -> PortalClient:
    """A browser in which nobody is signed in; `client.sign_in(user)` changes that."""
    found = app.test_client()
    assert isinstance(found, PortalClient)
    return found
