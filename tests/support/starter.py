"""`python -m tests.support.starter`: one operation, started by a process of its own that a test can kill.

stdin: one JSON line (home, settings, target, program, kind, slug, spec). stdout: one JSON line when it has ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from automation import processes
from automation.failures import OperationFailed
from automation.job import Timing
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.local.layout import Layout
from course_stack.target import Target


class AnySpec(BaseModel):
    """Whatever the program takes."""

    model_config = ConfigDict(extra="allow")

    slug: str


class Started:
    """An operation that another process has started, and the ways to kill it."""

    def __init__(
        self,
        home: Path,
        settings: StateSettings,
        target: Target,
        kind: str,
        slug: str,
        spec: Mapping[str, Any] | None = None,
        program: str = "automation.work:course",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._home = home
        self._slug = slug
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.starter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        job = {
            "home": str(home), "settings": settings.to_pipe(), "target": target.model_dump(mode="json"),
            "program": program, "kind": kind, "slug": slug, "spec": None if spec is None else dict(spec),
        }  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def operation(self) -> str | None:
        """The operation's id, once it holds the lease."""
        try:
            record = json.loads((self._home / "operations" / "leases" / f"{self._slug}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        holder = record["holder"]
        return holder["operation"] if holder and holder["process"]["pid"] == self.process.pid else None

    @property
    def child(self) -> int | None:
        """The operation's own process, the root of its tree."""
        return next(iter(processes.children(self.process.pid)), None)

    def kill_starter(self) -> None:
        """Only the process that started the operation."""
        self.process.send_signal(signal.SIGKILL)

    def kill_child(self) -> None:
        """Only the root of the operation's tree."""
        if (child := self.child) is not None:
            processes.send(child, signal.SIGKILL)

    def kill_everything(self) -> None:
        """The starter and the whole tree, as when the machine's power fails."""
        operation = self.operation
        self.kill_starter()
        if operation is not None:
            processes.kill_operation(operation)

    def wait(self, seconds: float = 120) -> dict[str, Any]:
        """What the starter told at its end; empty if it was killed."""
        told, _ = self.process.communicate(timeout=seconds)
        answer: dict[str, Any] = json.loads(told) if told else {}
        return answer


def main() -> None:
    """See the module."""
    job = json.loads(sys.stdin.readline())
    stacks = CourseStacks(
        StateSettings.model_validate(job["settings"]),
        Target.model_validate(job["target"]),
        Layout(Path(job["home"])),
        program=job["program"],
        timing=Timing(deadline=120, graceful=20, abandoned=0.5, abort=0.5),
    )
    try:
        if job["kind"] == "destroy":
            result = stacks.destroy(job["slug"])
        else:
            result = getattr(stacks, job["kind"])(AnySpec.model_validate(job["spec"]))
        print(json.dumps({"changes": dict(result.changes)}))
    except OperationFailed as failure:
        print(json.dumps({"failure": type(failure).__name__, "message": str(failure)}))


if __name__ == "__main__":
    main()
