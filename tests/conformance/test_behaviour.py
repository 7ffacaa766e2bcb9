"""What an engine does about resources, shown by the files that a dynamic provider writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi.automation as auto
import pytest

from tests.conformance.conftest import ENGINE, Course, logged, summary
from tests.conformance.programs import File, Meeting


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


def with_program(course: Course, program: Callable[[], Any]) -> auto.Stack:
    """The stack, running this program from now on."""
    course.program = program
    return course.select() if course.state.exists() else course.create()


def resources(course: Course) -> dict[str, dict[str, Any]]:
    """The state's resources by name."""
    latest = json.loads(course.state.read_text())["checkpoint"]["latest"]
    return {data["urn"].rsplit("::", 1)[-1]: data for data in latest.get("resources", ())}


def pending(course: Course) -> list[str]:
    latest = json.loads(course.state.read_text())["checkpoint"]["latest"]
    return [
        f"{data['type']} {data['resource']['urn'].rsplit('::', 1)[-1]}" for data in latest.get("pending_operations", ())
    ]


def test_up_creates_updates_and_deletes_what_the_program_says(course: Course, folder: Path) -> None:
    def three() -> None:
        for name in "abc":
            File(name, folder, name * 3)

    def two() -> None:
        File("a", folder, "aaa")
        File("b", folder, "other")

    created = with_program(course, three).up()
    changed = with_program(course, two).up()

    assert summary(created) == {"create": 4}
    assert summary(changed) == {"same": 2, "update": 1, "delete": 1}
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name != "log"} == {
        "a": "aaa",
        "b": "other",
    }
    assert resources(course)["b"]["outputs"]["length"] == 5


def test_a_preview_counts_the_changes_and_makes_none(course: Course, folder: Path) -> None:
    def program() -> None:
        first = File("first", folder, "text")
        File("second", folder, first.text.apply(lambda text: text + "!"), note=first.length.apply(str))

    stack = with_program(course, program)
    before = course.state.read_bytes()

    planned = stack.preview()

    assert planned.change_summary == {"create": 3}
    assert logged(folder) == []
    assert course.state.read_bytes() == before
    assert not (course.store / ".pulumi" / "history").exists()


def test_a_preview_of_a_change_counts_updates_and_replacements(course: Course, folder: Path) -> None:
    with_program(course, lambda: (File("a", folder, "1"), File("b", folder, "2", name="b1"))).up()
    stack = with_program(course, lambda: (File("a", folder, "3"), File("b", folder, "2", name="b2")))

    assert stack.preview().change_summary == {"update": 1, "replace": 1, "same": 1}
    assert sorted(logged(folder)) == ["create a", "create b1"]


def test_replacing_creates_the_new_before_it_deletes_the_old(course: Course, folder: Path) -> None:
    with_program(course, lambda: File("a", folder, "text", name="old")).up()

    result = with_program(course, lambda: File("a", folder, "text", name="new")).up()

    assert summary(result) == {"replace": 1, "same": 1}
    assert logged(folder) == ["create old", "create new", "delete old"]


@pytest.mark.parametrize("by", ["provider", "option"])
def test_replacing_deletes_first_where_provider_or_program_say_so(course: Course, folder: Path, by: str) -> None:
    options = pulumi.ResourceOptions(delete_before_replace=True) if by == "option" else None

    def program(name: str) -> Callable[[], None]:
        def run() -> None:
            File("a", folder, "text", name=name, first=by == "provider", opts=options)

        return run

    with_program(course, program("old")).up()
    result = with_program(course, program("new")).up()

    assert summary(result)["replace"] == 1
    assert logged(folder) == ["create old", "delete old", "create new"]


def test_what_depends_on_a_resource_that_goes_first_is_deleted_before_it(course: Course, folder: Path) -> None:
    def program(name: str) -> Callable[[], None]:
        def run() -> None:
            base = File("base", folder, "text", name=name, first=True)
            File("leaf", folder, "text", name=base.name.apply(lambda given: f"leaf-of-{given}"))

        return run

    with_program(course, program("old")).up()
    result = with_program(course, program("new")).up()

    assert summary(result)["replace"] == 2
    assert logged(folder)[2:] == ["delete leaf-of-old", "delete old", "create new", "create leaf-of-new"]


def test_destroy_goes_against_the_order_of_dependencies(course: Course, folder: Path) -> None:
    def program() -> None:
        one = File("one", folder, "1")
        two = File("two", folder, "2", opts=pulumi.ResourceOptions(depends_on=[one]))
        File("three", folder, two.text)

    stack = with_program(course, program)
    stack.up()

    result = stack.destroy()

    assert summary(result) == {"delete": 4}
    assert logged(folder) == ["create one", "create two", "create three", "delete three", "delete two", "delete one"]
    assert resources(course) == {}


