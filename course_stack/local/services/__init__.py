"""The services behind the hubs of one machine: Postgres, SeaweedFS, Canaille and Traefik, run by supervisord."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from course_stack.local.layout import Layout

Progress = Callable[[str, str], None]
"""Called with a service's name and what it is doing: `starting`, `preparing`, `ready`."""


class ServiceError(Exception):
    """A service did not start or stop; the message names it, says why, and where its log is."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `ready` means that it answered just now; `address` is where."""

    name: str
    state: Literal["ready", "starting", "stopped", "failed"]
    address: str
    pid: int | None
    detail: str


def up(layout: Layout, progress: Progress | None = None) -> None:
    """Start what does not run yet, wait until each service really answers, and make what they must hold."""
    raise NotImplementedError


def down(layout: Layout) -> None:
    """Stop all services and hubs of this data folder, and supervisord; nothing is deleted."""
    raise NotImplementedError


def status(layout: Layout) -> list[ServiceStatus]:
    """How each service is, now."""
    raise NotImplementedError
