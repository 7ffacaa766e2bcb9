"""A fleet with a portal: updates are operations like any others, done by workers and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from automation.events import ResourceStep
from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal.actor import SYSTEM
from portal.fleet.of_portal import FleetOfPortal
from portal.fleet.rollout import Outcome, Plan, roll_out
from portal.lifecycle import Status
from portal.models import Course
from portal.operations.ask import ask
from portal.operations.kinds import Kind
from tests.portal.operations.conftest import Stage
from tests.portal.operations.test_cases import active, end_early


@dataclass
class Previewed:
    steps: Sequence[ResourceStep]
    changes: dict[str, int] = field(default_factory=dict)


def fleet_of(stage: Stage, between: Callable[[], object] = lambda: None, target: str = "local") -> FleetOfPortal:
    """A fleet whose portal moves on between two looks; `between` happens once, at the first."""
    waiting = [between]

    def move_on() -> None:
        if waiting:
            waiting.pop()()
        stage.clock.move(minutes=30)  # any pause between two tries is over
        stage.tick()
        stage.work()

    def preview(where: Target, spec: CourseSpec) -> Previewed:
        return Previewed([ResourceStep(f"{spec.slug} on {where.name}", "release", "update", "done")])

    return FleetOfPortal(stage.sessions, stage.clock, stage.settings, target, preview, move_on)


def two_courses(stage: Stage) -> tuple[Course, Course]:
    one, two = active(stage, slug="one"), active(stage, slug="two")
    stage.world.done.clear()
    return one, two


def test_each_course_is_updated_by_an_operation_and_then_checked(stage: Stage) -> None:
    one, two = two_courses(stage)
    found = roll_out(fleet_of(stage), [["one"], ["two"]])
    assert found == {slug: Outcome("updated", "and a notebook ran") for slug in ("one", "two")}
    done = [line for line in stage.world.done if not line.startswith("refresh")]
    assert done == ["update one", "check one", "update two", "check two"]
    of_one = [line for line in stage.operations(one.id) if line[0] != "refresh"]  # the nightly look, if it is due
    assert of_one[-2:] == [("update", "succeeded"), ("check", "succeeded")]
    assert stage.status(two.id) is Status.ACTIVE


def test_only_active_courses_of_the_target_belong_to_the_fleet(stage: Stage) -> None:
    active(stage, slug="one")
    stage.course(slug="planned")
    assert [one.slug for one in fleet_of(stage).members()] == ["one"]
    assert fleet_of(stage, target="elsewhere").members() == []
    assert fleet_of(stage).plan("one") == Plan({"update": 1})


@pytest.mark.parametrize("kind", ["update", "check"])
def test_a_course_that_fails_for_good_ends_the_rollout(stage: Stage, kind: str) -> None:
    courses = two_courses(stage)
    stage.world.failing[kind] = stage.settings.max_tries
    found = roll_out(fleet_of(stage), [["one"], ["two"]])
    assert found["one"].state == "failed"
    assert f"The fake was told to fail at {kind}." in found["one"].text
    assert found["two"] == Outcome("waiting")
    assert "update two" not in stage.world.done
    stage.settle()
    assert [stage.status(course.id) for course in courses] == [Status.ACTIVE] * 2


def test_one_failure_that_passes_is_no_failure(stage: Stage) -> None:
    two_courses(stage)
    stage.world.failing["update"] = 1
    assert {one.state for one in roll_out(fleet_of(stage), [["one", "two"]]).values()} == {"updated"}


def test_a_course_that_is_closed_meanwhile_is_left_out(stage: Stage) -> None:
    one, _ = two_courses(stage)
    fleet = fleet_of(stage)
    end_early(stage, one)
    stage.settle()
    found = roll_out(fleet, [["one"], ["two"]])
    assert found["one"].state == "left out"
    assert found["two"].state == "updated"
    assert "update one" not in stage.world.done


def test_a_course_that_closes_while_its_update_waits_is_left_out_and_closes(stage: Stage) -> None:
    one, _ = two_courses(stage)
    found = roll_out(fleet_of(stage, between=lambda: end_early(stage, one)), [["one"]])
    assert found["one"].state == "left out"
    stage.settle()
    assert stage.status(one.id) is Status.CLOSED


def test_an_update_that_waits_already_is_the_one_that_is_followed(stage: Stage) -> None:
    one, _ = two_courses(stage)
    stage.do(one.id, lambda session, course: ask(session, stage.clock, SYSTEM, course, Kind.UPDATE))
    assert roll_out(fleet_of(stage), [["one"]])["one"].state == "updated"
    assert [kind for kind, _ in stage.operations(one.id)].count("update") == 1


def test_what_compares_the_stack_makes_way(stage: Stage) -> None:
    one, _ = two_courses(stage)
    stage.do(one.id, lambda session, course: ask(session, stage.clock, SYSTEM, course, Kind.REFRESH))
    stage.tick()
    runner, mine, keeper = stage.claim()  # it runs now, and is asked to stop

    def let_it_end() -> None:
        runner.finish(mine, runner.carry_out(mine, keeper))

    assert roll_out(fleet_of(stage, between=let_it_end), [["one"]])["one"].state == "updated"
