"""The engine writes what was recorded of the real CLI, and goes on with what that wrote."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest

from tests.conformance.conftest import ENGINE, PASSPHRASE, PROJECT, RECORDED, Course, files, recorded_store, summary
from tests.conformance.masks import masked_file, masked_name

needs_recorded_python = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the recorded provider is stored as code of Python 3.11"
)


def replay(course: Course) -> dict[str, dict[str, Any]]:
    """The recorded session; the store, masked, at each point at which it was recorded."""
    stores = {}

    def keep(name: str) -> None:
        stores[name] = store(course.store / ".pulumi")

    def fails() -> None:
        with pytest.raises(auto.CommandError):
            stack.up()

    stack = course.create(label="a", size="3", token="very-secret")
    stack.preview()
    stack.up(on_event=lambda _: None)
    keep("after-up")
    stack.up()
    course.configure(stack, size="4")
    stack.up()
    course.configure(stack, label="b")
    stack.up()
    course.configure(stack, size="200")
    fails()
    course.configure(stack, size="4", label="boom")
    fails()
    keep("after-failure")
    course.configure(stack, label="b")
    stack.up()
    stack.refresh()
    stack.destroy()
    keep("after-destroy")
    stack.workspace.remove_stack(course.name)
    keep("after-remove")
    return stores


def store(folder: Path) -> dict[str, Any]:
    """Masked contents by masked key; history and backups in the order in which they were written."""
    found: dict[str, Any] = {}
    for key, path in sorted(files(folder).items()):
        name = masked_name(key)
        found[f"{name} {sum(other.startswith(name) for other in found)}"] = masked_file(path, PASSPHRASE)
    return found


def test_stores_equal_the_recorded_ones(course: Course) -> None:
    stores = replay(course)

    for name, content in stores.items():
        expected = store(RECORDED / name / "dot-pulumi")
        if name == "after-destroy":
            # the state before the last delete: which of the resources that nothing depends on goes last is free
            last = f"stacks/{PROJECT}/course-one.json.bak 0"
            assert content.pop(last) and expected.pop(last)
        assert list(content) == list(expected), name
        for key, value in content.items():
            # as text: the order of fields counts
            assert json.dumps(value, indent=1) == json.dumps(expected[key], indent=1), f"{name}: {key}"


def test_states_are_written_minified(course: Course) -> None:
    course.create(label="a", size="3", token="very-secret")

    assert b"\n" not in course.state.read_bytes()
    assert b'": ' not in course.state.read_bytes()


def test_a_recorded_stack_is_listed_and_exported_with_its_secrets(course: Course) -> None:
    recorded_store("after-up", course)
    stack = course.select()

    (listed,) = stack.workspace.list_stacks()
    outputs = stack.outputs()
    exported = stack.export_stack()

    assert (listed.name, listed.resource_count) == ("course-one", 6)
    assert outputs["key"].value == "xBl6PThfs7xjJunGSvvbic4e"
    assert outputs["key"].secret
    assert outputs["plain"].value == {"a": [1, 2, {"b": True}]}
    urns = [resource["urn"] for resource in exported.deployment["resources"]]
    assert urns[0] == f"urn:pulumi:course-one::{PROJECT}::pulumi:pulumi:Stack::{PROJECT}-course-one"
    assert exported.deployment["resources"][0]["outputs"]["token"]["plaintext"] == '"very-secret"'
    (entry,) = stack.history()
    assert (entry.kind, entry.result, entry.resource_changes) == ("update", "succeeded", {"create": 4})


@needs_recorded_python
@pytest.mark.parametrize("recording", ["after-up", "after-failure"])
def test_a_recorded_stack_is_refreshed_and_destroyed(course: Course, recording: str) -> None:
    recorded_store(recording, course)
    stack = course.select()

    refreshed = stack.refresh()
    planned = stack.preview_destroy()
    destroyed = stack.destroy()
    course.run("stack", "rm", "--yes", "--remove-backups", "course-one")

    assert summary(refreshed) == {"same": 4}
    assert planned.change_summary == {"delete": 4}
    assert summary(destroyed) == {"delete": 4}
    assert list(files(course.store)) == [".pulumi/meta.yaml"]


@needs_recorded_python
def test_a_recorded_stack_is_not_made_again(course: Course) -> None:
    """The provider's code is another (a module's instead of the session's), everything else is the same."""
    recorded_store("after-up", course)
    stack = course.select()
    course.configure(stack, label="a", size="3", token="very-secret")

    result = stack.up()

    assert summary(result) == {"same": 4}
    assert result.outputs["key"].value == "xBl6PThfs7xjJunGSvvbic4e"


