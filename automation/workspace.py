"""One stack as an operation works on it: the Automation API's own classes without the commands that we do not need.

One `Stack.up()` is four commands (up, two times output, history) and selecting a stack is a fifth; each starts the CLI
and opens the store again. The outputs that we show are in the engine's events, and history is read by nobody here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi.automation import (
    EngineEvent,
    LocalWorkspace,
    OutputMap,
    ProjectSettings,
    PulumiCommand,
    Stack,
    UpdateSummary,
)
from pulumi.automation.events import StepEventMetadata

from automation.events import Difference, Event, LogLine, Progress, ResourceStep

PROJECT = "jhaas-course"

RELEASE = "kubernetes:helm.sh/v3:Release"

_SPECIAL = "4dabf18193072939515e22adb298388d"


class Workspace(LocalWorkspace):
    """A folder of one operation. Every command names its stack, so none is selected (that leaves a file)."""

    def __init__(
        self,
        folder: Path,
        command: PulumiCommand,
        environment: dict[str, str],
        program: Callable[[], None],
        secrets_provider: str | None,
        project: str = PROJECT,
    ) -> None:
        super().__init__(
            work_dir=str(folder),
            pulumi_command=command,
            env_vars=environment,
            program=program,
            secrets_provider=secrets_provider,
            project_settings=ProjectSettings(name=project, runtime="python", main=str(folder)),
        )

    def select_stack(self, stack_name: str) -> None:
        """Nothing to do."""

    def create_stack(self, stack_name: str) -> None:
        args = ["stack", "init", stack_name, "--no-select"]
        if self.secrets_provider:
            args += ["--secrets-provider", self.secrets_provider]
        self._run_pulumi_cmd_sync(args)

    def remove_stack_whole(self, stack_name: str) -> None:
        """Remove the stack with its copies and backups, which `remove_stack` leaves."""
        self._run_pulumi_cmd_sync(["stack", "rm", "--yes", "--remove-backups", stack_name])

    def export_encrypted(self, stack_name: str) -> dict[str, Any]:
        """The stack's deployment with its secrets as they are stored (`export_stack` decrypts them)."""
        exported: dict[str, Any] = json.loads(
            self._run_pulumi_cmd_sync(["stack", "export", "--stack", stack_name]).stdout
        )
        return exported

    def import_encrypted(self, stack_name: str, deployment: dict[str, Any]) -> None:
        """Put a deployment of `export_encrypted` in the stack's place."""
        path = Path(self.work_dir) / "deployment.json"
        path.write_text(json.dumps(deployment))
        self._run_pulumi_cmd_sync(["stack", "import", "--file", str(path), "--stack", stack_name])
        path.unlink()


class CourseStack(Stack):
    """`Stack` whose `up`, `refresh` and `destroy` are one command each."""

    workspace: Workspace

    def __init__(self, name: str, workspace: Workspace) -> None:
        # Not the base class's: it would select the stack by a command.
        self.name = name
        self.workspace = workspace

    def outputs(self) -> OutputMap:
        """None: they are in the events (`Watcher.outputs`)."""
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:  # noqa: ARG002 - the signature is the base class's
        """A summary that says nothing: what happened is in the events (`Watcher.changes`)."""
        return UpdateSummary(kind="", start_time=datetime.now(UTC), message="", environment={}, config={}, result="")


