"""What is logged, and what never is."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from flask import Flask

from portal import logs
from portal.web.access import allow_anonymous
from tests.portal.client import PortalClient
from tests.portal.web.world import World


@pytest.fixture
def begin_to_log() -> Iterator[Callable[[], None]]:
    """Called within the test, whose standard error is another one than that of its fixtures."""
    before, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield lambda: logs.configure(json=True)
    logging.getLogger().handlers[:] = before
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def lines(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def test_a_request_is_one_line_of_json_that_names_people_by_id_and_no_secret(
    app: Flask, world: World, begin_to_log: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    begin_to_log()
    client = world.client(app, "lead")
    response = client.get("/join/a-secret-code?token=another-secret", headers={"Cookie2": "third-secret"})
    client.post("/profile/language", data={"language": "a-secret-field"})
    told = capfd.readouterr().err
    first = next(line for line in lines(told) if line["event"] == "request")
    assert first["person"] == str(world.people["lead"].id)
    assert first["request_id"] == response.headers["X-Request-ID"]
    assert first["level"] == "info"
    for secret in ("a-secret", "another-secret", "third-secret", "lead@example.org", str(client.session_token)):
        assert secret not in told


def test_a_failure_is_logged_with_its_request_and_without_values(
    app: Flask, client: PortalClient, begin_to_log: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    from sqlalchemy import text

    @app.get("/fails")
    @allow_anonymous
    def fails() -> str:
        password = "a-local-secret"
        with app.extensions["jhaas"].engine.connect() as connection:
            connection.execute(text("SELECT nothing FROM users WHERE email = :email"), {"email": password})
        return ""

    begin_to_log()
    response = client.get("/fails")
    told = capfd.readouterr().err
    line = next(line for line in lines(told) if line["event"] == "unforeseen")
    assert line["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" in line["exception"]
    assert "a-local-secret" not in told


@pytest.mark.parametrize("client", ["httpx", "httpx2"])  # ours, and lightkube's
def test_calls_to_hubs_and_clusters_are_no_lines_of_their_own(
    client: str, begin_to_log: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    begin_to_log()
    http: Any = importlib.import_module(client)
    with http.Client(transport=http.MockTransport(lambda _request: http.Response(200))) as calls:
        calls.get("https://cluster.example.org/api")
    logging.getLogger("portal").info("still told")
    assert [line["event"] for line in lines(capfd.readouterr().err)] == ["still told"]