def test_independent_resources_are_made_at_the_same_time(course: Course, folder: Path) -> None:
    """Each of two is made only once the other is being made: one after the other would fail."""
    stack = with_program(course, lambda: (Meeting("one", folder, "two"), Meeting("two", folder, "one")))

    assert summary(stack.up(parallel=2)) == {"create": 3}
    assert summary(stack.destroy(parallel=2)) == {"delete": 3}


def test_many_resources_need_no_many_calls_at_a_time(course: Course, folder: Path) -> None:
    def program() -> None:
        files = [File(f"f{n}", folder, str(n)) for n in range(30)]
        pulumi.export("total", pulumi.Output.all(*[file.length for file in files]).apply(sum))

    result = with_program(course, program).up(parallel=1)

    assert result.outputs["total"].value == 50
    assert summary(result) == {"create": 31}


def test_a_protected_resource_is_neither_deleted_nor_replaced(course: Course, folder: Path) -> None:
    protected = pulumi.ResourceOptions(protect=True)
    stack = with_program(course, lambda: File("a", folder, "text", name="old", opts=protected))
    stack.up()

    with pytest.raises(auto.CommandError, match=r"cannot be deleted\n *because it is protected"):
        stack.destroy()
    with pytest.raises(auto.CommandError, match="it is currently marked for protection"):
        with_program(course, lambda: File("a", folder, "text", name="new", opts=protected)).up()

    assert logged(folder) == ["create old"]
    with_program(course, lambda: File("a", folder, "text", name="old")).up()
    stack.destroy()
    assert logged(folder) == ["create old", "delete old"]


def test_a_retained_resource_is_forgotten_and_stays(course: Course, folder: Path) -> None:
    stack = with_program(course, lambda: File("a", folder, "text", opts=pulumi.ResourceOptions(retain_on_delete=True)))
    stack.up()
    stack.destroy()

    assert logged(folder) == ["create a"]
    assert resources(course) == {}


def test_what_goes_with_another_resource_is_deleted_by_its_deletion_alone(course: Course, folder: Path) -> None:
    def rooms(names: str) -> Callable[[], None]:
        def program() -> None:
            house = File("house", folder, "text")
            for name in names:
                inside = pulumi.ResourceOptions(deleted_with=house, depends_on=[house])
                File(name, folder, "text", opts=inside)

        return program

    with_program(course, rooms("ab")).up()
    assert resources(course)["a"]["deletedWith"].endswith("::house")
    stack = with_program(course, rooms("a"))
    stack.up()
    assert logged(folder)[-1] == "delete b"

    stack.destroy()
    assert logged(folder)[3:] == ["delete b", "delete house"]
    assert resources(course) == {}


def test_ignored_changes_are_not_made(course: Course, folder: Path) -> None:
    with_program(course, lambda: File("a", folder, "old", note="x")).up()

    ignoring = pulumi.ResourceOptions(ignore_changes=["text"])
    result = with_program(course, lambda: File("a", folder, "new", note="x", opts=ignoring)).up()

    assert summary(result) == {"same": 2}
    assert (folder / "a").read_text() == "old"
    assert resources(course)["a"]["ignoreChanges"] == ["text"]


def test_replace_on_changes_replaces(course: Course, folder: Path) -> None:
    options = pulumi.ResourceOptions(replace_on_changes=["text"], delete_before_replace=True)
    with_program(course, lambda: File("a", folder, "old", compared=True, opts=options)).up()

    result = with_program(course, lambda: File("a", folder, "new", compared=True, opts=options)).up()

    assert summary(result) == {"replace": 1, "same": 1}
    assert logged(folder) == ["create a", "delete a", "create a"]


def test_secrets_reach_the_provider_and_stay_encrypted_everywhere_else(course: Course, folder: Path) -> None:
    def program() -> None:
        made = File("a", folder, pulumi.Output.secret("hush-hush-hush"), note="plain")
        pulumi.export("text", made.text)
        pulumi.export("length", made.length)

    lines: list[str] = []
    events: list[str] = []
    result = with_program(course, program).up(
        on_output=lines.append, on_event=lambda event: events.append(repr(event.__dict__))
    )

    assert (folder / "a").read_text() == "hush-hush-hush"
    assert (result.outputs["text"].value, result.outputs["text"].secret) == ("hush-hush-hush", True)
    assert result.outputs["length"].secret is False
    written = [path.read_bytes() for path in course.folder.rglob("*") if path.is_file() and folder not in path.parents]
    assert not [content for content in written if b"hush-hush" in content]
    assert not [text for text in (*lines, *events) if "hush-hush" in text]


