"""The platform is a script folder: its modules are found on the path, as when Pulumi runs it."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.event_loop import ensure_event_loop

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "platform"))

if TYPE_CHECKING:
    from rehearsal import Rehearsal

Sections = dict[str, Any]
Rehearse = Callable[..., "Rehearsal"]

LEAST: Sections = {
    "site": {"portal_host": "courses.example.org", "hub_domain": "example-hubs.org", "contact": "help@example.org"},
    "cluster": {"context": "university"},
    "certificates": {"issuer": "selfsigned"},
    "portal": {"image": "registry.example.org/jhaas/portal:1"},
}
"""The fewest settings that make a platform."""


def sections(**changes: dict[str, Any] | None) -> Sections:
    """The fewest settings, with keys of sections over them; None takes a section away."""
    made = deepcopy(LEAST)
    for name, keys in changes.items():
        if keys is None:
            made.pop(name, None)
        else:
            made[name] = {**made.get(name, {}), **keys}
    return made


@pytest.fixture(autouse=True)
def _event_loop() -> None:
    ensure_event_loop()


@pytest.fixture(autouse=True, scope="module")
def _seldom_collected() -> Iterator[None]:
    """A rehearsal makes a hundred thousand small objects: looking through all of them for circles again and again takes
    a fifth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.fixture(scope="session")
def rehearse() -> Rehearse:
    """Runs the whole program on `sections(**changes)`, without a cluster; once for each configuration, whose outcome
    nobody changes."""
    from rehearsal import rehearse

    outcome = cache(lambda text: rehearse(json.loads(text)))
    return lambda **changes: outcome(json.dumps(sections(**changes), sort_keys=True))
