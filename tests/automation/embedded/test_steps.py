"""What is decided about a resource."""

from __future__ import annotations

import pytest

from automation.embedded.providers import Diff, compared
from automation.embedded.state import Resource, deletion_order
from automation.embedded.steps import (
    Action,
    decide,
    dependents_to_replace,
    ignoring,
    path_parts,
    with_replace_on_changes,
)
from automation.embedded.values import Secret

SAME, CHANGED, REPLACING = Diff(changes=False), Diff(changes=True), Diff(changes=True, replaces=("a",))


def resource(name: str, *depends: str, **more: object) -> Resource:
    return Resource(urn=name, custom=True, type="t", dependencies=list(depends), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("diff", "option", "action"),
    [
        (SAME, None, Action.SAME),
        (CHANGED, None, Action.UPDATE),
        (REPLACING, None, Action.REPLACE),
        (REPLACING, True, Action.DELETE_BEFORE_REPLACE),
        (Diff(True, ("a",), delete_before_replace=True), None, Action.DELETE_BEFORE_REPLACE),
        (Diff(True, ("a",), delete_before_replace=True), False, Action.REPLACE),
    ],
)
def test_the_difference_decides(diff: Diff, option: bool | None, action: Action) -> None:
    assert decide(resource("x"), diff, option) is action


def test_what_is_not_there_is_created() -> None:
    assert decide(None, None, None) is Action.CREATE


def test_a_resource_that_did_not_become_ready_is_updated_again() -> None:
    assert decide(resource("x", init_errors=["slow"]), SAME, None) is Action.UPDATE


def test_what_was_deleted_for_its_replacement_is_made_even_without_a_change() -> None:
    assert decide(resource("x", pending_replacement=True), SAME, None) is Action.DELETE_BEFORE_REPLACE


@pytest.mark.parametrize(
    ("path", "parts"),
    [("a", ["a"]), ("a.b[0]", ["a", "b", 0]), ('a["b.c"]', ["a", "b.c"]), ("a[*].b", ["a", "*", "b"]), ("*", ["*"])],
)
def test_property_paths(path: str, parts: list[str | int]) -> None:
    assert path_parts(path.replace("[*]", ".*")) == parts


def test_ignored_properties_stay_as_they_were() -> None:
    old = {"a": 1, "b": {"c": 1, "d": 1}, "gone": 1, "list": [{"x": 1}, {"x": 1}]}
    new = {"a": 2, "b": {"c": 2, "d": 2}, "added": 2, "list": [{"x": 2}, {"x": 2}]}

    assert ignoring(new, old, ["a", "b.c", "gone", "added", "list[1].x"]) == {
        "a": 1, "b": {"c": 1, "d": 2}, "gone": 1, "list": [{"x": 2}, {"x": 1}]
    }  # fmt: skip
    assert ignoring(new, old, ["*"]) == old
    assert new["a"] == 2


def test_replace_on_changes_turns_an_update_into_a_replacement() -> None:
    diff = Diff(changes=True, keys=("a", "b"))

    assert with_replace_on_changes(diff, ["b.c"]).replaces == ("b",)
    assert with_replace_on_changes(diff, ["*"]).replaces == ("a", "b")
    assert with_replace_on_changes(diff, ["z"]).replaces == ()


def test_the_engine_compares_inputs_without_regard_to_secrecy() -> None:
    diff = compared({"a": Secret(1), "b": 1, "c": 1}, {"a": 1, "b": 2, "d": 1})

    assert diff.keys == ("b", "c", "d")
    assert {key: kind["diffKind"] for key, kind in diff.detailed.items()} == {"b": "update", "c": "delete", "d": "add"}


def test_dependents_are_replaced_only_where_the_property_that_changes_replaces_them() -> None:
    root = resource("root")
    uses = resource("uses", "root", property_dependencies={"x": ["root"]})
    follows = resource("follows", "root", property_dependencies={"x": []})
    further = resource("further", "uses", property_dependencies={"y": ["uses"]})
    tolerant = resource("tolerant", "root", property_dependencies={"z": ["root"]})

    found = dependents_to_replace(root, [root, uses, follows, further, tolerant], lambda _, keys: "z" not in keys)

    assert found == [uses, further]


def test_nothing_is_deleted_before_what_depends_on_it() -> None:
    parent = resource("p")
    one, two = resource("a", parent="p"), resource("b", "a")
    user = resource("c", provider="provider::default::id")
    provider = resource("provider::default")

    waves = deletion_order([parent, one, provider, two, user])

    assert [sorted(r.urn for r in wave) for wave in waves] == [["b", "c"], ["a", "provider::default"], ["p"]]


def test_a_circle_in_a_broken_state_is_deleted_nevertheless() -> None:
    one, two = resource("a", "b"), resource("b", "a")

    assert deletion_order([one, two]) == [[one, two]]
