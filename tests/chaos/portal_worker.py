"""A worker for whom stacks of the target `files` are files, and all others real (`-m tests.chaos.portal_worker`)."""

from __future__ import annotations

import signal
import threading
from typing import Any

from portal import logs
from portal.local import settings_in_force
from portal.operations.kinds import Kind
from portal.worker.claimed import ClaimedRun
from portal.worker.kinds import Work, works
from portal.worker.main import run
from portal.worker.stacks import RealPlace
from tests.portal.operations.file_stacks import file_works

FILES = "files"


def main() -> None:
    """As `portal.worker.main.main`, with both kinds of works."""
    logs.configure()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    real, files = works(RealPlace), file_works()

    def chosen(kind: Kind) -> Work:
        def work(one: ClaimedRun) -> dict[str, Any]:
            return (files if one.target.name == FILES else real)[kind](one)

        return work

    run(settings_in_force(), stop, {kind: chosen(kind) for kind in real})


if __name__ == "__main__":
    main()
