"""What an operation does with its stack, in the engine's thread of the operation's process.

Every kind begins by repairing what an interrupted run may have left, so that any run after any kill converges.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automation.engine import engine_environment, pulumi_engine
from automation.events import Started, Warned
from automation.failures import ClusterFailed, OnOtherTarget, StackMissing, classify
from automation.locks import break_locks
from automation.settings import StateSettings
from automation.state import StackState, StateStore
from course_stack.kubernetes.api import ClusterError
from course_stack.prepare import Prepared, begin_removal, is_lost, prepare
from course_stack.target import Target

if TYPE_CHECKING:
    from automation.control import Control, Teller
    from automation.job import Job
    from automation.workspace import CourseStack, Watcher

Program = Callable[[], None]


def course(spec: dict[str, Any], target: dict[str, Any], rotation: str) -> Program:
    """The course stack's program, as a `Job` names it."""
    from course_stack.program import course_program
    from course_stack.spec import CourseSpec

    program: Program = course_program(CourseSpec.model_validate(spec), Target.model_validate(target), rotation=rotation)
    return program


def run(job: Job, teller: Teller, control: Control) -> dict[str, Any]:
    """Do the job. Returns `changes`, `outputs`, `secret_outputs`, `differences`, `steps`.

    Raises `OperationFailed`."""
    settings = StateSettings.model_validate(job.settings)
    environment = engine_environment(settings, Path(job.folder))
    with ThreadPoolExecutor(1, "store") as pool:
        # The store is looked at while the engine is being found: both mostly wait.
        looking = pool.submit(_look, job, settings, environment, teller)
        control.engine = engine = pulumi_engine(job.engine)
        teller.event(Started(job.operation, job.kind, job.slug, engine.title))
        from pulumi.automation import CommandError

        from automation.workspace import CourseStack, Watcher, Workspace, diagnostics

        store, state, prepared = looking.result()
    if state is not None and state.salt is not None and settings.passphrase is not None:
        engine.prepare(settings.passphrase.get_secret_value(), state.salt)
    watcher = Watcher(teller.event, expected=0 if state is None else state.resource_count)
    if job.kind == "preview" and state is None:
        # A stack to preview must exist: this one does in the work folder only.
        (Path(job.folder) / "state").mkdir()
        environment["PULUMI_BACKEND_URL"] = f"file://{job.folder}/state"
    workspace = Workspace(
        Path(job.folder), engine.command, environment, _program(job, state), settings.secrets_provider, job.project
    )
    stack = CourseStack(job.slug, workspace)
    operation = _Operation(job, teller, control, store, state, prepared, stack, watcher)
    try:
        getattr(operation, job.kind)()
    except CommandError as error:
        said = diagnostics(error)
        teller.log("\n".join(said))
        raise classify([*watcher.errors, *said], str(error)) from error
    return {
        "changes": watcher.changes,
        "outputs": watcher.outputs,
        "secret_outputs": operation.secret_outputs,
        "differences": [asdict(difference) for difference in watcher.differences],
        "steps": [asdict(step) for step in watcher.steps],
    }


