"""What an operation asks of the engine, by what there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from automation import work
from automation.state import StackState
from automation.work import _look, _Operation
from course_stack.prepare import Prepared
from tests.automation.conftest import TARGET, Site

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


@pytest.mark.parametrize("lost", [True, False])
def test_a_preview_takes_nothing_for_there_that_its_place_has_lost(
    site: Site, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    site.stacks().deploy(site.spec())
    monkeypatch.setattr(work, "is_lost", lambda _target, _slug, state_has: lost and state_has("pulumi:pulumi:Stack"))
    told: list[Any] = []
    job: Any = SimpleNamespace(
        kind="preview", slug="course-one", project="jhaas-course", target=TARGET.model_dump(mode="json")
    )
    _, state, _ = _look(job, site.settings, {}, SimpleNamespace(event=told.append))  # type: ignore[arg-type]
    assert (state is None) == lost
    assert [one.text for one in told] == ["what the state says is there has gone: all of it would be made anew"] * lost
