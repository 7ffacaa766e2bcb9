"""The portal's own processes beside the services of tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from course_stack.local.supervisor import Supervisor
from portal import local
from portal.config import PortalSettings
from tests.conftest import Machine


@contextmanager
def running_portal(machine: Machine, *, demo: bool = False) -> Iterator[PortalSettings]:
    """Web, worker, scheduler and mail sink, as `jhaas demo` starts them; ended afterwards, the database stays."""
    try:
        yield local.up(machine.layout, lambda *_: None, demo=demo)
    finally:
        supervisor = Supervisor(machine.layout)
        for name in local.PROGRAMS:
            supervisor.remove_program(name)
        (machine.layout.routes / "portal.yml").unlink(missing_ok=True)
