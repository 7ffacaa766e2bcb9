"""The stage on which operations are tried, for those of a whole fleet."""

from __future__ import annotations

import pytest

from portal.config import PortalSettings
from portal.db import Sessions
from tests.portal.clock import MovableClock
from tests.portal.operations.conftest import Stage


@pytest.fixture
def stage(session_factory: Sessions, clock: MovableClock, settings: PortalSettings) -> Stage:
    return Stage(session_factory, clock, settings)
