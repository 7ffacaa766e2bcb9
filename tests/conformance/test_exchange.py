"""Either engine takes over a stack from the other, and finds nothing to do."""

from __future__ import annotations

from tests.conformance.conftest import Course, files, summary


def test_a_stack_goes_from_one_engine_to_the_other_and_back(course: Course, other_engine: Course) -> None:
    made = course.create(label="a", size="3", token="very-secret").up()

    taken = other_engine.select()
    (listed,) = taken.workspace.list_stacks()
    exported = taken.export_stack()
    unchanged = taken.up()
    refreshed = taken.refresh()
    other_engine.configure(taken, size="4")
    changed = taken.up()

    assert listed.resource_count == 6
    assert exported.deployment["resources"][0]["outputs"]["token"]["plaintext"] == '"very-secret"'
    assert summary(unchanged) == summary(refreshed) == {"same": 4}
    assert summary(changed) == {"same": 3, "update": 1}
    assert changed.outputs["key"].value == made.outputs["key"].value

    back = course.select()
    assert summary(back.up()) == {"same": 4}
    assert [entry.kind for entry in back.history()] == ["update", "update", "refresh", "update", "update"]


def test_each_engine_destroys_and_removes_what_the_other_made(course: Course, other_engine: Course) -> None:
    course.create(label="a", size="3", token="very-secret").up()

    other_engine.work = "fresh"  # without the stack's settings: the salt is in the state
    taken = other_engine.select()
    destroyed = taken.destroy()
    other_engine.run("stack", "rm", "--yes", "--remove-backups", "course-one")

    assert summary(destroyed) == {"delete": 4}
    assert list(files(course.store)) == [".pulumi/meta.yaml"]
