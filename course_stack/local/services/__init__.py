"""The services behind the hubs of one machine: Postgres, SeaweedFS, Canaille and Traefik, run by supervisord."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from course_stack.local.files import locked
from course_stack.local.layout import Layout
from course_stack.local.machine import (
    MachineSettings,
    ensure_passphrase,
    make_home,
    port_holder,
    port_is_free,
    process_name,
)
from course_stack.local.services.canaille import CanailleService
from course_stack.local.services.postgres import Postgres
from course_stack.local.services.seaweedfs import Seaweedfs
from course_stack.local.services.service import Service, ServiceError
from course_stack.local.services.traefik import Traefik
from course_stack.local.supervisor import Supervisor

__all__ = ["Progress", "ServiceError", "ServiceStatus", "down", "status", "up"]

Progress = Callable[[str, str], None]
"""Called with a service's name and what it is doing: `starting`, `preparing`, `ready`."""

_DEADLINE = 90.0
"""Seconds until a service must answer; the first start of all takes some ten on a small machine."""


class _AbandonedError(Exception):
    """Not waited for any longer, since another service failed."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `ready` means that it answered just now; `address` is where."""

    name: str
    state: Literal["ready", "starting", "stopped", "failed"]
    address: str
    pid: int | None
    detail: str


def up(layout: Layout, progress: Progress | None = None) -> None:
    """Start what does not run yet, wait until each service really answers, and make what they must hold.

    A second call finds everything again and changes nothing. Raises `ServiceError`, `MachineError` or
    `SupervisorError`; a taken port is reported before anything is started.
    """
    make_home(layout)
    with locked(layout.home / ".services-lock"):
        settings = MachineSettings.for_start(layout)
        services = _services(layout, settings)
        supervisor = Supervisor(layout)
        supervisor.end_orphans()
        _refuse_taken_ports(services, supervisor)
        for folder in (layout.services, layout.credentials, layout.logs, layout.operations):
            folder.mkdir(mode=0o700, exist_ok=True)
        ensure_passphrase(layout)
        supervisor.start()
        _start_all(services, supervisor, _one_at_a_time(progress))


def down(layout: Layout) -> None:
    """Stop all services and hubs of this data folder, and supervisord; nothing is deleted."""
    if not layout.settings.exists():
        return
    with locked(layout.home / ".services-lock"):
        Supervisor(layout).stop()
        Seaweedfs(layout, MachineSettings.stored(layout)).clean()


def status(layout: Layout) -> list[ServiceStatus]:
    """How each service is, now."""
    if not layout.settings.exists():
        return []
    programs = Supervisor(layout).status()
    found = []
    for service in _services(layout, MachineSettings.stored(layout)):
        program = programs.get(service.name)
        state: Literal["ready", "starting", "stopped", "failed"]
        if program is None or program.state in ("STOPPED", "STOPPING"):
            state, detail = "stopped", ""
        elif program.state in ("FATAL", "EXITED", "BACKOFF"):
            state, detail = "failed", f"see {layout.logs / service.name}.log"
        elif (missing := service.unready()) is not None:
            state, detail = "starting", missing
        else:
            state, detail = "ready", ""
        pid = program.pid if program else None
        found.append(ServiceStatus(service.name, state, service.address, pid, detail))
    return found


def _services(layout: Layout, settings: MachineSettings) -> list[Service]:
    """All services, each behind those that it needs."""
    postgres = Postgres(layout)
    return [
        postgres,
        Seaweedfs(layout, settings),
        Traefik(layout, settings),
        CanailleService(layout, settings, postgres),
    ]


def _refuse_taken_ports(services: list[Service], supervisor: Supervisor) -> None:
    ours = {name: program.pid for name, program in supervisor.status().items()}
    for service in services:
        for host, port in service.ports:
            if port_is_free(host, port):
                continue
            holder = port_holder(port)
            if holder is not None and holder == ours.get(service.name):
                continue
            by = f" by {process_name(holder)}" if holder else ""
            raise ServiceError(
                f"Port {port}, which {service.name} needs, is taken{by}: end that process, "
                "or choose another port (JHAAS_PORT for the edge; for the others, remove settings.json)."
            )


def _start_all(services: list[Service], supervisor: Supervisor, progress: Progress) -> None:
    """Each service in a thread of its own, after those that it needs."""
    failed = threading.Event()

    def start(service: Service, needed: list[Future[None]]) -> None:
        for future in needed:
            future.result()
        progress(service.name, "starting")
        service.prepare()
        supervisor.set_program(service.name, service.program())
        _wait(service, supervisor, failed)
        progress(service.name, "preparing")
        service.provision()
        progress(service.name, "ready")

    futures: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(max_workers=len(services)) as pool:
        for service in services:
            futures[service.name] = pool.submit(start, service, [futures[name] for name in service.after])
            futures[service.name].add_done_callback(lambda done: failed.set() if done.exception() else None)
    errors = [error for future in futures.values() if (error := future.exception())]
    for error in errors:
        if not isinstance(error, _AbandonedError):
            raise error


def _wait(service: Service, supervisor: Supervisor, failed: threading.Event) -> None:
    deadline = time.monotonic() + _DEADLINE
    while (missing := service.unready()) is not None:
        program = supervisor.status().get(service.name)
        if program is not None and program.state == "FATAL":
            raise ServiceError(f"{service.name} does not start: see its log ({service.program().log}).")
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{service.name} did not answer within {_DEADLINE:.0f} seconds: {missing} See {service.program().log}."
            )
        if failed.is_set():
            raise _AbandonedError
        time.sleep(0.1)


def _one_at_a_time(progress: Progress | None) -> Progress:
    lock = threading.Lock()

    def call(service: str, state: str) -> None:
        if progress is not None:
            with lock:
                progress(service, state)

    return call
