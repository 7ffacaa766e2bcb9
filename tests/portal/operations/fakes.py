"""Stacks that are rows of a dictionary: what operations did is written down, and they can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automation.events import Difference, LogLine, Progress
from automation.failures import Cancelled, OperationFailed, StackMissing
from automation.lease import Lease, Leases
from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal.operations.kinds import Kind
from portal.worker.claimed import ClaimedRun
from portal.worker.kinds import EngineWork, Work
from portal.worker.stacks import OnEvent, Stacks


class Crash(BaseException):
    """The worker's process dies here: nothing of it runs any more."""


@dataclass(frozen=True)
class FakeResult:
    changes: Mapping[str, int]


@dataclass(frozen=True)
class FakeOutput:
    value: Any


@dataclass
class FakeWorld:
    """All stacks, and what was done to them in order: `deploy SLUG`."""

    stacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    failing: dict[str, int] = field(default_factory=dict)
    """Kind → how many more of its runs fail."""
    before: dict[str, Callable[[str], None]] = field(default_factory=dict)
    """Kind → called with the slug before the effect."""
    after: dict[str, Callable[[str], None]] = field(default_factory=dict)
    """Kind → called with the slug between the effect and its report."""
    drift: list[Difference] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What the independent look finds."""
    unarchived: set[str] = field(default_factory=set)
    """Courses (by id) whose homes were changed since they were archived."""
    rotations: int = 0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def happen(self, kind: str, slug: str, effect: Callable[[], None] = lambda: None) -> None:
        if (before := self.before.get(kind)) is not None:
            before(slug)
        if self.failing.get(kind, 0) > 0:
            self.failing[kind] -= 1
            raise OperationFailed(f"The fake was told to fail at {kind}.")
        effect()
        self.done.append(f"{kind} {slug}")
        if (after := self.after.get(kind)) is not None:
            after(slug)

    def works(self) -> Mapping[Kind, Work]:
        def last_archives(run: ClaimedRun) -> dict[str, Any]:
            self.happen("archive_leads", run.slug, lambda: self.unarchived.discard(str(run.course_id)))
            return {"archived": 0}

        def simple(kind: str) -> Work:
            def work(run: ClaimedRun) -> dict[str, Any]:
                run.check()
                run.step(f"{kind} begins")
                self.happen(kind, run.slug)
                return {}

            return work

        def archive(run: ClaimedRun) -> dict[str, Any]:
            self.happen("archive", run.slug, lambda: self.unarchived.discard(str(run.course_id)))
            return {}

        engine = EngineWork(lambda target: FakePlace(self, target), last_archives=last_archives)
        return {
            Kind.DEPLOY: engine.deploy,
            Kind.UPDATE: engine.update,
            Kind.REFRESH: engine.refresh,
            Kind.DESTROY: engine.destroy,
            Kind.CHECK: simple("check"),
            Kind.CLOSE: simple("close"),
            Kind.ARCHIVE: archive,
        }


@dataclass
class FakePlace:
    world: FakeWorld
    target: Target

    def stacks(self, leases: Leases | None = None) -> Stacks:
        return FakeStacks(self.world, self.target, leases)

    def traces(self, slug: str) -> Sequence[str]:
        return [*self.world.left, *(["its stack"] if slug in self.world.stacks else [])]


class FakeStacks:
    """As `automation.stacks.CourseStacks`, at once."""

    def __init__(self, world: FakeWorld, target: Target, leases: Leases | None) -> None:
        self._world = world
        self._target = target
        self._leases = leases

    def deploy(self, spec: CourseSpec, *, on_event: OnEvent | None = None, operation: str | None = None) -> FakeResult:
        return self._apply("deploy", spec, on_event, operation)

    def update(self, spec: CourseSpec, *, on_event: OnEvent | None = None, operation: str | None = None) -> FakeResult:
        if spec.slug not in self._world.stacks:
            raise StackMissing(f"There is no stack {spec.slug}.")
        return self._apply("update", spec, on_event, operation)

    def destroy(self, slug: str, *, on_event: OnEvent | None = None, operation: str | None = None) -> FakeResult:
        lease = self._lease("destroy", slug, operation)
        self._world.happen("destroy", slug, lambda: self._world.stacks.pop(slug, None) and None)
        lease.release()
        return FakeResult({"delete": 1})

    def refresh(self, slug: str, *, on_event: OnEvent | None = None) -> Sequence[Difference]:
        self._world.happen("refresh", slug)
        return self._world.drift

    def outputs(self, slug: str) -> Mapping[str, FakeOutput]:
        url = self._target.hub_url(slug)
        found = {"hub_url": url, "api_url": f"{url}hub/api", "api_token": f"token-{self._world.rotations}"}
        return {name: FakeOutput(value) for name, value in found.items()}

    def cancel(self, slug: str) -> bool:
        self._world.cancelled.set()
        return True

    def _apply(self, kind: str, spec: CourseSpec, on_event: OnEvent | None, operation: str | None) -> FakeResult:
        lease = self._lease(kind, spec.slug, operation)
        tell = on_event or (lambda event: None)
        tell(LogLine(f"{kind} of {spec.slug}"))

        def effect() -> None:
            lease.renew()
            self._world.rotations += kind == "deploy"
            self._world.stacks[spec.slug] = spec.model_dump(mode="json")

        self._world.happen(kind, spec.slug, effect)
        tell(Progress(1, 1))
        lease.release()
        return FakeResult({"create": 1})

    def _lease(self, kind: Any, slug: str, operation: str | None) -> Lease:
        assert self._leases is not None
        assert operation is not None
        lease = self._leases.acquire(slug, kind, operation)
        lease.settle()
        return lease


def wait_for_cancel(world: FakeWorld, seconds: float = 30) -> Callable[[str], None]:
    """Hangs until the operation is cancelled."""

    def hang(_: str) -> None:
        assert world.cancelled.wait(seconds), "nobody cancelled"
        raise Cancelled("The operation was cancelled.")

    return hang
