"""What the scheduler's tick costs, and how soon a worker has what is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select, text

from benchmarks.figure import Figure
from benchmarks.university import Size, fill
from portal import db, migrations
from portal.archives import records
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.lifecycle import Status
from portal.models import Attempt, Course, TargetRecord
from portal.scheduler.main import run as run_scheduler
from portal.scheduler.tick import BATCH, tick
from portal.worker.main import run as run_worker
from tests.portal.makers import make_course, make_target
from tests.portal.operations.fakes import FakeWorld
from tests.support.database import DatabaseServer, database_server
from tests.support.waiting import wait_for

ROUNDS = 7
CLOCK = SiteClock(ZoneInfo("Europe/Berlin"))


def measure() -> list[Figure]:
    """Milliseconds of a tick in which 100 courses begin to be deployed (each with its new status, an operation and two
    audit entries, in a transaction of its own), and of one in which nothing is due; seconds from the instant at which a
    course is due to the claim of its deploy by a worker that is free."""
    with database_server() as server:
        figures = []
        for courses, bound in ((1_000, None), (100_000, 200.0)):
            with _portal(server, f"portal_{courses}") as (engine, settings):
                fill(
                    engine, CLOCK, Size(courses, people=2000, teachers=1000, participants_per_course=0), _target(engine)
                )
                figures += _ticks(engine, settings, f"{courses:,} courses", bound)
        with _portal(server, "portal_claims") as (engine, settings):
            figures.append(_claims(engine, settings))
    return figures


def _ticks(engine: Engine, settings: PortalSettings, name: str, bound: float | None) -> list[Figure]:
    make = db.sessions(engine)
    tick(make, CLOCK, settings, records.settled)  # it notices its settings first: every course is looked at once
    with engine.begin() as connection:
        connection.execute(text("UPDATE courses SET next_due_at = now() + interval '30 days'"))
    busy, idle = [], []
    for _ in range(ROUNDS):
        idle.append(_milliseconds(make, settings, expected=0))
        with engine.begin() as connection:
            connection.execute(_DUE, {"today": CLOCK.today(), "now": CLOCK.now(), "batch": BATCH})
        busy.append(_milliseconds(make, settings, expected=BATCH))
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM attempts"))
            connection.execute(text("DELETE FROM operations"))
            connection.execute(text("UPDATE courses SET status = 'approved' WHERE status = 'deploying'"))
    return [
        Figure(f"tick, {BATCH} of {name} due", "ms", tuple(busy), bound=bound),
        Figure(f"tick, none of {name} due", "ms", tuple(idle)),
    ]


_DUE = text(
    """
    UPDATE courses SET status = 'approved', first_day = :today, last_day = CAST(:today AS date) + 30, next_due_at = :now
    WHERE id IN (SELECT id FROM courses WHERE status = 'approved' ORDER BY id LIMIT :batch)
       OR id IN (SELECT id FROM courses WHERE status = 'archived' ORDER BY id LIMIT :batch - (
           SELECT least(count(*), :batch) FROM courses WHERE status = 'approved'))
    """
)


def _milliseconds(make: db.Sessions, settings: PortalSettings, expected: int) -> float:
    begun = time.perf_counter()
    report = tick(make, CLOCK, settings, records.settled)
    taken = 1000 * (time.perf_counter() - begun)
    assert (report.looked_at, report.failed) == (expected, [])
    return taken


def _claims(engine: Engine, settings: PortalSettings) -> Figure:
    make = db.sessions(engine)
    _target(engine)
    stop = threading.Event()
    threads = [
        threading.Thread(target=lambda: run_scheduler(settings, stop)),
        threading.Thread(target=lambda: run_worker(settings, stop, FakeWorld().works(), beside=[])),
    ]
    for thread in threads:
        thread.start()
    samples = []
    for _ in range(ROUNDS):
        today = CLOCK.today()
        with db.transaction(make) as session:
            dates = {"first_day": today, "last_day": today + timedelta(days=5)}
            course_id = make_course(session, CLOCK, status=Status.APPROVED, spec=dates).id

        def active(course: object = course_id) -> bool:
            with make() as session:
                return session.get_one(Course, course).status == Status.ACTIVE

        wait_for(active, "active")
        with make() as session:
            course = session.get_one(Course, course_id)
            attempt = session.scalars(
                select(Attempt).join(Attempt.operation).where(Attempt.operation.has(course_id=course_id))
            ).first()
            assert attempt is not None
            assert attempt.claimed_at is not None
            samples.append((attempt.claimed_at - course.requested_at).total_seconds())
    stop.set()
    for thread in threads:
        thread.join()
    return Figure("due to claimed", "s", tuple(samples), bound=2.0, note="a worker is free; one tick a second")


def _target(engine: Engine) -> TargetRecord:
    with db.transaction(db.sessions(engine)) as session:
        return make_target(session)


@contextmanager
def _portal(server: DatabaseServer, name: str) -> Iterator[tuple[Engine, PortalSettings]]:
    server.postgres.ensure_database(name)
    engine = db.connect(server.url(name))
    migrations.upgrade(engine)
    settings = PortalSettings(
        database_url=server.url(name),
        secret_key="not a secret, but long enough for a benchmark",
        public_url="https://portal.example.org",
        oidc_issuer="https://id.example.org",
        oidc_client_id="jhaas-portal",
        oidc_client_secret="not a secret either",
    )
    try:
        yield engine, settings
    finally:
        engine.dispose()
