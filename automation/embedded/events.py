"""What an operation reports while it works: the CLI's engine events, for the Automation API and for the display."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from automation.embedded.providers import Diff
from automation.embedded.state import Resource, value_to_json
from automation.embedded.values import Properties, Secret, masked

Severity = Literal["debug", "info", "info#err", "warning", "error"]
Event = dict[str, Any]
Sink = Callable[[Event], None]

MASK = "[secret]"
_SHORTEST_MASKED = 6
"""Shorter secrets are not looked for in texts: they would mask half the language."""
_STREAM_SECONDS = 5.0


class Events:
    """Numbers events and hands them to every sink, one at a time."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)
        self._lock = threading.Lock()
        self._sequence = 0
        self._secrets: set[str] = set()

    def hide(self, properties: Mapping[str, Any] | None) -> None:
        """Mask these secrets in every text that is reported from now on."""
        with self._lock:
            for text in _secret_texts(properties or {}):
                if len(text) >= _SHORTEST_MASKED:
                    self._secrets.add(text)

    def prelude(self, config: Properties) -> None:
        self._emit("preludeEvent", {"config": masked(config)})

    def diagnostic(self, severity: Severity, message: str, urn: str = "", *, ephemeral: bool = False) -> None:
        message = message.rstrip("\n")
        with self._lock:
            for text in self._secrets:
                message = message.replace(text, MASK)
        prefix = "" if severity == "info" else f"{severity}: "
        event = {"prefix": prefix, "message": message + "\n", "color": "never", "severity": severity}
        if urn:
            event["urn"] = urn
        if ephemeral:
            event["ephemeral"] = True  # type: ignore[assignment]
        self._emit("diagnosticEvent", event)

    def step(
        self,
        kind: Literal["resourcePreEvent", "resOutputsEvent", "resOpFailedEvent"],
        op: str,
        old: Resource | None,
        new: Resource | None,
        diff: Diff | None = None,
        *,
        planning: bool,
    ) -> None:
        resource = new or old
        assert resource is not None
        metadata: Event = {
            "op": op,
            "urn": resource.urn,
            "type": resource.type,
            "old": _state(old),
            "new": _state(new),
            "detailedDiff": dict(diff.detailed) if diff else {},
            "provider": resource.provider,
        }
        if diff and diff.replaces:
            metadata["keys"] = list(diff.replaces)
        if diff and diff.keys:
            metadata["diffs"] = list(diff.keys)
        if op not in ("create-replacement", "delete-replaced", "refresh"):
            metadata["logical"] = True
        event: Event = {"metadata": metadata}
        if planning and kind != "resOpFailedEvent":
            event["planning"] = True
        if kind == "resOpFailedEvent":
            event |= {"status": 0, "steps": 0}
        self._emit(kind, event)

    def summary(self, changes: Mapping[str, int], seconds: float, *, preview: bool, succeeded: bool) -> None:
        self._emit(
            "summaryEvent",
            {
                "maybeCorrupt": False,
                "durationSeconds": round(seconds),
                "resourceChanges": dict(sorted(changes.items())),
                "PolicyPacks": {},
                "isPreview": preview,
                "result": "succeeded" if succeeded else "failed",
            },
        )

    def end(self) -> None:
        self._emit("cancelEvent", {})

    def _emit(self, kind: str, body: Event) -> None:
        with self._lock:
            event = {"sequence": self._sequence, "timestamp": int(time.time()), kind: body}
            self._sequence += 1
            for sink in self._sinks:
                sink(event)


def _secret_texts(value: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(value, Secret):
        yield from _secret_texts(value.value, secret=True)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secret_texts(item, secret=secret)
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, secret=secret)
    elif secret and isinstance(value, str):
        yield value


def _state(resource: Resource | None) -> Event | None:
    if resource is None:
        return None
    found: Event = {"type": resource.type, "urn": resource.urn}
    if resource.custom:
        found["custom"] = True
    if resource.delete:
        found["delete"] = True
    found |= {"id": resource.id, "parent": resource.parent}
    if resource.protect:
        found["protect"] = True
    if resource.retain_on_delete:
        found["retainOnDelete"] = True
    found["inputs"] = value_to_json(_fresh(resource.inputs or {}), lambda _: MASK)
    found["outputs"] = value_to_json(_fresh(resource.outputs or {}), lambda _: MASK)
    found["provider"] = resource.provider
    if resource.init_errors:
        found["initErrors"] = resource.init_errors
    return found


def _fresh(value: Any) -> Any:
    """Secrets without their value and ciphertext: an event carries neither, and must not touch those of the state."""
    return masked(value, Secret("", MASK))


class EventStream:
    """Sends events to the address of `--event-log tcp://HOST:PORT`, as the Automation API listens."""

    def __init__(self, address: str) -> None:
        import grpc
        from pulumi.runtime.proto import events_pb2_grpc

        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address.removeprefix("tcp://"))
        stub = events_pb2_grpc.EventsStub(self._channel)
        self._answer = stub.StreamEvents.future(self._requests())

    def __call__(self, event: Event) -> None:
        self._queue.put(event)

    def close(self) -> None:
        """Send what is left, and wait until it has arrived."""
        import grpc

        self._queue.put(None)
        with contextlib.suppress(grpc.RpcError, grpc.FutureTimeoutError):
            self._answer.result(timeout=_STREAM_SECONDS)
        self._channel.close()

    def _requests(self) -> Iterator[Any]:
        from pulumi.runtime.proto import events_pb2

        while (event := self._queue.get()) is not None:
            yield events_pb2.EventRequest(event=json.dumps(event, separators=(",", ":")))
