"""The stack's lock: an object of each process that works on it. It never expires, and proves nothing of its owner."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime

from automation.embedded.errors import EngineError
from automation.embedded.state import now
from automation.embedded.store import NotThere, Store, StoreError
from automation.processes import account


def lock_folder(project: str, stack: str) -> str:
    return f".pulumi/locks/organization/{project}/{stack}"


class StackLock:
    """Takes and releases one stack's lock. Two who start at once may both be refused; none is ever let in twice."""

    def __init__(self, store: Store, project: str, stack: str) -> None:
        self._store = store
        self._folder = lock_folder(project, stack)
        self._key = f"{self._folder}/{uuid.uuid4()}.json"

    @contextlib.contextmanager
    def held(self, warn: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock; where another process holds it, an `EngineError` with the CLI's words names that one.

        A lock that cannot be released is told to `warn`: it must not hide how the work under it ended.
        """
        self._refuse_if_locked()
        owner = {
            "pid": os.getpid(),
            "username": account(),
            "hostname": socket.gethostname(),
            "timestamp": now(),
        }
        try:
            self._store.put(self._key, json.dumps(owner, separators=(",", ":")).encode())
            # Another may have written its own between our look and our write: the store knows no exclusive write.
            self._refuse_if_locked()
            yield
        finally:
            try:
                self._store.delete(self._key)
            except StoreError as error:
                warn(
                    f"error: there was a problem deleting the lock at {self._store.address(self._key)}, manual clean "
                    f"up may be required: {error}"
                )

    def _refuse_if_locked(self) -> None:
        holders = []
        for key in self._store.list(self._folder):
            if key == self._key:
                continue
            with contextlib.suppress(NotThere):  # released meanwhile
                holders.append(f"{self._store.address(key)}: {_owner(self._store.get(key))}")
        if holders:
            text = (
                f"the stack is currently locked by {len(holders)} lock(s). Either wait for the other process(es) "
                "to end or delete the lock file with `pulumi cancel`."
            )
            raise EngineError("\n  ".join((text, *holders)))


def remove_locks(store: Store, project: str, stack: str) -> None:
    """What `cancel` does: delete every lock of the stack. It stops nothing."""
    for key in store.list(lock_folder(project, stack)):
        store.delete(key)


def _owner(content: bytes) -> str:
    try:
        owner = json.loads(content)
        since = datetime.fromisoformat(_microseconds(owner["timestamp"])).isoformat(timespec="seconds")
        return (
            f"created by {owner['username']}@{owner['hostname']} (pid {owner['pid']}) at {since.replace('+00:00', 'Z')}"
        )
    except (ValueError, KeyError, TypeError):
        return "a lock that cannot be read"


def _microseconds(timestamp: str) -> str:
    """Go writes up to nine digits of a second, Python reads six."""
    whole, dot, rest = timestamp.partition(".")
    if not dot:
        return timestamp
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{whole}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
