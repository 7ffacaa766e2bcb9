"""What an operation asks of the engine, by what there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from automation.state import StackState
from automation.work import _Operation
from course_stack.prepare import Prepared

WHOLE = StackState("course", None, ({"type": "pulumi:pulumi:Stack", "outputs": {"rotation": "1"}},))
INTERRUPTED = StackState("course", None, (), ({"type": "creating", "resource": {"urn": "a::hub"}},))


@pytest.mark.parametrize(
    ("state", "prepared", "expected"),
    [
        (WHOLE, Prepared(), ["up"]),
        (WHOLE, Prepared(lost=True), ["refresh", "up"]),
        (INTERRUPTED, Prepared(), ["refresh", "up"]),
        (INTERRUPTED, Prepared(lost=True), ["refresh", "up"]),
    ],
    ids=["whole", "lost", "interrupted", "both"],
)
def test_the_state_is_brought_to_what_is_there_before_an_update_where_it_cannot_be_believed(
    state: StackState, prepared: Prepared, expected: list[str]
) -> None:
    asked: list[str] = []
    told: list[Any] = []

    def step(name: str) -> Any:
        return lambda **_options: asked.append(name)

    stack: Any = SimpleNamespace(refresh=step("refresh"), up=step("up"))
    teller: Any = SimpleNamespace(event=told.append)
    control: Any = SimpleNamespace(check=lambda: None)
    watcher: Any = SimpleNamespace(line=None, errors=[])
    job: Any = SimpleNamespace(kind="update", slug="course")
    store: Any = None
    _Operation(job, teller, control, store, state, prepared, stack, watcher).update()
    assert asked == expected
    assert len(told) == len(expected) - 1