def test_additional_secret_outputs_are_secret_in_the_state(course: Course, folder: Path) -> None:
    options = pulumi.ResourceOptions(additional_secret_outputs=["text"])
    with_program(course, lambda: File("a", folder, "hush-hush-hush", opts=options)).up()

    made = resources(course)["a"]
    assert made["inputs"]["text"] == "hush-hush-hush"
    assert "ciphertext" in made["outputs"]["text"]


def test_custom_timeouts_are_kept_in_seconds(course: Course, folder: Path) -> None:
    options = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="1m30s", delete="2h"))
    with_program(course, lambda: File("a", folder, "text", opts=options)).up()

    assert resources(course)["a"]["customTimeouts"] == {"create": 90, "delete": 7200}


def test_a_failed_create_leaves_what_was_made_and_can_be_continued(course: Course, folder: Path) -> None:
    def program(text: str) -> Callable[[], None]:
        def run() -> None:
            first = File("first", folder, "text")
            File("second", folder, text, opts=pulumi.ResourceOptions(depends_on=[first]))

        return run

    with pytest.raises(auto.CommandError, match="no file for second"):
        with_program(course, program("refused")).up()
    assert "first" in resources(course)
    assert "second" not in resources(course)
    assert pending(course) == []

    result = with_program(course, program("fine")).up()

    assert summary(result) == {"create": 1, "same": 2}
    assert logged(folder) == ["create first", "create second"]


def test_a_failed_update_keeps_the_old_state(course: Course, folder: Path) -> None:
    with_program(course, lambda: File("a", folder, "old")).up()

    with pytest.raises(auto.CommandError, match="no change for a"):
        with_program(course, lambda: File("a", folder, "refused")).up()

    assert resources(course)["a"]["inputs"]["text"] == "old"
    assert pending(course) == []


def test_a_failed_delete_keeps_the_resource(course: Course, folder: Path) -> None:
    stack = with_program(course, lambda: File("a", folder, "text"))
    stack.up()
    (folder / "stuck").touch()

    with pytest.raises(auto.CommandError, match="a is stuck"):
        stack.destroy()
    assert "a" in resources(course)
    (folder / "stuck").unlink()

    assert summary(stack.destroy()) == {"delete": 2}


def test_after_a_failure_old_outputs_stay_and_new_ones_are_taken(course: Course, folder: Path) -> None:
    def program(text: str) -> Callable[[], None]:
        def run() -> None:
            pulumi.export("fixed", "same")
            pulumi.export("text", File("a", folder, text).text)

        return run

    stack = with_program(course, program("old"))
    stack.up()
    with pytest.raises(auto.CommandError):
        with_program(course, program("refused")).up()

    assert {key: output.value for key, output in stack.outputs().items()} == {"fixed": "same", "text": "old"}


def test_refresh_takes_over_drift_and_forgets_what_is_gone(course: Course, folder: Path) -> None:
    stack = with_program(
        course, lambda: (File("a", folder, "text"), File("b", folder, "text"), File("c", folder, "text"))
    )
    stack.up()
    (folder / "a").write_text("drifted")
    (folder / "b").unlink()
    before = course.state.read_bytes()

    planned = stack.preview_refresh()
    assert course.state.read_bytes() == before
    refreshed = stack.refresh()

    assert planned.change_summary == summary(refreshed) == {"update": 1, "delete": 1, "same": 2}
    assert resources(course)["a"]["outputs"]["text"] == "drifted"
    assert "b" not in resources(course)
    repaired = stack.up()
    assert (folder / "b").read_text() == "text"
    assert summary(repaired)["create"] == 1


def test_what_was_under_way_at_a_kill_is_warned_of_and_cleared_on_request(course: Course, folder: Path) -> None:
    stack = with_program(course, lambda: File("a", folder, "text"))
    stack.up()
    state = json.loads(course.state.read_text())
    latest = state["checkpoint"]["latest"]
    made = latest["resources"].pop()
    latest["pending_operations"] = [
        {"resource": {key: value for key, value in made.items() if key not in ("id", "outputs")}, "type": "creating"},
        {"resource": latest["resources"][0], "type": "updating"},
    ]
    course.state.write_text(json.dumps(state))
    (folder / "a").unlink()

    refreshed = stack.refresh()
    assert pending(course) == ["creating a"]
    cleared = stack.refresh(clear_pending_creates=True)

    assert (refreshed.summary.result, cleared.summary.result) == ("succeeded", "succeeded")
    assert pending(course) == []
    assert summary(stack.up()) == {"create": 1, "same": 1}