def transcript() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((RECORDED / "transcript.json").read_text())
    return entries


def recorded_error(step: str) -> tuple[str, str]:
    """Exception class and stderr of a recorded step."""
    entries = iter(transcript())
    next(entry for entry in entries if entry.get("step") == step)
    entry = next(entry for entry in entries if "error_class" in entry)
    return entry["error_class"], entry["error"].partition("stderr: ")[2]


def lock(course: Course) -> None:
    folder = course.store / ".pulumi" / "locks" / "organization" / PROJECT / course.name
    folder.mkdir(parents=True, exist_ok=True)
    owner = {"pid": 1, "username": "someone", "hostname": "elsewhere", "timestamp": "2026-11-22T04:00:00Z"}
    (folder / "0d1e2f3a-0000-4000-8000-000000000000.json").write_text(json.dumps(owner))


def test_errors_carry_the_recorded_texts(course: Course) -> None:
    recorded_store("after-up", course)
    workspace = course.workspace()
    stack = course.select()
    course.configure(stack, label="a", size="3", token="very-secret")

    def attempt(step: str, call: Any) -> None:
        with pytest.raises(auto.CommandError) as caught:
            call()
        kind, text = recorded_error(step)
        stderr = str(caught.value).partition("stderr: ")[2]
        stderr = re.sub(r"file://[^ ]*/\.pulumi", "file://STORE/bk/.pulumi", stderr)
        assert (type(caught.value).__name__, stderr) == (kind, text), step

    attempt("select_stack of a stack that is not there", lambda: workspace.select_stack("nobody"))
    attempt("create_stack of a stack that is there", lambda: workspace.create_stack("course-one"))
    attempt("remove_stack while it has resources", lambda: workspace.remove_stack("course-one"))
    lock(course)
    attempt("up while locked", stack.up)
    cancelled = course.run("cancel", "--yes", "--stack", "course-one")
    assert cancelled.stdout == "The currently running update for 'course-one' has been canceled!"
    other = Course(course.folder, passphrase="battery staple").select()
    attempt("up with the wrong passphrase", other.up)
    assert not [key for key in files(course.store) if "/locks/" in key]


def test_a_mistake_in_the_program_is_told_as_such(course: Course) -> None:
    from tests.conformance import programs

    course.program = programs.broken
    stack = course.create()

    with pytest.raises(auto.InlineSourceRuntimeError, match="the program has a mistake"):
        stack.up()


def test_failed_checks_and_creates_are_in_the_output_as_recorded(course: Course) -> None:
    stack = course.create(label="a", size="200", token="very-secret")

    with pytest.raises(auto.CommandError) as checked:
        stack.up()
    course.configure(stack, size="3", label="boom")
    with pytest.raises(auto.CommandError) as created:
        stack.up()

    problem = (
        "pulumi-python:dynamic:Resource resource 'room-box': property size value {200} has a problem: must be below 100"
    )
    assert f"  pulumi-python:dynamic:Resource (room-box):\n    error: {problem}" in str(checked.value)
    assert "box cannot be made" in str(created.value)
    assert "pulumi:pulumi:Stack (jhaas-course-course-one):\n" in str(created.value)
    assert "error: update failed" in str(created.value)
    assert "very-secret" not in str(checked.value) + str(created.value)
    assert [entry.result for entry in stack.history()] == ["failed", "failed"]


@pytest.mark.skipif(ENGINE == "cli", reason="the text of the display belongs to the CLI's version")
def test_the_output_reads_like_the_recorded_one(course: Course) -> None:
    stack = course.create(label="a", size="3", token="very-secret")

    text = stack.up().stdout

    expected = next(e["stdout"] for e in transcript() if e.get("args", [])[:1] == ["up"])
    assert _essence(text) == _essence(expected)


def _essence(text: str) -> list[str]:
    """Lines without times, warnings about plugins, dots, and empty lines; progress in any order."""
    lines = [re.sub(r" \([0-9.]+s\)", "", line) for line in text.splitlines()]
    lines = [line.partition(" warning:")[0].removesuffix(" 1 warning") for line in lines]
    dropped = re.compile(r"@ |Diagnostics|  pulumi:pulumi:Stack \(|Duration")
    lines = [line.rstrip() for line in lines if line.strip() and not dropped.match(line)]
    # components are not announced as finished by every version
    return sorted({line for line in lines if not re.search(r"Room room created", line)})
