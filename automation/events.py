"""What an operation tells while it runs: one JSON line an event, from the child process to whoever started it.

Events are for watching. The record is the log file, since an exception in a watcher must not change an operation. No
event holds a secret.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

OperationKind = Literal["deploy", "update", "preview", "refresh", "destroy", "outputs", "unlock"]


@dataclass(frozen=True, slots=True)
class Started:
    """The child process runs; `engine` says in words which Pulumi does the work."""

    type: ClassVar[str] = "started"
    operation: str
    kind: OperationKind
    slug: str
    engine: str


@dataclass(frozen=True, slots=True)
class ResourceStep:
    """One resource is begun, done or failed. `action` is Pulumi's word: create, update, delete, refresh, same, …"""

    type: ClassVar[str] = "resource"
    name: str
    resource_type: str
    action: str
    state: Literal["begun", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` resources; `total` is what is known so far and may grow."""

    type: ClassVar[str] = "progress"
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the engine's or of a provider's output, as it stands in the log file."""

    type: ClassVar[str] = "log"
    text: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to know that does not stop the operation: a lock was broken, an interrupted run repaired, …"""

    type: ClassVar[str] = "warning"
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event. `failure` is the failure's class name (see `automation.failures`), None where it went well."""

    type: ClassVar[str] = "finished"
    operation: str
    seconds: float
    changes: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A resource that is not as the state says: `gone`, or `changed` in `fields` (top-level properties)."""

    name: str
    resource_type: str
    what: Literal["gone", "changed"]
    fields: tuple[str, ...] = ()


Event = Started | ResourceStep | Progress | LogLine | Warned | Finished

_TYPES: dict[str, type[Event]] = {cls.type: cls for cls in (Started, ResourceStep, Progress, LogLine, Warned, Finished)}


def to_json(event: Event) -> str:
    """One line, without its end."""
    return json.dumps({"type": event.type, **dataclasses.asdict(event)}, ensure_ascii=False)


def in_words(event: Event) -> str:
    """The event as a line for people; empty for those that only tell what the engine's own lines tell already."""
    match event:
        case Started():
            return f"operation {event.operation}: {event.kind} of {event.slug}, by the {event.engine}"
        case LogLine():
            return event.text
        case Warned():
            return f"warning: {event.text}"
        case Finished(failure=None):
            counts = ", ".join(f"{count} {what}" for what, count in event.changes.items())
            return f"done in {event.seconds:g} s: {counts or 'nothing to do'}"
        case Finished():
            return f"failed after {event.seconds:g} s ({event.failure}): {event.message}"
    return ""


def from_json(line: str) -> Event:
    """The event of one line. Raises `ValueError` for a line that is none."""
    try:
        content: dict[str, Any] = json.loads(line)
        return _TYPES[content.pop("type")](**content)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event: {line[:200]!r}") from error
