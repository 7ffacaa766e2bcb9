"""The local services in a temporary data folder, for benchmarks that need a whole machine."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from automation.reality import LocalReality
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.local import services
from course_stack.local.layout import Layout
from course_stack.local.machine import local_target
from course_stack.local.services.demo import ensure_demo_people


@dataclass(frozen=True, slots=True)
class Machine:
    """Services that run, and the course stacks on them."""

    layout: Layout
    settings: StateSettings
    stacks: CourseStacks
    reality: LocalReality


@contextmanager
def machine() -> Iterator[Machine]:
    """All services up, with the demo's people; everything gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="jhaas-bench-", dir="/var/tmp"))
    home.chmod(0o755)
    layout = Layout(home)
    before = dict(os.environ)
    os.environ.update(JHAAS_HOME=str(home), JHAAS_PORT=str(_free_port()))
    try:
        services.up(layout)
        ensure_demo_people(layout)
        target = local_target(layout)
        settings = StateSettings.load(layout)
        yield Machine(layout, settings, CourseStacks(settings, target, layout), LocalReality(layout, target))
    finally:
        services.down(layout)
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(home)


def weight(pid: int | None) -> float:
    """Bytes of memory of a process with all its descendants, shared pages counted in shares (PSS)."""
    process = psutil.Process(pid)
    return float(sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True))))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
