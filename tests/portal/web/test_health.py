"""What machines ask, and who may."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import Engine, text

from portal.app import create_app
from portal.config import PortalSettings
from tests.portal.client import PortalClient
from tests.portal.provider import FakeProvider


def test_ready_means_that_the_database_is_there_and_has_our_form(
    client: PortalClient, provider: FakeProvider, app: Flask
) -> None:
    assert client.get("/health/ready").status_code == 200
    provider.is_down = True
    told = client.get("/health/ready")
    assert told.status_code == 200, "who is signed in goes on reading"
    assert told.json == {"database": "ok", "identity_provider": "away"}
    with app.extensions["jhaas"].engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    assert client.get("/health/ready").status_code == 503


def test_without_a_database_the_process_lives_and_is_not_ready(settings: PortalSettings) -> None:
    nowhere = settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://127.0.0.1:1/x")})
    client = create_app(nowhere).test_client()
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json is not None
    assert ready.json["database"] == "away"
    assert b"jhaas_database_up 0.0" in client.get("/metrics").data


def test_metrics_count_requests_by_route_and_what_the_database_holds(client: PortalClient) -> None:
    client.get("/join/this-code-is-a-secret")
    told = client.get("/metrics").text
    assert 'jhaas_requests_total{method="GET"' in told
    assert "this-code-is-a-secret" not in told
    assert "jhaas_queue_oldest_seconds 0.0" in told
    assert "jhaas_database_up 1.0" in told


def test_metrics_are_for_this_machine_or_for_who_has_the_token(
    settings: PortalSettings, client: PortalClient, engine: Engine
) -> None:
    assert client.get("/metrics", environ_overrides={"REMOTE_ADDR": "10.0.0.7"}).status_code == 404
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404
    secret = type(settings.database_url)("a-long-enough-token")
    guarded = create_app(settings.model_copy(update={"metrics_token": secret}), engine=engine).test_client()
    assert guarded.get("/metrics").status_code == 404
    assert guarded.get("/metrics", headers={"Authorization": "Bearer other"}).status_code == 404
    assert guarded.get("/metrics", headers={"Authorization": "Bearer a-long-enough-token"}).status_code == 200
