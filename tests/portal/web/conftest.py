"""What tests of all pages share."""

from __future__ import annotations

import pytest

from portal.db import Sessions, transaction
from tests.portal.clock import MovableClock
from tests.portal.web.world import World, make_world


@pytest.fixture
def world(session_factory: Sessions, clock: MovableClock) -> World:
    with transaction(session_factory) as session:
        return make_world(session, clock)
