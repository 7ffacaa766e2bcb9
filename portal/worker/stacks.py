"""What the work of operations needs of course stacks, and the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from automation.audit import Audit
from automation.events import Difference, Event
from automation.lease import Leases
from course_stack.spec import CourseSpec
from course_stack.target import Target

if TYPE_CHECKING:
    from automation.stacks import CourseStacks

OnEvent = Callable[[Event], None]


class Result(Protocol):
    """What an operation did (`automation.stacks.Result`)."""

    @property
    def changes(self) -> Mapping[str, int]: ...


class Output(Protocol):
    """One output of a stack, in clear text."""

    @property
    def value(self) -> Any: ...


class Stacks(Protocol):
    """The course stacks of a target (`automation.stacks.CourseStacks`), as far as operations use them."""

    def deploy(self, spec: CourseSpec, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result: ...

    def update(self, spec: CourseSpec, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result: ...

    def destroy(self, slug: str, *, on_event: OnEvent | None = None, operation: str | None = None) -> Result: ...

    def refresh(self, slug: str, *, on_event: OnEvent | None = None) -> Sequence[Difference]: ...

    def outputs(self, slug: str) -> Mapping[str, Output]: ...

    def cancel(self, slug: str) -> bool: ...


class Place(Protocol):
    """Where the stacks of one target are worked on."""

    def stacks(self, leases: Leases | None = None) -> Stacks: ...

    def traces(self, slug: str) -> Sequence[str]:
        """Everything of one course that is still there, in words, asked of each part itself: cluster or machine,
        identity provider, object store, and the store of the stacks' state."""
        ...


PlaceOf = Callable[[Target], Place]


class RealPlace:
    """A target as this machine's settings reach it (`JHAAS_STATE_…`, `JHAAS_CREDENTIALS_DIR`, `JHAAS_HOME`)."""

    def __init__(self, target: Target) -> None:
        from automation.settings import StateSettings
        from course_stack.local.layout import Layout

        self._target = target
        self._layout = Layout(target.home) if target.home else Layout.of_environment()
        self._state = StateSettings.load(self._layout)

    def stacks(self, leases: Leases | None = None) -> CourseStacks:
        from automation.stacks import CourseStacks

        return CourseStacks(self._state, self._target, self._layout, leases=leases)

    def sweep(self) -> Sequence[str]:
        """Remove what may be left when all is over (`CourseStacks.sweep`)."""
        from automation.stacks import CourseStacks

        return CourseStacks(self._state, self._target, self._layout).sweep()

    def audit(self) -> Audit:
        """All stacks of the state store compared with what is really there."""
        from automation.reality import reality_of
        from automation.stacks import CourseStacks

        stacks = CourseStacks(self._state, self._target, self._layout)
        return stacks.audit(reality_of(self._target, self._layout))

    def traces(self, slug: str) -> Sequence[str]:
        from automation.reality import reality_of
        from automation.state import StateStore
        from course_stack.program import PROJECT

        store = StateStore.of(self._state, PROJECT)
        state = [f"state: {key}" for key in store.leftovers(slug)]
        if store.stack(slug) is not None:
            state.append(f"stack {slug}")
        return [*reality_of(self._target, self._layout).traces(slug), *state]
