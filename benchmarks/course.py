"""A course from nothing to a hub that answers, once more without a change, and back to nothing. And what it weighs."""

from __future__ import annotations

from benchmarks.figure import Figure, seconds
from benchmarks.machine import machine, weight
from course_stack.local.supervisor import Supervisor
from tests.support.examples import example

ROUNDS = 3


def measure() -> list[Figure]:
    """Seconds of each, in `ROUNDS` rounds; memory in MB, shared pages counted in shares (PSS)."""
    spec = example("benchmark")
    deploys: list[float] = []
    repeats: list[float] = []
    destroys: list[float] = []
    with machine() as it:
        for round_ in range(ROUNDS):
            deploys += seconds(lambda: it.stacks.deploy(spec))
            repeats += seconds(lambda: it.stacks.update(spec), times=3)
            if round_ == ROUNDS - 1:
                memory = _memory(Supervisor(it.layout))
            destroys += seconds(lambda: it.stacks.destroy(spec.slug))
    hub = memory.pop(f"hub-{spec.slug}")
    return [
        Figure("deploy to hub ready", "s", tuple(deploys), bound=15),
        Figure("update without a change", "s", tuple(repeats), bound=1.5),
        Figure("destroy", "s", tuple(destroys), bound=5),
        Figure("memory of one hub", "MB", (hub,), note="no bound; design measured 125 MB without its culler"),
        Figure("memory of all services", "MB", (sum(memory.values()),), note=_listed(memory), detail=memory),
    ]


def _memory(supervisor: Supervisor) -> dict[str, float]:
    """MB of every program."""
    return {name: weight(state.pid) / 1e6 for name, state in supervisor.status().items() if state.pid is not None}


def _listed(memory: dict[str, float]) -> str:
    return ", ".join(f"{name} {size:.0f}" for name, size in sorted(memory.items()))
