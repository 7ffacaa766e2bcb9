"""An audit of a thousand stacks: what a whole university has after some years."""

from __future__ import annotations

import json

from automation.state import StateStore
from benchmarks.figure import Figure, seconds
from benchmarks.machine import machine
from tests.support.examples import example

STACKS = 1000


def measure() -> list[Figure]:
    """Seconds of one audit; all stacks but one are copies of a deployed one's state."""
    from concurrent.futures import ThreadPoolExecutor

    with machine() as it:
        spec = example("audited")
        it.stacks.deploy(spec)
        objects = StateStore.of(it.settings, "jhaas-course").objects
        key = ".pulumi/stacks/jhaas-course/{}.json"
        state = objects.get(key.format(spec.slug))
        assert state is not None
        with ThreadPoolExecutor(16) as pool:
            names = [f"course-{number}" for number in range(1, STACKS)]
            list(pool.map(lambda name: objects.put(key.format(name), _renamed(state, spec.slug, name)), names))
        taken = seconds(lambda: it.stacks.audit(it.reality), times=3)
        it.stacks.destroy(spec.slug)
    return [Figure(f"audit of {STACKS} stacks", "s", taken, bound=5, note=f"{len(state) / 1000:.0f} kB a stack")]


def _renamed(state: bytes, old: str, new: str) -> bytes:
    json.loads(state)
    return state.replace(f"::jhaas-course::{old}".encode(), f"::jhaas-course::{new}".encode())
