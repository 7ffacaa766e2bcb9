"""The child process: it ends itself and its whole tree when it may no longer work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from automation import processes
from automation.engine import operation_environment
from automation.events import OperationKind
from automation.failures import DeadlinePassed, LeaseLost
from automation.job import Job, Timing
from automation.lease import FileLease, FileLeases
from tests.automation.conftest import TARGET, Site
from tests.automation.tiny import PROGRAM
from tests.support.waiting import wait_for


class Child:
    """An operation's process, driven by hand."""

    def __init__(self, site: Site, **fields: Any) -> None:
        self.operation = f"by-hand-{os.getpid()}-{fields.get('lease_lifetime')}"
        folder = site.layout.operations / "work" / self.operation
        folder.mkdir(parents=True, mode=0o700)
        job = Job(
            operation=self.operation,
            kind="deploy",
            slug="course-one",
            project="jhaas-course",
            program=PROGRAM,
            spec=site.spec(slow={"create one": 60}).model_dump(mode="json"),
            target=TARGET.model_dump(mode="json"),
            rotation="one",
            settings=site.settings.to_pipe(),
            folder=str(folder),
            engine="auto",
            lease_lifetime=None,
            timing=Timing(deadline=120, graceful=30, abandoned=0.5, abort=0.5),
        )
        self.log = site.home / "by-hand.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "automation.operation"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=operation_environment(self.operation),
            )
        assert self.process.stdin is not None
        self.process.stdin.write(replace(job, **fields).to_line())
        self.process.stdin.flush()

    def finished(self) -> dict[str, Any]:
        """The last event, once the process has ended."""
        assert self.process.stdout is not None
        lines = self.process.stdout.read().splitlines()
        self.process.wait()
        self.process.stdout.close()
        last: dict[str, Any] = json.loads(lines[-1])
        return last


def test_it_ends_with_its_tree_when_stdin_closes(site: Site) -> None:
    child = Child(site)
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    assert len(processes.of_operation(child.operation)) >= 2

    assert child.process.stdin is not None
    child.process.stdin.close()

    assert child.finished()["failure"] == "LeaseLost"
    assert processes.of_operation(child.operation) == []
    assert site.work_folders() == []


def test_it_ends_with_its_tree_before_a_lease_that_nobody_renews_is_over(site: Site) -> None:
    child = Child(site, lease_lifetime=6.0)

    assert child.finished()["failure"] == "LeaseLost"
    assert child.process.stdin is not None
    child.process.stdin.close()

    assert processes.of_operation(child.operation) == []
    assert site.work_folders() == []


def test_asked_to_end_by_a_signal_it_ends_in_order(site: Site) -> None:
    child = Child(site)
    wait_for(lambda: site.dwells("create one"), "the first file is made")

    child.process.terminate()
    wait_for(lambda: "ending: The operation was cancelled" in child.log.read_text(), "the end is begun")
    assert child.process.stdin is not None
    child.process.stdin.close()

    assert child.finished()["failure"] == "Cancelled"
    assert processes.of_operation(child.operation) == []


def test_an_operation_ends_at_its_deadline_and_the_next_run_goes_on(site: Site) -> None:
    stacks = site.stacks(timing=Timing(deadline=4, graceful=0.5, abandoned=0.5, abort=0.5))

    with pytest.raises(DeadlinePassed, match="within 4 s") as failed:
        stacks.deploy(site.spec(slow={"create one": 60}))

    assert processes.of_operation(failed.value.operation) == []
    assert site.work_folders() == []
    site.stacks().deploy(site.spec())
    assert site.files() == {"one": "first", "two": "first"}


def test_a_lease_that_is_lost_ends_the_operation(site: Site) -> None:
    class LostLeases(FileLeases):
        def acquire(self, slug: str, kind: OperationKind, operation: str) -> FileLease:
            lease = super().acquire(slug, kind, operation)
            lease.renew = lost  # type: ignore[method-assign]
            return lease

    def lost() -> None:
        raise LeaseLost("The lease of course-one went to somebody else.")

    stacks = site.stacks(leases=LostLeases(site.layout.operations / "leases", lifetime=4))

    with pytest.raises(LeaseLost, match="somebody else") as failed:
        stacks.deploy(site.spec(slow={"create one": 60}))

    assert processes.of_operation(failed.value.operation) == []
