"""When a stack's lock may be broken: only when its owner is proven dead."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from automation import processes
from automation.failures import StackLocked
from automation.state import Lock, StateStore

# /proc counts in hundredths of a second from a start time in whole seconds.
_TOLERANCE = timedelta(seconds=2)


def break_locks(store: StateStore, slug: str, *, force: bool = False) -> list[Lock]:
    """Break each lock of the stack whose owner is proven dead, and nothing else; returns them.

    Raises `StackLocked` for one whose owner may live, unless `force`.
    """
    store.remove_torn_locks(slug)
    broken = []
    for lock in store.locks(slug):
        if not force and (reason := why_alive(lock)):
            raise StackLocked(
                f"The stack of course {slug} is locked by {lock}, and {reason}. When you are sure that nothing works "
                "on it any more, unlock it with force."
            )
        store.break_lock(lock)
        broken.append(lock)
    return broken


def why_alive(
    lock: Lock,
    host: str | None = None,
    started_at: Callable[[int], datetime | None] = processes.started_at,
) -> str | None:
    """Why the lock's owner may live, in words that follow "and"; None when it is proven dead.

    Processes of an earlier operation of ours are killed by their id before this is asked; what is left is to look at
    the process that the lock names. `started_at` gives a living process's start.
    """
    here = socket.gethostname() if host is None else host
    if lock.host != here:
        return f"that is another machine than this one ({here}), so its processes cannot be looked at from here"
    started = started_at(lock.pid)
    if started is None or started > lock.taken + _TOLERANCE:
        # No such process, or its number was given to a younger one.
        return None
    return f"process {lock.pid} lives"
