"""A clock that tests move."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from portal.clock import SiteClock


@dataclass
class _Hand:
    instant: datetime

    def __call__(self) -> datetime:
        return self.instant


class MovableClock(SiteClock):
    """Stands still until it is moved. Begins at noon (UTC) of Monday 1 March 2027."""

    def __init__(self, start: datetime = datetime(2027, 3, 1, 12, tzinfo=UTC), zone: str = "Europe/Berlin") -> None:
        super().__init__(ZoneInfo(zone), _Hand(start))

    def move(self, **by: Any) -> None:
        """Forward (or back) by what `timedelta` takes: `days=1`, `minutes=5`, …"""
        self.set(self.now() + timedelta(**by))

    def set(self, to: datetime | dt.date) -> None:
        """To an aware instant, or to the first instant of a day at the site."""
        assert isinstance(self.source, _Hand)
        if not isinstance(to, datetime):
            to = self.begin(to)
        assert to.tzinfo is not None
        self.source.instant = to
