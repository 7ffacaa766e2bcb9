"""Scheduler and worker as processes, on stacks that are files: `python -m tests.portal.operations.file_stacks worker`.

Each effect takes a moment and is written to a journal; a course on which two work at once is written down too.
"""

from __future__ import annotations

import fcntl
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automation.failures import OperationFailed
from portal import logs
from portal.config import PortalSettings
from portal.operations.kinds import Kind
from portal.scheduler.main import run as run_scheduler
from portal.worker.claimed import ClaimedRun
from portal.worker.kinds import Work
from portal.worker.main import run as run_worker


def folder() -> Path:
    """Where the files are."""
    return Path(os.environ["FILE_STACKS"])


def note(what: str) -> None:
    with (folder() / "journal").open("a") as file:
        file.write(f"{what}\n")


@contextmanager
def alone(slug: str) -> Iterator[None]:
    with (folder() / f"{slug}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"overlap {slug}")
        yield


def work(kind: Kind, effect: Callable[[ClaimedRun, Path], None]) -> Work:
    def done(run: ClaimedRun) -> dict[str, Any]:
        with alone(run.slug):
            run.step(f"{kind} begins")
            time.sleep(random.uniform(0, 0.2))
            run.check()
            effect(run, folder() / f"{run.slug}.stack")
            note(f"{kind} {run.slug}")
            time.sleep(random.uniform(0, 0.2))
        return {}

    return done


def deploy(run: ClaimedRun, stack: Path) -> None:
    stack.write_text("there")
    run.write(lambda _, course: [setattr(course, *one) for one in _hub(run)] and None)


def destroy(_: ClaimedRun, stack: Path) -> None:
    stack.unlink(missing_ok=True)


def needs_stack(_: ClaimedRun, stack: Path) -> None:
    if not stack.exists():
        raise OperationFailed("There is no stack.")


def _hub(run: ClaimedRun) -> list[tuple[str, Any]]:
    return [("applied_revision", run.revision), ("hub_url", run.target.hub_url(run.slug)), ("stack_gone_at", None)]


def file_works() -> dict[Kind, Work]:
    """The work of each kind."""
    effects = {Kind.DEPLOY: deploy, Kind.DESTROY: destroy}
    kinds = (Kind.DEPLOY, Kind.CHECK, Kind.UPDATE, Kind.REFRESH, Kind.CLOSE, Kind.ARCHIVE, Kind.DESTROY)
    return {kind: work(kind, effects.get(kind, needs_stack)) for kind in kinds}


def main() -> None:
    logs.configure()
    settings, stop = PortalSettings(), threading.Event()
    if sys.argv[1] == "scheduler":
        run_scheduler(settings, stop)
    run_worker(settings, stop, file_works(), beside=[])


if __name__ == "__main__":
    main()
