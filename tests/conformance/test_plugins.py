"""Plugin binaries on PATH, with the random provider's where it is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_random as random
import pytest

from tests.conformance.conftest import Course, summary
from tests.conformance.masks import masked_file

pytestmark = pytest.mark.skipif(
    not shutil.which("pulumi-resource-random"), reason="needs pulumi-resource-random on PATH"
)


def pets(length: int, keeper: str) -> Callable[[], None]:
    def program() -> None:
        pet = random.RandomPet("pet", length=length, keepers={"kept": keeper})
        secret = random.RandomString("text", length=12, keepers={"kept": pulumi.Output.secret(keeper)})
        password = random.RandomPassword(
            "password", length=20, min_special=2, override_special="!_", keepers={"pet": pet.id}
        )
        pulumi.export("pet", pet.id)
        pulumi.export("text", secret.result)
        pulumi.export("password", password.result)

    return program


def test_a_plugin_makes_keeps_replaces_and_deletes(course: Course) -> None:
    course.program = pets(2, "one")
    stack = course.create()

    planned = stack.preview()
    first = stack.up()
    again = stack.up()
    refreshed = stack.refresh()
    course.program = pets(3, "two")
    replaced = course.select().up()

    assert planned.change_summary == summary(first) == {"create": 4}
    assert summary(again) == summary(refreshed) == {"same": 4}
    assert summary(replaced) == {"replace": 3, "same": 1}
    assert len(first.outputs["pet"].value.split("-")) == 2
    assert len(replaced.outputs["pet"].value.split("-")) == 3
    assert replaced.outputs["password"].value != first.outputs["password"].value
    assert summary(stack.destroy()) == {"delete": 4}


def test_states_with_a_plugin_s_resources_are_the_same_on_both_engines(course: Course, other_engine: Course) -> None:
    def state(one: Course) -> Any:
        text = json.dumps(masked_file(one.state, one.passphrase), indent=1)
        for name in ("pet", "text", "password"):
            if value := made[one.name].get(name):
                text = text.replace(json.dumps(value)[1:-1], name.upper())
        return sorted(text.replace(one.name, "STACK").splitlines())

    made: dict[str, dict[str, Any]] = {}
    for number, one in enumerate((course, other_engine)):
        one.name, one.program = f"pets-{number}", pets(2, "one")
        made[one.name] = {name: output.value for name, output in one.create().up().outputs.items()}

    assert state(course) == state(other_engine)


def test_a_stack_with_a_plugin_s_resources_is_taken_over(course: Course, other_engine: Course) -> None:
    course.program = other_engine.program = pets(2, "one")
    made = course.create().up()

    taken = other_engine.select().up()

    assert summary(taken) == {"same": 4}
    assert {name: output.value for name, output in taken.outputs.items()} == {
        name: output.value for name, output in made.outputs.items()
    }
    assert summary(other_engine.select().destroy()) == {"delete": 4}
