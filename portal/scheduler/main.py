"""The scheduler's process: `jhaas portal scheduler`. Any number may run; one acts, the others wait for its end."""

from __future__ import annotations

import logging
import signal
import threading

from sqlalchemy.exc import SQLAlchemyError

from portal import db, logs
from portal.archives import records
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.demo import site_clock
from portal.operations.facts import Settled
from portal.pulse import beat
from portal.scheduler.leadership import Hands, LeadershipLost, leadership
from portal.scheduler.tick import tick

log = logging.getLogger(__name__)

LONGEST_PAUSE = 10.0
"""Seconds between two tries to reach the database."""


def main(settings: PortalSettings | None = None) -> None:
    """Run until SIGTERM or Ctrl-C. What a tick has begun is finished: it takes a moment."""
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(settings or PortalSettings(), stop)


def run(settings: PortalSettings, stop: threading.Event, *, settled: Settled = records.settled) -> None:
    """Act whenever nobody else does, until `stop`. Survives a database that is away."""
    engine = db.connect(settings.database_url.get_secret_value(), pool=2)
    clock = site_clock(settings, db.sessions(engine))
    pause = settings.tick_seconds
    while not stop.is_set():
        beat(settings.pulse_file)
        try:
            with leadership(engine) as hands:
                pause = settings.tick_seconds
                if hands is not None:
                    log.info("this scheduler acts")
                    _act(hands, clock, settings, settled, stop)
        except LeadershipLost:
            log.warning("the right to act was lost with its connection")
        except SQLAlchemyError as error:
            log.warning("the database cannot be reached (%s); trying again in %.0f s", type(error).__name__, pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        except Exception:
            # a fault of ours in one place must not end the deploying of courses: the next tick looks at all anew
            log.exception("a tick failed")
            pause = LONGEST_PAUSE
        stop.wait(pause)
    engine.dispose()


def _act(hands: Hands, clock: SiteClock, settings: PortalSettings, settled: Settled, stop: threading.Event) -> None:
    while not stop.is_set():
        beat(settings.pulse_file)
        report = tick(hands, clock, settings, settled)
        if report.looked_at or report.lost or report.handed_out or report.delivered_again:
            log.info(
                "looked at %s courses, lost %s attempts, handed out %s, delivered %s again",
                report.looked_at, report.lost, report.handed_out, report.delivered_again,
            )  # fmt: skip
        stop.wait(0 if report.more else settings.tick_seconds)
