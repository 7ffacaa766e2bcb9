"""An operation as people watch it: what its attempts told, as lines, steps, resources and progress."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from portal.models import Attempt, AttemptEvent, Operation
from portal.texts import N_

FINAL = frozenset({"succeeded", "failed", "superseded", "cancelled"})
"""Statuses in which nothing more happens to an operation."""

SHOWN = 400
"""Events of an operation that a page shows; the log has all of them."""

ACTIONS: dict[str, str] = {
    "create": N_("create"),
    "update": N_("change"),
    "replace": N_("replace"),
    "delete": N_("delete"),
    "refresh": N_("look at"),
    "read": N_("read"),
    "same": N_("nothing to do"),
}
"""Pulumi's words for what is done to a resource, as people read them (message ids)."""

Position = tuple[int, int]
"""(attempt's id, number of the event): the order of all events of an operation."""

State = Literal["begun", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log. `text` is a message id if it is one of ours, else as it was told."""

    position: Position
    at: datetime
    text: str
    kind: str = ""
    """step, warning, failed, done, or nothing for a line of the engine."""
    values: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return id_of(self.position)


@dataclass(frozen=True, slots=True)
class Resource:
    """What became of one resource in the last attempt."""

    name: str
    action: str
    """Message id."""
    state: State


@dataclass(slots=True)
class Watched:
    """What is known of an operation up to `position`."""

    lines: list[Line] = field(default_factory=list)
    resources: dict[str, Resource] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    step: Line | None = None
    """What happens now."""
    position: Position = (0, 0)
    is_cut: bool = False
    """Whether there are earlier lines that are left out."""

    @property
    def id(self) -> str:
        return id_of(self.position)


def id_of(position: Position) -> str:
    """As it stands in a stream (`attempt:n`)."""
    return f"{position[0]}:{position[1]}"


def position_of(text: str | None) -> Position:
    """From a stream's id; the beginning for none and for something else."""
    first, _colon, second = (text or "").partition(":")
    # a number of more digits is none of ours, and no number of the database either
    if first.isascii() and second.isascii() and first.isdigit() and second.isdigit() and len(first + second) < 18:
        return int(first), int(second)
    return 0, 0


def events_after(session: Session, operation: uuid.UUID, position: Position, limit: int = 500) -> list[AttemptEvent]:
    """What was told after a position, in order."""
    return list(
        session.scalars(
            select(AttemptEvent)
            .join(Attempt, Attempt.id == AttemptEvent.attempt_id)
            .where(Attempt.operation_id == operation)
            .where(tuple_(AttemptEvent.attempt_id, AttemptEvent.n) > position)
            .order_by(AttemptEvent.attempt_id, AttemptEvent.n)
            .limit(limit)
        )
    )


def watch(session: Session, operation: Operation) -> Watched:
    """What a page shows of an operation: its last events."""
    last = session.scalars(
        select(AttemptEvent)
        .join(Attempt, Attempt.id == AttemptEvent.attempt_id)
        .where(Attempt.operation_id == operation.id)
        .order_by(AttemptEvent.attempt_id.desc(), AttemptEvent.n.desc())
        .limit(SHOWN + 1)
    ).all()
    watched = fold(reversed(last[:SHOWN]))
    watched.is_cut = len(last) > SHOWN
    return watched


def fold(events: Iterable[AttemptEvent]) -> Watched:
    """Lines, resources and progress from events in order. A new attempt begins resources and progress anew."""
    watched = Watched()
    for event in events:
        if event.attempt_id != watched.position[0]:
            watched.resources, watched.done, watched.total, watched.step = {}, 0, 0, None
        watched.position = (event.attempt_id, event.n)
        watched.lines.extend(lines_of(event))
        match event.type:
            case "resource":
                resource = resource_of(event.content)
                watched.resources[resource.name] = resource
            case "progress":
                watched.done, watched.total = int(event.content["done"]), int(event.content["total"])
            case "step":
                watched.step = watched.lines[-1]
            case "finished":
                watched.step = None
    return watched


def lines_of(event: AttemptEvent) -> Iterator[Line]:
    """An event as a line; none for those that are shown otherwise."""
    position, content = (event.attempt_id, event.n), event.content
    match event.type:
        case "started":
            yield Line(position, event.at, N_("Begun, by the %(engine)s"), "step", {"engine": content["engine"]})
        case "step":
            yield Line(position, event.at, content["text"], "step", content.get("values", {}))
        case "log":
            yield Line(position, event.at, content["text"])
        case "warning":
            yield Line(position, event.at, content["text"], "warning")
        case "finished" if content.get("failure"):
            yield Line(position, event.at, content["message"] or content["failure"], "failed")
        case "finished":
            seconds = f"{content['seconds']:g}"
            yield Line(position, event.at, N_("Done in %(seconds)s s"), "done", {"seconds": seconds})


def resource_of(content: dict[str, Any]) -> Resource:
    """From a `resource` event."""
    action = str(content["action"]).removesuffix("-replacement")
    return Resource(content["name"], ACTIONS.get(action, action), content["state"])


def log_of(session: Session, operation: uuid.UUID, words: Sequence[str] = ()) -> Iterator[str]:
    """All lines of an operation as text, oldest first, read in pieces. `words` are put above."""
    yield from (f"{word}\n" for word in words)
    position: Position = (0, 0)
    while events := events_after(session, operation, position):
        for event in events:
            for line in lines_of(event):
                text = line.text % line.values if line.values else line.text
                yield f"{line.at.isoformat(timespec='seconds')}  {text}\n"
        position = (events[-1].attempt_id, events[-1].n)
