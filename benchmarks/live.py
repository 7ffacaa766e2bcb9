"""How far behind a page is that watches an operation: from a worker's word to the browser's stream."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import httpx
from sqlalchemy.orm import Session
from werkzeug.serving import make_server

from automation.events import LogLine
from benchmarks.figure import Figure
from portal import db, migrations
from portal.actor import Actor
from portal.app import create_app
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.identity import sessions as web_sessions
from portal.identity.oidc import Tokens
from portal.models import Attempt, Operation, User
from portal.operations.attempts import Claim, claim
from portal.operations.events import EventWriter
from portal.web.cookies import session_name
from tests.conftest import free_port
from tests.portal.makers import ISSUER, make_course, make_user
from tests.portal.provider import FakeProvider
from tests.support.database import database_server

LINES = 40
PAUSE = 0.35
"""Seconds between two lines: longer than events are gathered for, so that each has a way of its own."""
WATCHERS = 8
"""Pages that watch at once; the figure is the slowest one's."""
CLOCK = SiteClock(ZoneInfo("Europe/Berlin"))


def measure() -> list[Figure]:
    """Seconds from `tell` in a worker to the arrival at the last of several watchers, for lines that come singly."""
    with database_server() as server:
        server.postgres.ensure_database("live")
        engine = db.connect(server.url("live"), pool=20)
        migrations.upgrade(engine)
        make = db.sessions(engine)
        port = free_port()
        settings = PortalSettings(
            database_url=server.url("live"),
            secret_key="not a secret, but long enough for a benchmark",
            public_url=f"http://portal.localhost:{port}",
            oidc_issuer=ISSUER,
            oidc_client_id="jhaas-portal",
            oidc_client_secret="not a secret either",
        )
        app = create_app(settings, clock=CLOCK, engine=engine)
        app.extensions["jhaas"] = parts = replace(app.extensions["jhaas"], provider=FakeProvider(make))
        with db.transaction(make) as session:
            user = make_user(session, CLOCK, governance=True)
            mine = _claimed(session)
        with db.transaction(make) as session:
            tokens = Tokens("access", "refresh", "id-token", {"sub": user.subject})
            person = session.get_one(User, user.id)
            token = web_sessions.begin(
                session, CLOCK, settings, parts.sealer, Actor(None), person, tokens, browser="Benchmark"
            )
        web = make_server("127.0.0.1", port, app, threaded=True)
        serving = threading.Thread(target=web.serve_forever)
        serving.start()
        try:
            samples = _watched(make, mine, settings.public_url, port, token)
        finally:
            app.extensions["jhaas-live"].stop()
            web.shutdown()
            serving.join()
            web.server_close()
            engine.dispose()
    return [Figure("live event, worker to page", "s", tuple(samples), bound=0.5, note=f"{WATCHERS} pages watch")]


def _claimed(session: Session) -> Claim:
    course = make_course(session, CLOCK)
    operation = Operation(
        course_id=course.id, kind="refresh", revision=1, not_before=CLOCK.now(), max_tries=1, created_at=CLOCK.now()
    )
    session.add(operation)
    session.flush()
    attempt = Attempt(operation_id=operation.id, number=1, queued_at=CLOCK.now())
    session.add(attempt)
    session.flush()
    found = claim(session, attempt.id, "benchmark", timedelta(minutes=10))
    assert found is not None
    return found


def _watched(make: db.Sessions, mine: Claim, url: str, port: int, token: str) -> list[float]:
    arrived: list[dict[str, float]] = [{} for _ in range(WATCHERS)]
    ready = threading.Barrier(WATCHERS + 1)

    def watch(mark: dict[str, float]) -> None:
        headers = {"Host": url.removeprefix("http://"), "Cookie": f"{session_name()}={token}"}
        address = f"http://127.0.0.1:{port}/operations/{mine.operation_id}/events"
        with httpx.stream("GET", address, headers=headers, timeout=60, trust_env=False) as answer:
            answer.raise_for_status()
            ready.wait()
            for line in answer.iter_lines():
                if "line " in line:
                    mark[line.split("line ")[1].split('"')[0]] = time.perf_counter()
                if len(mark) == LINES:
                    return

    threads = [threading.Thread(target=watch, args=(mark,), daemon=True) for mark in arrived]
    for thread in threads:
        thread.start()
    ready.wait()
    writer = EventWriter(make, mine)
    writer.start()
    told = {}
    for number in range(LINES):
        told[str(number)] = time.perf_counter()
        writer.tell(LogLine(f"line {number}"))
        time.sleep(PAUSE)
    for thread in threads:
        thread.join(30)
    writer.close()
    return [max(mark[number] for mark in arrived) - began for number, began in told.items()]
