"""A fleet without a portal: stacks brought to the spec that their own state holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from automation.events import ResourceStep
from automation.failures import CorruptState, OperationFailed
from automation.state import StackState
from course_stack.spec import CourseSpec, load_spec
from portal.fleet.of_stacks import FleetOfStacks, changes_of, with_people_of
from portal.fleet.rollout import Plan, roll_out, waves
from tests.automation.conftest import TARGET
from tests.course_stack.specs import course

GROUP = "pulumi-python:dynamic/jhaas:Group"
RELEASE = "kubernetes:helm.sh/v3:Release"


def deployed(slug: str, seats: int = 20, target: str = "trial") -> StackState:
    spec = load_spec(course(slug=slug, seats=seats))
    on = TARGET.model_copy(update={"name": target})
    outputs = {"spec": spec.model_dump_json(), "target": on.model_dump_json()}
    return StackState(slug, None, ({"urn": "urn:x", "type": "pulumi:pulumi:Stack", "outputs": outputs},))


@dataclass
class Done:
    steps: Sequence[ResourceStep]
    changes: dict[str, int] = field(default_factory=dict)


@dataclass
class Stacks:
    """Stacks of which the given ones have something to change, or fail."""

    states: list[StackState | CorruptState]
    behind: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    updated: list[str] = field(default_factory=list)

    def list(self) -> Any:
        return self.states

    def preview(self, spec: CourseSpec) -> Done:
        if spec.slug in self.failing:
            raise OperationFailed("nobody answers")
        step = ResourceStep("release", RELEASE, "update" if spec.slug in self.behind else "same", "done")
        return Done([step, ResourceStep("group", GROUP, "update", "done")])

    def update(self, spec: CourseSpec) -> Done:
        done = self.preview(spec)
        self.updated.append(spec.slug)
        self.behind.discard(spec.slug)
        return done


def test_the_fleet_is_what_was_deployed_on_the_target() -> None:
    never = StackState("half", None, ())
    broken = CorruptState("unreadable", slug="broken")
    fleet = FleetOfStacks(
        Stacks([deployed("one", 5), deployed("two"), deployed("far", target="far"), never, broken]), "trial"
    )
    assert [(one.slug, one.seats) for one in fleet.members()] == [("one", 5), ("two", 20)]


def test_people_who_come_and_go_are_no_reason_to_update() -> None:
    stacks = Stacks([deployed("one"), deployed("two")], behind={"two"})
    fleet = FleetOfStacks(stacks, "trial")
    assert fleet.plan("one").same
    assert fleet.plan("two") == Plan({"update": 1})
    assert changes_of([ResourceStep("group", GROUP, "create", "done")]) == {"create": 1}


def test_what_is_compared_has_the_people_of_the_last_deployment() -> None:
    now = load_spec(course(slug="one", title="New title", leads=["lead", "other"], participants=["ann"]))
    seen = with_people_of(now, deployed("one"))
    then = load_spec(course(slug="one"))
    assert (seen.leads, seen.participants) == (then.leads, then.participants)
    assert seen.title == "New title"
    assert with_people_of(now, None) == now
    assert with_people_of(now, StackState("one", None, ())) == now


def test_what_would_be_done_is_unknown_where_a_preview_fails() -> None:
    fleet = FleetOfStacks(Stacks([deployed("one")], failing={"one"}), "trial")
    assert fleet.plan("one") == Plan({}, "nobody answers")
    assert not fleet.plan("one").same


@pytest.mark.parametrize("failing", [set(), {"two"}], ids=["all well", "the second fails"])
def test_an_interrupted_rollout_goes_on_with_what_is_still_to_do(failing: set[str]) -> None:
    states: list[StackState | CorruptState] = [deployed(slug, seats) for slug, seats in (("one", 1), ("two", 2))]
    stacks = Stacks([*states, deployed("three", 3)], behind={"one", "two", "three"})
    fleet = FleetOfStacks(stacks, "trial")
    stacks.failing = failing
    found = roll_out(fleet, waves(fleet.members(), None, 1))
    stacks.failing = set()
    again = [one for one in fleet.members() if not fleet.plan(one.slug).same]
    assert [one.slug for one in again] == ([] if not failing else ["two", "three"])
    found |= roll_out(fleet, waves(again, None, 1))
    assert stacks.updated == ["one", "two", "three"]
    assert {one.state for one in found.values()} == {"updated"}
