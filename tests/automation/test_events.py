from __future__ import annotations

import pytest

from automation.events import (
    Event,
    Finished,
    LogLine,
    Progress,
    ResourceStep,
    Started,
    Warned,
    from_json,
    in_words,
    to_json,
)

EVENTS: list[Event] = [
    Started("one", "deploy", "physics", "Pulumi CLI 3.259.0"),
    ResourceStep("hub", "jhaas:index:LocalHub", "create", "begun"),
    Progress(3, 8),
    LogLine('a "quoted" line with ümläuts and \\'),
    Warned("a lock was broken"),
    Finished("one", 12.5, {"create": 8}),
    Finished("one", 0.1, {}, "StoreDown", "The state store cannot be reached."),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_an_event_is_one_line_and_comes_back_as_it_was(event: Event) -> None:
    line = to_json(event)

    assert "\n" not in line
    assert from_json(line) == event


def test_for_people_an_event_is_a_line_or_nothing() -> None:
    assert [in_words(event) for event in EVENTS] == [
        "operation one: deploy of physics, by the Pulumi CLI 3.259.0",
        "",
        "",
        'a "quoted" line with ümläuts and \\',
        "warning: a lock was broken",
        "done in 12.5 s: 8 create",
        "failed after 0.1 s (StoreDown): The state store cannot be reached.",
    ]


@pytest.mark.parametrize("line", ["", "Traceback", "[]", '{"type": "unheard of"}', '{"type": "log", "texts": "x"}'])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"event|Expecting"):
        from_json(line)
