"""The right to work on one course: at most one operation at a time has it.

Pulumi's own lock is the last line, not the first: two starters can both fail there, and it never expires. `FileLeases`
serves one machine; where several machines work, a row of a database implements the same two protocols.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from automation.events import OperationKind
from automation.failures import OperationFailed
from automation.processes import ProcessMark, account


@dataclass(frozen=True, slots=True)
class Holder:
    """Who works on a course. `process` is the one that started the operation."""

    operation: str
    kind: OperationKind
    slug: str
    since: datetime
    user: str
    process: ProcessMark


class Busy(OperationFailed):
    """Another operation works on the course; `holder` says which (None: it has just begun)."""

    def __init__(self, slug: str, holder: Holder | None) -> None:
        if holder is None:
            message = f"Course {slug} is busy: another operation has just begun on it. Wait until it has ended."
        else:
            message = (
                f"Course {slug} is busy: operation {holder.operation} ({holder.kind}) of user {holder.user}, process "
                f"{holder.process.pid}, works on it since {holder.since:%Y-%m-%d %H:%M:%S} UTC. Wait until it has "
                "ended, or cancel it."
            )
        super().__init__(message)
        self.slug = slug
        self.holder = holder


class Lease(Protocol):
    """A lease that is held. It ends with `release`, or when it was not renewed for `lifetime` seconds."""

    @property
    def holder(self) -> Holder: ...

    @property
    def lifetime(self) -> float:
        """Seconds within which it must be renewed."""
        ...

    @property
    def predecessors(self) -> tuple[str, ...]:
        """Operations that held the lease and never released it: what they left must be found dead first."""
        ...

    def settle(self) -> None:
        """The predecessors are proven dead and what they left is repaired."""
        ...

    def renew(self) -> None:
        """Raises `LeaseLost` if it is no longer ours. Must not block for long: what is not renewed in time ends."""
        ...

    def release(self) -> None:
        """Give it up; a second call does nothing."""
        ...


class Leases(Protocol):
    """All courses' leases."""

    def acquire(self, slug: str, kind: OperationKind, operation: str) -> Lease:
        """Raises `Busy` at once, naming the holder, if somebody else has it."""
        ...

    def holder(self, slug: str) -> Holder | None:
        """Who holds the course's lease now."""
        ...


class FileLeases:
    """Leases of one machine: a locked file each, beside a record that says who locked it.

    The kernel gives the lock up when its process ends, however it ends; the record stays, and tells the next holder
    which operation to look for.
    """

    def __init__(self, folder: Path, lifetime: float = 15.0) -> None:
        self._folder = folder
        self._lifetime = lifetime

    def acquire(self, slug: str, kind: OperationKind, operation: str) -> FileLease:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = ProcessMark.of(os.getpid())
        assert mark is not None, "this process lives"
        lock = self._lock(slug)
        if lock is None:
            raise Busy(slug, self._settled_holder(slug))
        before = self._read(slug)
        holder = Holder(operation, kind, slug, datetime.now(UTC), account(), mark)
        record = _Record(holder, before.operations if before else ())
        lease = FileLease(self._path(slug, "json"), self._path(slug, "lock"), lock, record, self._lifetime)
        try:
            lease.write()
        except OSError:
            os.close(lock)
            raise
        return lease

    def holder(self, slug: str) -> Holder | None:
        record = self._read(slug)
        return record.holder if record and record.holder and record.holder.process.alive() else None

    def _lock(self, slug: str) -> int | None:
        """A descriptor that holds the lock; None if somebody else holds it."""
        path = self._path(slug, "lock")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before us may have removed the file between our open and our lock.
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def _settled_holder(self, slug: str) -> Holder | None:
        """The holder's record; it is written right after the lock, so a look in between waits for a moment."""
        for _ in range(20):
            if (holder := self.holder(slug)) is not None:
                return holder
            time.sleep(0.01)
        return None

    def _read(self, slug: str) -> _Record | None:
        try:
            return _Record.from_json(self._path(slug, "json").read_text())
        except FileNotFoundError:
            return None

    def _path(self, slug: str, kind: str) -> Path:
        return self._folder / f"{slug}.{kind}"


@dataclass(frozen=True, slots=True)
class _Record:
    holder: Holder | None
    """None once the lease was released before its predecessors were proven dead."""
    predecessors: tuple[str, ...]

    @property
    def operations(self) -> tuple[str, ...]:
        """All operations of which something may live."""
        return (self.holder.operation, *self.predecessors) if self.holder else self.predecessors

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, indent=1)

    @classmethod
    def from_json(cls, text: str) -> _Record:
        content = json.loads(text)
        holder = content["holder"]
        if holder is not None:
            since, process = datetime.fromisoformat(holder["since"]), ProcessMark(**holder["process"])
            holder = Holder(**{**holder, "since": since, "process": process})
        return cls(holder, tuple(content["predecessors"]))


class FileLease:
    """See `Lease`. Holds while this process lives; renewing only says so."""

    def __init__(self, record_path: Path, lock_path: Path, descriptor: int, record: _Record, lifetime: float) -> None:
        self._record_path = record_path
        self._lock_path = lock_path
        self._descriptor: int | None = descriptor
        self._record = record
        self._lifetime = lifetime

    @property
    def holder(self) -> Holder:
        assert self._record.holder is not None, "a lease that was released has no holder"
        return self._record.holder

    @property
    def lifetime(self) -> float:
        return self._lifetime

    @property
    def predecessors(self) -> tuple[str, ...]:
        return self._record.predecessors

    def write(self) -> None:
        """Write the record, whole or not at all."""
        draft = self._record_path.with_suffix(".json.new")
        draft.write_text(self._record.to_json())
        draft.replace(self._record_path)

    def settle(self) -> None:
        self._record = _Record(self._record.holder, ())
        self.write()

    def renew(self) -> None:
        """The kernel keeps the lock for us."""

    def release(self) -> None:
        if self._descriptor is None:
            return
        if self._record.predecessors:
            self._record = _Record(None, self._record.predecessors)
            self.write()
        else:
            self._record_path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = None
