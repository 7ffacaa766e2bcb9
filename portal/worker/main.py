"""A worker's process: `jhaas portal worker`. Any number may run, on any machine that reaches database and targets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from portal import db, logs
from portal.config import PortalSettings
from portal.demo import site_clock
from portal.models import Attempt
from portal.operations.kinds import Kind
from portal.pulse import beat
from portal.worker.duties import Duties, Duty, duties
from portal.worker.kinds import Work, works
from portal.worker.queue import QUEUE, RUNNER, queue_app
from portal.worker.runner import Runner
from portal.worker.stacks import RealPlace

log = logging.getLogger(__name__)

PLACES = 4
"""Attempts that one worker carries out at once: of a target with the usual two at a time, two that copy homes for hours
and two that set up courses meanwhile."""

PATIENCE = 10.0
"""Seconds for which a worker that is asked to end lets its work go on."""

GRACE = 75.0
"""Seconds that work may then take to stop; the engine takes up to a minute for the step that it is in. Whoever ends
workers must wait longer than both (a pod's termination grace period, a supervisor's stop time): 90 s."""

POLL = 1.0
"""Seconds between two looks into the queue; a notification usually comes before."""

SILENCE = timedelta(seconds=10)
"""An attempt waits for so long although this worker is idle: its connection to the queue is taken for dead."""

LONGEST_PAUSE = 10.0
"""Seconds between two tries to reach the database."""


def main(settings: PortalSettings | None = None) -> None:
    """Run until SIGTERM or Ctrl-C; then finish what runs or give it back, in at most `PATIENCE` + `GRACE` seconds."""
    logs.configure()
    settings = settings or PortalSettings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not run(settings, stop, works(RealPlace)):
        # what still runs must not hold the process: its child ends itself, and another worker finds the rest
        os._exit(1)


def run(
    settings: PortalSettings,
    stop: threading.Event,
    todo: Mapping[Kind, Work],
    *,
    beside: list[Duty] | None = None,
    places: int = PLACES,
    patience: float = PATIENCE,
    grace: float = GRACE,
) -> bool:
    """Work until `stop`; whether everything has ended then. `beside` are the duties, all of them unless given."""
    url = settings.database_url.get_secret_value()
    engine = db.connect(url, pool=3 * places + 4)
    sessions = db.sessions(engine)
    clock = site_clock(settings, sessions)
    runner = Runner(sessions, clock, settings, todo, places=places)
    side = Duties(duties(sessions, clock, settings) if beside is None else beside)
    side.start()
    log.info("worker %s begins", runner.name)
    asyncio.run(
        _listen(
            url,
            runner,
            places,
            stop,
            lambda: _is_deaf(sessions, runner, places),
            lambda: beat(settings.pulse_file),
        )
    )
    ended = runner.leave(patience, grace)
    side.stop()
    engine.dispose()
    log.info("worker %s ends", runner.name)
    return ended


async def _listen(
    url: str,
    runner: Runner,
    places: int,
    stop: threading.Event,
    is_deaf: Callable[[], bool],
    beat_once: Callable[[], object],
) -> None:
    """Take jobs from the queue until `stop`, over as many connections to the database as that takes.

    Operations that run are not touched by a queue that is away: they have threads and connections of their own.
    """
    pause = POLL
    while not stop.is_set():
        beat_once()
        listening = asyncio.create_task(_take_jobs(url, runner, places))
        watching = asyncio.create_task(_until_stopped_or_deaf(stop, is_deaf, beat_once))
        await asyncio.wait({listening, watching}, return_when=asyncio.FIRST_COMPLETED)
        failure = listening.exception() if listening.done() and not listening.cancelled() else None
        for task in (listening, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        if stop.is_set():
            return
        if failure is None:
            pause = POLL
        else:
            log.warning("the queue cannot be reached (%s); trying again in %.0f s", type(failure).__name__, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _take_jobs(url: str, runner: Runner, places: int) -> None:
    app = queue_app(conninfo=url, min_size=1, max_size=4, timeout=5)
    async with app.open_async():
        await app.run_worker_async(
            queues=[QUEUE],
            name=runner.name,
            concurrency=places,
            fetch_job_polling_interval=POLL,
            # its own idea of a graceful end is to wait for jobs: ours go on without it
            shutdown_graceful_timeout=0,
            delete_jobs="always",
            additional_context={RUNNER: runner},
            install_signal_handlers=False,
        )


async def _until_stopped_or_deaf(
    stop: threading.Event, is_deaf: Callable[[], bool], beat_once: Callable[[], object]
) -> None:
    looks = 0
    while not stop.is_set():
        await asyncio.sleep(0.2)
        looks += 1
        if looks % 25 == 0:
            beat_once()
        if looks % 25 == 0 and await asyncio.to_thread(is_deaf):
            log.warning("attempts wait although this worker is idle: it connects to the queue anew")
            return


def _is_deaf(sessions: db.Sessions, runner: Runner, places: int) -> bool:
    """Whether an attempt waits for a worker although this one has room: a listener can die without a word."""
    if runner.busy >= places:
        return False
    late = select(Attempt.id).where(
        Attempt.result.is_(None), Attempt.claimed_at.is_(None), Attempt.queued_at < func.clock_timestamp() - SILENCE
    )
    try:
        with sessions() as session:
            return session.scalar(late.limit(1)) is not None
    except SQLAlchemyError:
        return False
