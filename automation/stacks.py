"""Courses as stacks: deploy, update, preview, refresh, destroy, and what is there. This is what the portal calls."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Protocol

from automation import processes
from automation.audit import Audit, Reality, compare
from automation.engine import EngineChoice, engine_choice, operation_environment, target_environment
from automation.events import Difference, Event, Finished, OperationKind, ResourceStep, from_json
from automation.failures import CorruptState, Died, LeaseLost, OperationFailed, by_name, classify
from automation.job import Job, Timing
from automation.lease import FileLeases, Lease, Leases
from automation.locks import break_locks
from automation.settings import StateSettings
from automation.state import Lock, StackState, StateStore
from course_stack.local.layout import Layout
from course_stack.target import Target

OnEvent = Callable[[Event], None]


class Spec(Protocol):
    """What we need to know of a `CourseSpec`."""

    @property
    def slug(self) -> str: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation did. `changes` counts resources by Pulumi's words: create, update, delete, same, …"""

    operation: str
    slug: str
    log: Path
    changes: Mapping[str, int]
    outputs: Mapping[str, Any]
    """Outputs of the stack; secret ones read `[secret]` (ask `CourseStacks.outputs` for them)."""
    steps: tuple[ResourceStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a stack."""

    value: Any = field(repr=False)
    secret: bool


class CourseStacks:
    """All course stacks of one target.

    Every operation is a process tree of its own (`automation.operation`), whose log is
    `operations/logs/SLUG/OPERATION.log` in the data folder. Operations raise `OperationFailed` or one of its kinds, and
    `Busy` at once if another operation has the course. What an interrupted run left is repaired by the next one.

    `on_event` is called in the calling thread; what it raises goes into the log and changes nothing.
    """

    def __init__(
        self,
        settings: StateSettings,
        target: Target,
        layout: Layout,
        *,
        leases: Leases | None = None,
        engine: EngineChoice | None = None,
        timing: Timing | None = None,
        project: str = "jhaas-course",
        program: str = "automation.work:course",
    ) -> None:
        self._settings = settings
        self._target = target
        self._layout = layout
        self._leases = leases or FileLeases(layout.operations / "leases")
        self._engine = engine or engine_choice()
        self._timing = timing or Timing()
        self._project = project
        self._program = program
        self._running: dict[str, _Child] = {}

    def deploy(self, spec: Spec, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result:
        """Create the course's stack, or bring it to the spec; the hub's tokens are made anew."""
        return self._mutate("deploy", spec.slug, spec, on_event, operation)

    def update(self, spec: Spec, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result:
        """Bring an existing stack to the spec. Raises `StackMissing`."""
        return self._mutate("update", spec.slug, spec, on_event, operation)

    def destroy(self, slug: str, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result:
        """Remove everything of the course: its resources, its stack with backups and history, and what an interrupted
        removal left. Succeeds where there is nothing."""
        return self._mutate("destroy", slug, None, on_event, operation)

    def preview(self, spec: Spec, *, on_event: OnEvent | None = None) -> Result:
        """What `deploy` would do, as `steps` and `changes`; changes nothing."""
        return self._result(*self._run("preview", spec.slug, spec, on_event, None, None))

    def refresh(self, slug: str, *, on_event: OnEvent | None = None) -> Sequence[Difference]:
        """What differs between the stack's state and what there is; changes nothing. Raises `StackMissing`."""
        _, content = self._run("refresh", slug, None, on_event, None, None)
        return [Difference(**{**found, "fields": tuple(found["fields"])}) for found in content["differences"]]

    def outputs(self, slug: str) -> dict[str, Output]:
        """The stack's outputs, secret ones in clear text. Raises `StackMissing`."""
        job, content = self._run("outputs", slug, None, None, None, None)
        # Nothing happened of which a record would be wanted.
        self.log(slug, job.operation).unlink()
        return {name: Output(value, name in content["secret_outputs"]) for name, value in content["outputs"].items()}

    def names(self) -> Sequence[str]:
        """Slugs of all stacks, by a look at the keys of the store alone."""
        return self._store().names()

    def state(self, slug: str) -> StackState | None:
        """One stack as its state says; None if there is none. Raises `CorruptState`."""
        return self._store().stack(slug)

    def list(self) -> Sequence[StackState | CorruptState]:
        """Every stack as its state says; one that cannot be read is given as its failure."""
        return self._store().stacks()

    def audit(self, reality: Reality) -> Audit:
        """What the state store says compared with what really runs; changes nothing."""
        store = self._store()
        with ThreadPoolExecutor(3) as pool:
            stacks, locks = pool.submit(store.stacks), pool.submit(store.all_locks)
            left = pool.submit(store.all_leftovers)
            found = reality.found()
            return compare(
                stacks.result(),
                locks.result(),
                left.result(),
                found,
                reality.things_of,
                reality.may_stay,
                target=self._target.name,
            )

    def unlock(self, slug: str, *, force: bool = False) -> Sequence[Lock]:
        """Break the locks of a stack whose owners are proven dead; with `force` the others too.

        Raises `Busy` while an operation works on the course, and `StackLocked` for a lock that may be held.
        """
        operation = _new_id("unlock", slug)
        lease = self._leases.acquire(slug, "unlock", operation)
        try:
            self._end_predecessors(lease)
            return break_locks(self._store(), slug, force=force)
        finally:
            lease.release()

    def sweep(self, older_than: timedelta = timedelta(hours=1)) -> Sequence[str]:
        """Remove what may be left when all is over: markers of destroyed stacks in the store (see
        `automation.state.MARKER`), and work folders of dead operations of this machine. Returns their names."""
        border = time.time() - older_than.total_seconds()
        work = self._layout.operations / "work"
        dead = [
            folder
            for folder in (work.iterdir() if work.is_dir() else ())
            if folder.stat().st_mtime <= border and not processes.of_operation(folder.name)
        ]
        for folder in dead:
            shutil.rmtree(folder, ignore_errors=True)
        return [*self._store().sweep_markers(older_than), *(folder.name for folder in dead)]

    def cancel(self, slug: str) -> bool:
        """Ask the operation that this process runs on the course to stop; False if there is none.

        Running steps end first; see `Timing`. May be called from any thread, also from `on_event`.
        """
        child = self._running.get(slug)
        if child is None:
            return False
        child.cancel()
        return True

    def log(self, slug: str, operation: str) -> Path:
        """Where the log of an operation is."""
        return self._layout.operations / "logs" / slug / f"{operation}.log"

    def _mutate(
        self, kind: OperationKind, slug: str, spec: Spec | None, on_event: OnEvent | None, operation: str | None
    ) -> Result:
        operation = operation or _new_id(kind, slug)
        with _disk_failures():
            lease = self._leases.acquire(slug, kind, operation)
        try:
            with _disk_failures():
                self._end_predecessors(lease)
            return self._result(*self._run(kind, slug, spec, on_event, operation, lease))
        finally:
            lease.release()

    def _end_predecessors(self, lease: Lease) -> None:
        """Operations that held the lease and never gave it back: end what still lives of them."""
        for predecessor in lease.predecessors:
            processes.kill_operation(predecessor)
            shutil.rmtree(self._folder(predecessor), ignore_errors=True)
        lease.settle()

    def _store(self) -> StateStore:
        return StateStore.of(self._settings, self._project)

    def _run(
        self,
        kind: OperationKind,
        slug: str,
        spec: Spec | None,
        on_event: OnEvent | None,
        operation: str | None,
        lease: Lease | None,
    ) -> tuple[Job, dict[str, Any]]:
        """Run the child process to its end; its result, or the failure that it told."""
        operation = operation or _new_id(kind, slug)
        folder = self._folder(operation)
        log = self.log(slug, operation)
        with _disk_failures():
            folder.mkdir(mode=0o700, parents=True)
            log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            log.touch(mode=0o600)
        job = Job(
            operation=operation,
            kind=kind,
            slug=slug,
            project=self._project,
            program=self._program,
            spec=None if spec is None else spec.model_dump(mode="json"),
            target=self._target.model_dump(mode="json"),
            rotation=None if kind in ("update", "preview") else operation,
            settings=self._settings.to_pipe(),
            folder=str(folder),
            engine=self._engine,
            lease_lifetime=None if lease is None else lease.lifetime,
            timing=self._timing,
        )
        environment = {**operation_environment(operation), **target_environment(self._target, self._layout)}
        try:
            with log.open("ab") as log_file:
                child = _Child(job, environment, log_file, lease)
                if lease is not None:
                    self._running[slug] = child
                return job, child.run(on_event)
        except OperationFailed as failure:
            failure.operation, failure.log = operation, str(log)
            raise
        finally:
            if lease is not None:
                self._running.pop(slug, None)
            # The child has ended; whatever it could not end itself (it may have been killed) ends here.
            processes.kill_operation(operation)
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, operation: str) -> Path:
        return self._layout.operations / "work" / operation

    def _result(self, job: Job, content: dict[str, Any]) -> Result:
        steps = tuple(ResourceStep(**step) for step in content["steps"])
        return Result(
            job.operation, job.slug, self.log(job.slug, job.operation), content["changes"], content["outputs"], steps
        )