@dataclass
class Watcher:
    """Turns the engine's events into ours, and keeps what the result needs. `emit` must not raise."""

    emit: Callable[[Event], None]
    expected: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, object] = field(default_factory=dict)
    """Outputs of the stack; secret ones read `[secret]`."""
    errors: list[str] = field(default_factory=list)
    steps: list[ResourceStep] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    _begun: set[str] = field(default_factory=set)
    _done: set[str] = field(default_factory=set)

    def __call__(self, event: EngineEvent) -> None:
        """One event of the engine (called from the Automation API's thread)."""
        step = event.resource_pre_event or event.res_outputs_event or event.res_op_failed_event
        if step is not None and step.metadata.type.startswith("pulumi:providers:"):
            # The engine's own book-keeping; nothing of the course.
            return
        if (before := event.resource_pre_event) is not None:
            self._begun.add(before.metadata.urn)
            self._step(before.metadata, "begun")
        elif (after := event.res_outputs_event) is not None:
            self._finish(after.metadata)
        elif (failed := event.res_op_failed_event) is not None:
            self._step(failed.metadata, "failed")
        elif (said := event.diagnostic_event) is not None:
            if said.severity == "error":
                self.errors.append(said.message)
        elif (summary := event.summary_event) is not None:
            self.changes = {str(getattr(op, "value", op)): count for op, count in summary.resource_changes.items()}

    def line(self, text: str) -> None:
        """One line of the engine's plain output."""
        if text.strip():
            self.emit(LogLine(text.rstrip()))

    def _finish(self, metadata: StepEventMetadata) -> None:
        self._done.add(metadata.urn)
        self._step(metadata, "done")
        self.emit(Progress(len(self._done), max(self.expected, len(self._begun | self._done))))
        if metadata.type == "pulumi:pulumi:Stack" and metadata.new is not None and metadata.new.outputs:
            self.outputs = {name: _shown(value) for name, value in metadata.new.outputs.items()}
        op = _word(metadata.op)
        if metadata.old is not None and metadata.type != "pulumi:pulumi:Stack":
            if op == "delete":
                self.differences.append(Difference(_name(metadata.urn), metadata.type, "gone"))
            elif op == "update":
                old, new = metadata.old.outputs or {}, (metadata.new.outputs if metadata.new else None) or {}
                changed = tuple(sorted(k for k in {*old, *new} if old.get(k) != new.get(k) and not k.startswith("__")))
                self.differences.append(Difference(_name(metadata.urn), metadata.type, "changed", changed))

    def _step(self, metadata: StepEventMetadata, state: Any) -> None:
        step = ResourceStep(_name(metadata.urn), metadata.type, _word(metadata.op), state)
        if state != "begun":
            self.steps.append(step)
        self.emit(step)


def adopt_half_made(deployment: dict[str, Any]) -> list[str]:
    """Turn interrupted creates of a deployment (`export_encrypted`) into resources, so that destroying deletes them.

    An interrupted create may or may not have made its object; forgetting it would leave the object behind. Our
    providers' deletes find objects by names that are among the inputs, and succeed when there is nothing to delete.
    A release goes with its namespace.
    Returns the names of what was adopted; every interrupted step is cleared.
    """
    latest = deployment["deployment"]
    resources: list[dict[str, Any]] = latest.setdefault("resources", [])
    known = {resource["urn"] for resource in resources}
    adopted = []
    for operation in latest.pop("pending_operations", None) or ():
        resource = operation["resource"]
        if operation["type"] != "creating" or not resource.get("custom") or resource["type"] == RELEASE:
            continue
        adopted.append(_name(resource["urn"]))
        whole = {**resource, "id": resource.get("id") or _id_of(resource)}
        whole["outputs"] = {**resource.get("inputs", {}), **resource.get("outputs", {})}
        if resource["urn"] in known:
            # A replacement: the old object is in the state under the same name, this one goes beside it as deleted.
            whole["delete"] = True
        resources.append(whole)
    return adopted


def _id_of(resource: dict[str, Any]) -> str:
    """The id that its provider would have given it."""
    inputs: dict[str, Any] = resource.get("inputs", {})
    if resource["type"].startswith("kubernetes:"):
        # NAMESPACE/NAME, and NAME for what lies in no namespace; a Helm release names both itself
        named = inputs.get("metadata", inputs)
        return "/".join(str(named[part]) for part in ("namespace", "name") if isinstance(named.get(part), str))
    # A provider of ours gives each object the name as id that identifies it among the inputs.
    named_by = [inputs[name] for name in ("name", "slug", "user") if isinstance(inputs.get(name), str)]
    return str([*named_by, _name(resource["urn"])][0])


def diagnostics(error: Exception) -> list[str]:
    """What a failed command said on its error output (the Automation API puts it into the exception's text)."""
    text = str(error)
    found = re.search(r"^ stderr: (.*)", text, re.MULTILINE | re.DOTALL)
    return [found.group(1)] if found and found.group(1).strip() else []


def _shown(value: object) -> object:
    """An output without its secrets: they come encrypted, marked by Pulumi's key for special values."""
    if isinstance(value, dict):
        return "[secret]" if _SPECIAL in value else {name: _shown(inner) for name, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, list) else value


def _word(op: object) -> str:
    return str(getattr(op, "value", op))


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]