def test_up_goes_on_after_an_interrupted_create(course: Course, folder: Path) -> None:
    stack = with_program(course, lambda: File("a", folder, "text"))
    stack.up()
    state = json.loads(course.state.read_text())
    latest = state["checkpoint"]["latest"]
    made = latest["resources"].pop()
    latest["pending_operations"] = [{"resource": made, "type": "creating"}]
    course.state.write_text(json.dumps(state))

    result = stack.up()

    assert "pending operations from previous deployment" in result.stdout
    assert "interrupted while creating" in result.stdout
    assert summary(result) == {"create": 1, "same": 1}
    assert pending(course) == ["creating a"]


def test_two_resources_of_one_name_are_refused(course: Course, folder: Path) -> None:
    with pytest.raises(auto.CommandError, match="Duplicate resource URN"):
        with_program(course, lambda: (File("a", folder, "1"), File("a", folder, "2", name="b"))).up()


def test_components_may_change_their_outputs_and_lose_children(course: Course, folder: Path) -> None:
    class Shelf(pulumi.ComponentResource):
        def __init__(self, names: str) -> None:
            super().__init__("test:index:Shelf", "shelf")
            files = [File(name, folder, name, opts=pulumi.ResourceOptions(parent=self)) for name in names]
            self.register_outputs({"names": [file.text for file in files]})

    with_program(course, lambda: Shelf("ab")).up()
    assert resources(course)["shelf"]["outputs"] == {"names": ["a", "b"]}
    result = with_program(course, lambda: Shelf("bc")).up()

    assert summary(result) == {"create": 1, "delete": 1, "same": 3}
    assert resources(course)["shelf"]["outputs"] == {"names": ["b", "c"]}
    assert "test:index:Shelf$pulumi-python:dynamic:Resource::c" in resources(course)["c"]["urn"]


def test_tags_configuration_and_import_go_their_rounds(course: Course, folder: Path) -> None:
    stack = with_program(course, lambda: pulumi.export("text", File("a", folder, "text").text))
    stack.set_tag("kind", "test")
    assert (stack.get_tag("kind"), stack.list_tags()) == ("test", {"kind": "test"})
    stack.remove_tag("kind")
    assert stack.list_tags() == {}

    stack.set_all_config({"one": auto.ConfigValue("-1"), "two": auto.ConfigValue("hush", secret=True)})
    stack.set_config("one", auto.ConfigValue("--2"))
    assert (stack.get_config("one").value, stack.get_config("two").secret) == ("--2", True)
    stack.remove_config("one")
    assert list(stack.get_all_config()) == ["jhaas-course:two"]

    stack.up()
    exported = stack.export_stack()
    stack.import_stack(exported)
    assert summary(stack.up()) == {"same": 2}
    stack.destroy()
    stack.import_stack(exported)
    assert stack.outputs()["text"].value == "text"


@pytest.mark.skipif(ENGINE == "cli", reason="the CLI supports these")
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"target": ["urn:x"]}, "--target"),
        ({"replace": ["urn:x"]}, "--replace"),
        ({"policy_packs": ["p"]}, "--policy-pack"),
        ({"refresh": True}, "--refresh"),
        ({"continue_on_error": True}, "--continue-on-error"),
        ({"plan": "p"}, "--plan"),
    ],
)
def test_options_that_are_not_supported_are_refused_by_name(course: Course, options: dict[str, Any], name: str) -> None:
    stack = course.create(label="a", size="1", token="very-secret")

    with pytest.raises(auto.CommandError, match=f"the embedded engine does not support the option {name}\\b"):
        stack.up(**options)
    assert stack.history() == []


@pytest.mark.skipif(ENGINE == "cli", reason="the CLI supports these")
@pytest.mark.parametrize(
    ("options", "name"),
    [
        (pulumi.ResourceOptions(import_="id"), "import"),
        (pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")]), "aliases"),
    ],
)
def test_resource_options_that_are_not_supported_are_refused_by_name(
    course: Course, folder: Path, options: pulumi.ResourceOptions, name: str
) -> None:
    with pytest.raises(auto.CommandError, match=f"does not support the resource option {name}"):
        with_program(course, lambda: File("a", folder, "text", opts=options)).up()
    assert logged(folder) == []


@pytest.mark.skipif(ENGINE == "cli", reason="the CLI supports these")
def test_invokes_are_refused_by_name(course: Course) -> None:
    with pytest.raises(auto.CommandError, match=r"does not support invokes \(some:index:function\)"):
        with_program(course, lambda: pulumi.runtime.invoke("some:index:function", {})).up()
