"""The state while an operation works on it: written before and after every call that changes something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from automation.embedded.state import Pending, PendingKind, Resource, Snapshot, now
from automation.embedded.store import StoreError

Save = Callable[[Snapshot], Callable[[], None]]
"""Encodes a snapshot, and returns what writes it: encoding happens under the journal's lock, writing does not."""

_RETRIES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between tries of a write that the store refused: losing what a provider did is worse than waiting."""


class Journal:
    """Collects what steps did. Resources done with leave the old state, new ones follow in the order they were done.

    Threads that wait for a write share the next one. Without `save` (a preview) nothing is written.
    """

    def __init__(self, base: Snapshot, save: Save | None) -> None:
        self._base = base
        self._save = save
        self._new: list[Resource] = []
        self._done: dict[int, Resource] = {}
        self._begun: list[Pending] = []
        self._lock = threading.Lock()
        self._writer = threading.Lock()
        self._version = 0
        self._written = 0
        self._refused = False
        """The last write failed in spite of all patience: those after it are tried once, the very last patiently."""

    def begin(self, resource: Resource, kind: PendingKind) -> None:
        """Note, before the provider is called, that the call is under way."""
        self._change(lambda: self._begun.append(Pending(resource, kind)))

    def end(self, resource: Resource, change: Callable[[], Any] | None = None) -> None:
        """The call that was begun for the resource has ended; `change` says what that means for the state."""

        def apply() -> None:
            self._begun = [pending for pending in self._begun if pending.resource is not resource]
            if change is not None:
                change()

        self._change(apply)

    def note(self, change: Callable[[], Any], *, write: bool) -> None:
        """A change without a provider call; with `write=False` it waits for the next write."""
        self._change(change, write=write)

    def add(self, resource: Resource) -> None:
        """Only within a change: the resource is part of the new state."""
        self._new.append(resource)

    def drop(self, resource: Resource) -> None:
        """Only within a change: the resource is not part of the state any more."""
        self._done[id(resource)] = resource

    def replace_base(self, resources: Iterable[Resource]) -> None:
        """Only within a change: the old state after a refresh."""
        self._base = Snapshot(list(resources), self._base.pending, self._base.salt)

    def close(self) -> None:
        """Write what was only noted."""
        if self._version > self._written:
            self._refused = False
            self._flush(self._version)

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        kept = [resource for resource in (*self._new, *self._base.resources) if id(resource) not in self._done]
        # Only creates stay: what was interrupted while updating or deleting is in the state and is tried again.
        left = [pending for pending in self._base.pending if pending.kind == "creating"]
        return Snapshot(kept, [*self._begun, *left], self._base.salt, now())

    def _change(self, change: Callable[[], Any], *, write: bool = True) -> None:
        with self._lock:
            change()
            self._version += 1
            mine = self._version
        if write:
            self._flush(mine)

    def _flush(self, mine: int) -> None:
        if self._save is None:
            return
        with self._writer:
            if self._written >= mine:
                return
            with self._lock:
                version = self._version
                write = self._save(self._snapshot())
            self._write(write)
            self._written = version

    def _write(self, write: Callable[[], None]) -> None:
        for delay in (*(() if self._refused else _RETRIES), None):
            try:
                write()
            except StoreError:
                if delay is None:
                    self._refused = True
                    raise
                time.sleep(delay)
            else:
                self._refused = False
                return
