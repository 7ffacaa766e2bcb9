"""The real course program: from the example to a hub and back, with everything of it real."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from automation.reality import LocalReality
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.spec import CourseSpec, load_spec
from tests.conftest import Machine

pytestmark = pytest.mark.machine
EXAMPLE = Path(__file__).parents[2] / "examples/courses/python-intro.yaml"


def course(machine: Machine, slug: str) -> CourseSpec:
    """The example course with people of this machine."""
    content = load_spec(EXAMPLE).model_dump(mode="json")
    people = machine.people
    return CourseSpec.model_validate(
        {**content, "slug": slug, "leads": [people["teacher"].subject], "participants": [people["student"].subject]}
    )


def test_a_course_comes_up_whole_and_leaves_nothing(machine: Machine) -> None:
    stacks = CourseStacks(StateSettings.of_machine(machine.layout), machine.target, machine.layout)
    reality = LocalReality(machine.layout, machine.target)
    assert reality.traces("trial-course") == []
    spec = course(machine, "trial-course")
    try:
        deployed = stacks.deploy(spec)
        assert deployed.outputs["hub_url"] == machine.target.hub_url("trial-course")
        audit = stacks.audit(reality)
        assert [one for one in audit.stacks if one.slug == "trial-course" and one.in_order], audit
        assert stacks.refresh("trial-course") == []
        assert set(stacks.update(spec).changes) == {"same"}
    finally:
        stacks.destroy("trial-course")
    assert reality.traces("trial-course") == []
    assert "trial-course" not in stacks.names()
    assert "trial-course" not in stacks.audit(reality).leftovers
    assert stacks.sweep(timedelta()) == ["trial-course"]
