"""What the portal's processes weigh once they have been used."""

from __future__ import annotations

import urllib.request

from benchmarks.figure import Figure
from benchmarks.machine import machine, weight
from course_stack.local.supervisor import Supervisor
from portal import local

_MIB = 2**20


def measure() -> list[Figure]:
    """Proportional set size in MiB of each program of the portal with its children, after a hundred answers."""
    with machine() as here:
        settings = local.up(here.layout, lambda *_: None)
        for _ in range(100):
            with urllib.request.urlopen(f"http://{settings.web_bind}/health/ready") as answer:
                answer.read()
        states = Supervisor(here.layout).status()
        return [Figure(f"memory of {name}", "MiB", (weight(states[name].pid) / _MIB,)) for name in local.PROGRAMS]
