"""The real course program: from the example to a hub and back, with everything of it real."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from automation.audit import Thing
from automation.failures import IdentityProviderFailed, ObjectStoreFailed, OperationFailed
from automation.reality import LocalReality
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.target import Target
from tests.automation.conftest import example_course
from tests.conftest import Machine

pytestmark = pytest.mark.machine


def test_a_course_comes_up_whole_and_leaves_nothing(machine: Machine) -> None:
    stacks = CourseStacks(StateSettings.of_machine(machine.layout), machine.target, machine.layout)
    reality = LocalReality(machine.layout, machine.target)
    assert reality.traces("trial-course") == []
    spec = example_course(machine, "trial-course")
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


def test_five_courses_come_up_at_once_and_go_at_once(machine: Machine) -> None:
    slugs = [f"at-once-{number}" for number in range(1, 6)]
    stacks = CourseStacks(StateSettings.of_machine(machine.layout), machine.target, machine.layout)
    reality = LocalReality(machine.layout, machine.target)
    with ThreadPoolExecutor(5) as pool:
        try:
            results = list(pool.map(lambda slug: stacks.deploy(example_course(machine, slug)), slugs))
            assert [result.outputs["hub_url"] for result in results] == [machine.target.hub_url(slug) for slug in slugs]
            assert {Thing("hub", slug) for slug in slugs} <= reality.found()
        finally:
            list(pool.map(stacks.destroy, slugs))
    assert [trace for slug in slugs for trace in reality.traces(slug)] == []
    assert not set(slugs) & set(stacks.names())


def nowhere(machine: Machine, part: str) -> Target:
    """The target with one of its services at an address where nobody answers."""
    closed = "http://127.0.0.1:1"
    identity = machine.target.identity.model_copy(update={"internal_url": closed} if part == "identity" else {})
    buckets = machine.target.object_store.model_copy(update={"endpoint": closed} if part == "buckets" else {})
    return machine.target.model_copy(update={"identity": identity, "object_store": buckets})


@pytest.mark.parametrize(("part", "failure"), [("identity", IdentityProviderFailed), ("buckets", ObjectStoreFailed)])
def test_a_service_that_is_down_is_one_clear_failure_and_the_next_run_goes_on(
    machine: Machine, part: str, failure: type[OperationFailed]
) -> None:
    settings = StateSettings.of_machine(machine.layout)
    reality = LocalReality(machine.layout, machine.target)
    slug = f"down-{part}"
    try:
        with pytest.raises(failure, match="does not answer") as failed:
            CourseStacks(settings, nowhere(machine, part), machine.layout).deploy(example_course(machine, slug))
        assert "Traceback" not in failed.value.message

        whole = CourseStacks(settings, machine.target, machine.layout)
        whole.deploy(example_course(machine, slug))
        assert reality.things_of(slug) <= reality.found()
    finally:
        CourseStacks(settings, machine.target, machine.layout).destroy(slug)
    assert reality.traces(slug) == []