class _Child:
    """The operation's process, seen from the process that started it."""

    def __init__(self, job: Job, environment: dict[str, str], log: IO[bytes], lease: Lease | None) -> None:
        self._job = job
        self._log = log
        self._lease = lease
        self._failure: OperationFailed | None = None
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._process = subprocess.Popen(
            # -P: nothing is imported from the folder that it works in.
            [sys.executable, "-P", "-m", "automation.operation"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=job.folder,
            # A terminal's Ctrl-C reaches us only; we cancel in steps.
            start_new_session=True,
        )
        self._send(job.to_line())

    def run(self, on_event: OnEvent | None) -> dict[str, Any]:
        """Until the child has ended. Raises the failure that it told."""
        renewing = threading.Thread(target=self._watch, name=f"lease of {self._job.slug}", daemon=True)
        renewing.start()
        interrupt: KeyboardInterrupt | None = None
        result: dict[str, Any] | None = None
        finished: Finished | None = None
        assert self._process.stdout is not None
        lines = iter(self._process.stdout.readline, b"")
        while True:
            try:
                line = next(lines, None)
                if line is None:
                    break
                if line.startswith(b'{"type": "result"'):
                    result = json.loads(line)
                    continue
                event = from_json(line.decode())
                finished = event if isinstance(event, Finished) else finished
                if on_event is not None:
                    self._tell(on_event, event)
            except KeyboardInterrupt as error:
                interrupt = error
                self.cancel()
        self._process.wait()
        self._ended.set()
        renewing.join()
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._process.stdin.close() if self._process.stdin else None
        self._process.stdout.close()
        if interrupt is not None:
            raise interrupt
        if finished is not None and finished.failure is not None:
            raise by_name(finished.failure)(finished.message)
        if finished is None or result is None:
            raise self._failure or self._death()
        return result

    def cancel(self) -> None:
        """Ask the child to stop."""
        self._send(b"cancel\n")

    def _death(self) -> OperationFailed:
        number = -self._process.returncode
        if number > 0:
            return Died(
                f"The process of operation {self._job.operation} was killed from outside "
                f"({signal.Signals(number).name}). Nothing is lost: run it again."
            )
        return OperationFailed(
            f"The process of operation {self._job.operation} ended without a result; the end of its log says why "
            f"({self._log.name})."
        )

    def _watch(self) -> None:
        """Renew the lease and say so to the child; kill the child's tree if it does not end in its time."""
        timing = self._job.timing
        # What the child allows itself, and then some: it ends itself unless it is stopped or stuck.
        last_moment = time.monotonic() + timing.deadline + timing.graceful + timing.abort + 15
        interval = 5.0 if self._lease is None else self._lease.lifetime / 4
        while not self._ended.wait(interval):
            if self._lease is not None:
                try:
                    self._lease.renew()
                except LeaseLost as failure:
                    self._failure = failure
                    processes.kill_operation(self._job.operation)
                    return
            self._send(b"renew\n")
            if time.monotonic() > last_moment:
                processes.kill_operation(self._job.operation)
                return

    def _tell(self, on_event: OnEvent, event: Event) -> None:
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001 - whoever watches must not change what happens
            with contextlib.suppress(OSError):
                self._log.write(f"a watcher of the events failed: {type(error).__name__}: {error}\n".encode())
                self._log.flush()

    def _send(self, content: bytes) -> None:
        with self._writing, contextlib.suppress(BrokenPipeError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(content)
            self._process.stdin.flush()


@contextlib.contextmanager
def _disk_failures() -> Iterator[None]:
    """A data folder that is full or may not be written is a failure like others."""
    try:
        yield
    except TimeoutError as error:
        raise OperationFailed(f"An earlier operation cannot be ended: {error}") from error
    except OSError as error:
        raise classify([f"OSError: {error}"]) from error


def _new_id(kind: OperationKind, slug: str) -> str:
    return f"{slug}-{kind}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
