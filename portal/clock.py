"""The site's clock: what day it is here, and which instants a day begins and ends at.

Leases and deadlines go by the database's clock; everything of the calendar goes by this one, which tests and demos
move.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


def _not_moved() -> timedelta:
    return timedelta()


@dataclass(frozen=True)
class SiteClock:
    """`source` gives aware instants; `zone` is the site's. Days are calendar days in that zone."""

    zone: ZoneInfo
    source: Callable[[], datetime] = utc_now
    moved: Callable[[], timedelta] = _not_moved
    """How far ahead of `source` the site is: nothing, except in demos."""

    def now(self) -> datetime:
        """This moment at the site, in UTC."""
        return self.wall() + self.moved()

    def wall(self) -> datetime:
        """This moment as other machines see it, in UTC: what sessions and tokens go by. A demo does not move it."""
        return self.source().astimezone(UTC)

    def today(self) -> dt.date:
        """The site's calendar day."""
        return self.day_of(self.now())

    def day_of(self, instant: datetime) -> dt.date:
        """The site's calendar day at an instant."""
        return instant.astimezone(self.zone).date()

    def begin(self, day: dt.date) -> datetime:
        """The first instant of a day, in UTC (where midnight is skipped, the first instant that there is)."""
        return datetime.combine(day, dt.time(), self.zone).astimezone(UTC)

    def end(self, day: dt.date) -> datetime:
        """The instant at which a day is over: the beginning of the next."""
        return self.begin(day + timedelta(days=1))
