"""How far a course's life is, as its page draws it."""

from __future__ import annotations

import datetime as dt

import pytest

from portal.courses.steps import life_of, next_step
from portal.lifecycle import Status

FIRST, LAST = dt.date(2027, 4, 12), dt.date(2027, 7, 16)


def now_at(status: Status, today: dt.date) -> tuple[str, str]:
    """The step that is under way, and its state."""
    steps = life_of(
        status,
        requested=dt.date(2027, 3, 1),
        deploy=dt.date(2027, 4, 8),
        first=FIRST,
        last=LAST,
        destroy=dt.date(2027, 7, 31),
        today=today,
    )
    [step] = [one for one in steps if one.state in ("now", "failed")]
    return step.what, step.state


@pytest.mark.parametrize(
    ("status", "today", "step"),
    [
        (Status.REQUESTED, FIRST, ("Approved", "now")),
        (Status.DEPLOYING, FIRST, ("Set up and checked", "now")),
        (Status.DEPLOY_FAILED, FIRST, ("Set up and checked", "failed")),
        (Status.ACTIVE, dt.date(2027, 4, 11), ("Participants get in", "now")),
        (Status.ACTIVE, FIRST, ("Last day", "now")),
        (Status.CLOSED, LAST, ("Files are copied", "now")),
        (Status.REMOVAL_FAILED, LAST, ("Hub removed", "failed")),
    ],
)
def test_the_step_that_is_under_way(status: Status, today: dt.date, step: tuple[str, str]) -> None:
    assert now_at(status, today) == step


def test_a_participant_is_told_of_a_notebook_only_once_the_hub_lets_them_in() -> None:
    for has_begun, let_in, told in (
        (True, "leads", "You are being let in"),
        (True, "everybody", "You can open your notebook."),
        (False, "leads", "from the first day on"),
    ):
        assert told in next_step(Status.ACTIVE, leads=False, has_begun=has_begun, let_in=let_in)
