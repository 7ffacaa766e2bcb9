"""A fleet without a portal: the stacks of a target, each brought to the spec that its own state holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from automation.events import ResourceStep
from automation.failures import CorruptState, OperationFailed
from automation.state import StackState
from course_stack.spec import CourseSpec, SpecError, load_spec
from portal.fleet.rollout import Member, Outcome, Plan

AT_ONCE = 4
"""Updates that run at the same time."""


class Result(Protocol):
    """What an update or a preview did (`automation.stacks.Result`)."""

    @property
    def changes(self) -> Mapping[str, int]: ...
    @property
    def steps(self) -> Sequence[ResourceStep]: ...


class Stacks(Protocol):
    """The stacks of one target (`automation.stacks.CourseStacks`), as far as they are needed here."""

    def list(self) -> Sequence[StackState | CorruptState]: ...
    def preview(self, spec: CourseSpec) -> Result: ...
    def update(self, spec: CourseSpec) -> Result: ...


class FleetOfStacks:
    """All stacks of the target, whatever their course's dates."""

    def __init__(self, stacks: Stacks, target: str) -> None:
        self._stacks = stacks
        self._states = {
            state.name: state
            for state in stacks.list()
            if isinstance(state, StackState) and _target_of(state) == target
        }

    def members(self) -> Sequence[Member]:
        return [Member(slug, _seats_of(state)) for slug, state in self._states.items()]

    def plan(self, slug: str) -> Plan:
        return plan_of(lambda: self._stacks.preview(self._spec(slug)))

    def update(self, slugs: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = {pool.submit(self._update, slug): slug for slug in slugs}
            for done in as_completed(asked):
                yield asked[done], done.result()

    def _update(self, slug: str) -> Outcome:
        try:
            result = self._stacks.update(self._spec(slug))
        except (OperationFailed, SpecError) as failure:
            return Outcome("failed", str(failure))
        return Outcome("updated", in_words(changes_of(result.steps)))

    def _spec(self, slug: str) -> CourseSpec:
        return load_spec(json.loads(str(self._states[slug].output("spec"))))


def plan_of(preview: Callable[[], Result]) -> Plan:
    """What a preview says, or why it failed."""
    try:
        return Plan(changes_of(preview().steps))
    except (OperationFailed, SpecError) as failure:
        return Plan({}, str(failure))


def with_people_of(spec: CourseSpec, state: StackState | None) -> CourseSpec:
    """The spec with the people that the stack was last deployed with, where its state tells: what is previewed is the
    difference that is no matter of people."""
    content = None if state is None else state.output("spec")
    if not isinstance(content, str):
        return spec
    then = load_spec(json.loads(content))
    return spec.model_copy(update={"leads": then.leads, "participants": then.participants})


def changes_of(steps: Sequence[ResourceStep]) -> dict[str, int]:
    """How many resources are created, updated, replaced, deleted. Who is in a group does not count: that is kept in
    step with people's comings and goings, not by updates."""
    found: dict[str, int] = {}
    for step in steps:
        members_only = step.action == "update" and step.resource_type.endswith(":Group")
        if step.action != "same" and not members_only and step.resource_type != "pulumi:pulumi:Stack":
            found[step.action] = found.get(step.action, 0) + 1
    return found


def in_words(changes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {action}" for action, count in sorted(changes.items())) or "nothing"


def _target_of(state: StackState) -> str:
    """Name of the target that the stack was deployed on; nothing for one that was never deployed to its end, which a
    fleet's update leaves alone."""
    content = state.output("target")
    return str(json.loads(content).get("name", "")) if isinstance(content, str) else ""


def _seats_of(state: StackState) -> int:
    return int(json.loads(str(state.output("spec"))).get("seats", 0))
