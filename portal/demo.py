"""A demo's clock: it can be moved forward, so that the whole life of a course can be watched in minutes."""

from __future__ import annotations

import time
from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions
from portal.models import SiteState

MOST_DAYS = 400
"""By which one click may move the clock."""
_KEPT = 0.5
"""Seconds for which a process believes what it last read."""


def site_clock(settings: PortalSettings, make: Sessions) -> SiteClock:
    """The clock of this site: the machine's, in a demo moved by what the database says."""
    zone = ZoneInfo(settings.timezone)
    return SiteClock(zone, moved=_Moved(make)) if settings.demo else SiteClock(zone)


def move(session: Session, clock: SiteClock, actor: Actor, days: int) -> None:
    """Move the demo's clock forward by whole days, for all processes. Raises `ValueError` outside of 1 to 400."""
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"the clock moves by 1 to {MOST_DAYS} days, not {days}")
    seconds = days * 24 * 3600
    session.execute(
        insert(SiteState)
        .values(id=1, clock_offset_seconds=seconds, settings_digest="")
        .on_conflict_do_update(
            index_elements=["id"], set_={"clock_offset_seconds": SiteState.clock_offset_seconds + seconds}
        )
    )
    audit.record(session, clock, actor, "demo.move_clock", after={"days": days})


class _Moved:
    def __init__(self, make: Sessions) -> None:
        self._make = make
        self._read: tuple[float, timedelta] | None = None

    def __call__(self) -> timedelta:
        now = time.monotonic()
        if self._read is None or now - self._read[0] >= _KEPT:
            try:
                with self._make() as session:
                    seconds = session.scalar(select(SiteState.clock_offset_seconds)) or 0
            except SQLAlchemyError:
                # without the database nothing happens anyway; the clock does not jump back meanwhile
                return self._read[1] if self._read else timedelta()
            self._read = (now, timedelta(seconds=seconds))
        return self._read[1]

    def forget(self) -> None:
        """Read again at the next look."""
        self._read = None
