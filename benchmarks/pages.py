"""What pages cost with ten thousand courses and two hundred thousand participants."""

from __future__ import annotations

import contextlib
import gc
import io
import time
from dataclasses import replace
from zoneinfo import ZoneInfo

from flask import Flask
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from benchmarks.figure import Figure
from benchmarks.university import Size, fill
from portal import db, migrations
from portal.app import create_app
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.lifecycle import Status
from portal.models import Course, User
from tests.portal.client import PortalClient
from tests.portal.makers import ISSUER, make_target
from tests.portal.provider import FakeProvider
from tests.support.database import DatabaseServer, database_server

ROUNDS = 15
MOST_MILLISECONDS = 50.0
MOST_STATEMENTS = 6.0
CLOCK = SiteClock(ZoneInfo("Europe/Berlin"))


def measure() -> list[Figure]:
    """Milliseconds and SQL statements of each page, as somebody who is signed in asks for it (one process, no network).

    Lists have bounds; pages of one thing are told for comparison."""
    with database_server() as server:
        engine, app = _portal(server)
        try:
            with db.sessions(engine)() as session:
                pages = _pages(session)
            return [figure for page in pages for figure in _measured(engine, app, *page)]
        finally:
            engine.dispose()


def _pages(session: Session) -> list[tuple[str, str, User, bool]]:
    """Name, address, whose browser, and whether it is a list."""
    teacher = session.scalars(select(User).where(User.login == "person-2")).one()
    governance = session.scalars(select(User).where(User.is_governance)).first()
    assert governance is not None

    def one(status: Status) -> Course:
        return session.scalars(select(Course).where(Course.status == status).order_by(Course.slug).limit(1)).one()

    return [
        ("my courses", "/", teacher, True),
        ("my courses that are over", "/?over=yes", teacher, True),
        ("approvals", "/governance/", governance, True),
        ("all courses", "/governance/courses", governance, True),
        ("all courses, searched", "/governance/courses?q=course-77", governance, True),
        ("operations", "/operations/", governance, True),
        ("outbox", "/governance/mails/", governance, True),
        ("calendar of a month", "/calendar?zoom=month", teacher, False),
        ("calendar of a year", "/calendar?zoom=year", governance, False),
        ("form for a course", "/courses/new", teacher, False),
        ("one course", f"/courses/{one(Status.ACTIVE).id}", governance, False),
        ("one request to decide", f"/governance/courses/{one(Status.REQUESTED).id}", governance, False),
    ]


def _measured(engine: Engine, app: Flask, name: str, path: str, user: User, is_list: bool) -> list[Figure]:
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(engine, "before_cursor_execute", count)
    client = app.test_client()
    assert isinstance(client, PortalClient)
    client.sign_in(user)
    times = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for _ in range(ROUNDS + 2):
            statements = 0
            begin = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - begin) * 1000)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} answered {answer.status_code}")
    event.remove(engine, "before_cursor_execute", count)
    return [
        Figure(f"page: {name}", "ms", tuple(times[2:]), MOST_MILLISECONDS if is_list else None),
        Figure(f"page: {name}, statements", "", (statements,), MOST_STATEMENTS if is_list else None),
    ]


def _portal(server: DatabaseServer) -> tuple[Engine, Flask]:
    server.postgres.ensure_database("portal_pages")
    engine = db.connect(server.url("portal_pages"))
    migrations.upgrade(engine)
    make = db.sessions(engine)
    with db.transaction(make) as session:
        target = make_target(session, memory_mib=10**8, cpu_millicores=10**8, storage_mib=10**10)
    fill(engine, CLOCK, Size(), target)
    settings = PortalSettings(
        database_url=server.url("portal_pages"),
        secret_key="not a secret, but long enough for a measurement",
        public_url="https://portal.example.org",
        oidc_issuer=ISSUER,
        oidc_client_id="jhaas-portal",
        oidc_client_secret="not a secret either",
    )
    app = create_app(settings, clock=CLOCK, engine=engine)
    app.test_client_class = PortalClient
    app.extensions["jhaas"] = replace(app.extensions["jhaas"], provider=FakeProvider(make))
    # as the web process does (`portal.gunicorn`)
    gc.collect()
    gc.freeze()
    return engine, app
