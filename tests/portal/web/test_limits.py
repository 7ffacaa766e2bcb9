"""How often something may be tried, for all processes together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.exceptions import TooManyRequests

from portal.views import auth
from portal.web.limits import limit
from tests.portal.client import PortalClient


def tries(app: Flask, name: str, key: str, times: int, seconds: float = 60) -> bool:
    with app.app_context():
        try:
            limit(name, key, times, seconds)
        except TooManyRequests:
            return False
        return True


def test_who_tries_too_often_waits_and_others_do_not(app: Flask) -> None:
    assert [tries(app, "join", "anna", 3) for _ in range(5)] == [True] * 3 + [False] * 2
    assert tries(app, "join", "ben", 3)
    assert tries(app, "ask", "anna", 3)


def test_counting_begins_anew_after_the_time(app: Flask) -> None:
    assert [tries(app, "join", "anna", 1) for _ in range(2)] == [True, False]
    with app.extensions["jhaas"].engine.begin() as connection:
        connection.execute(text("UPDATE rate_limits SET ends_at = clock_timestamp() - interval '1 second'"))
    assert tries(app, "join", "anna", 1)


def test_many_at_once_are_counted_each(app: Flask) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: tries(app, "join", "anna", 5), range(16)))
    assert outcomes.count(True) == 5


def test_keys_are_not_stored_in_clear(app: Flask) -> None:
    tries(app, "join", "203.0.113.7", 1)
    with app.extensions["jhaas"].engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM rate_limits")).all()
    assert "203.0.113.7" not in str(rows)


def test_the_page_says_how_long_to_wait(app: Flask, client: PortalClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context(), pytest.raises(TooManyRequests) as refused:
        for _ in range(2):
            limit("join", "anna", 1, 30)
    assert 1 <= int(str(refused.value.retry_after)) <= 30
    monkeypatch.setattr(auth, "MOST_BEGUN", 1)
    client.get("/sign-in")
    response = client.get("/sign-in")
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60