class _Operation:
    """One method a kind."""

    def __init__(
        self,
        job: Job,
        teller: Teller,
        control: Control,
        store: StateStore,
        state: StackState | None,
        prepared: Prepared,
        stack: CourseStack,
        watcher: Watcher,
    ) -> None:
        self._job = job
        self._teller = teller
        self._control = control
        self._store = store
        self._state = state
        self._prepared = prepared
        self._stack = stack
        self._watcher = watcher
        self.secret_outputs: list[str] = []

    def deploy(self) -> None:
        if self._state is None:
            self._remove_leftovers()
            self._control.check()
            self._stack.workspace.create_stack(self._job.slug)
        self.update()

    def update(self) -> None:
        if self._state is None and self._job.kind == "update":
            raise StackMissing(f"There is no stack {self._job.slug} to update: deploy the course first.")
        if self._state is not None and self._state.pending:
            self._warn(f"an earlier run was interrupted at {', '.join(self._state.interrupted)}: repairing")
            self._repair()
        elif self._prepared.lost:
            self._warn("what the state says is there has gone: looking for what is left")
            self._repair()
        self._control.check()
        self._stack.up(on_output=self._watcher.line, on_event=self._watcher)

    def _repair(self) -> None:
        """Bring the state to what is there."""
        self._control.check()
        watcher = self._watcher_of_repair()
        self._stack.refresh(clear_pending_creates=True, on_output=self._watcher.line, on_event=watcher)

    def preview(self) -> None:
        if self._state is None:
            self._stack.workspace.create_stack(self._job.slug)
        self._control.check()
        self._stack.preview(on_output=self._watcher.line, on_event=self._watcher)

    def refresh(self) -> None:
        self._must_exist()
        self._control.check()
        self._stack.preview_refresh(on_output=self._watcher.line, on_event=self._watcher)

    def destroy(self) -> None:
        if self._state is not None:
            if self._state.pending:
                self._warn(
                    f"an earlier run was interrupted at {', '.join(self._state.interrupted)}: removing that as well"
                )
                self._adopt_half_made()
            if self._state.resources or self._state.pending:
                self._control.check()
                self._begin_removal(self._state)
                self._stack.destroy(on_output=self._watcher.line, on_event=self._watcher)
            self._control.check()
            self._stack.workspace.remove_stack_whole(self._job.slug)
        self._remove_leftovers()

    def _begin_removal(self, state: StackState) -> None:
        """What this cannot begin, the engine removes all the same, or says why it cannot."""
        try:
            begin_removal(Target.model_validate(self._job.target), self._job.slug, state.has)
        except ClusterError as error:
            self._teller.log(str(error))

    def outputs(self) -> None:
        self._must_exist()
        self._control.check()
        found = self._stack.workspace.stack_outputs(self._job.slug)
        self._watcher.outputs = {name: output.value for name, output in found.items()}
        self.secret_outputs = sorted(name for name, output in found.items() if output.secret)

    def _must_exist(self) -> None:
        if self._state is None:
            raise StackMissing(f"There is no stack {self._job.slug}.")

    def _adopt_half_made(self) -> None:
        from automation.workspace import adopt_half_made

        self._control.check()
        deployment = self._stack.workspace.export_encrypted(self._job.slug)
        adopt_half_made(deployment)
        self._stack.workspace.import_encrypted(self._job.slug, deployment)

    def _remove_leftovers(self) -> None:
        if removed := self._store.remove_leftovers(self._job.slug):
            self._teller.log(f"removed what an earlier stack of this name left: {', '.join(removed)}")

    def _watcher_of_repair(self) -> Watcher:
        """Its steps are told like others, but are no part of the result."""
        from automation.workspace import Watcher

        return Watcher(self._teller.event, errors=self._watcher.errors)

    def _warn(self, text: str) -> None:
        self._teller.event(Warned(text))


def _look(
    job: Job, settings: StateSettings, environment: dict[str, str], teller: Teller
) -> tuple[StateStore, StackState | None, Prepared]:
    """The stack's state, after locks of dead owners are broken (kinds that lock only), and what the place put right.

    A preview of a course that the place has lost finds no state: all of it would be made anew."""
    store = StateStore.of(settings, job.project, {**os.environ, **environment})
    if job.kind in ("deploy", "update", "destroy"):
        for lock in break_locks(store, job.slug):
            teller.event(Warned(f"broke the lock of {lock}: its owner is dead"))
        store.put_markers(job.slug)
    state = store.stack(job.slug)
    _ensure_on_target(job, state)
    prepared = _prepare(job, state)
    for told in prepared.told:
        teller.event(Warned(told))
    if job.kind == "preview" and prepared.lost:
        teller.event(Warned("what the state says is there has gone: all of it would be made anew"))
        return store, None, prepared
    return store, state, prepared


def _prepare(job: Job, state: StackState | None) -> Prepared:
    """What the place of hubs puts right by itself, before the engine stumbles over it; a preview only looks."""
    if job.kind not in ("deploy", "update", "preview"):
        return Prepared()
    state_has = state.has if state is not None else lambda _kind: False
    target = Target.model_validate(job.target)
    try:
        if job.kind == "preview":
            return Prepared(lost=is_lost(target, job.slug, state_has))
        return prepare(target, job.slug, state_has)
    except ClusterError as error:
        raise ClusterFailed(str(error)) from error


def _ensure_on_target(job: Job, state: StackState | None) -> None:
    """A stack is worked on where it is: elsewhere its objects would be made a second time, or not be found."""
    named = job.target.get("name")
    if job.kind != "outputs" and state is not None and state.target not in (None, named):
        raise OnOtherTarget(
            f"The course {job.slug} is on the target {state.target}, not on {named}: name {state.target}, or destroy "
            "it there first."
        )


def _program(job: Job, state: StackState | None) -> Program:
    if job.spec is None:
        # Destroying, refreshing and reading work from the state.
        return lambda: None
    # An update keeps the tokens of the last deploy; one that never ended has none to keep.
    rotation = job.rotation or (state and state.output("rotation")) or job.operation
    module, _, name = job.program.partition(":")
    program: Program = getattr(importlib.import_module(module), name)(job.spec, job.target, rotation)
    return program
