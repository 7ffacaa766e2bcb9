"""Processes of this machine as `/proc` shows them: is an owner alive, and the whole tree of one operation.

The Pulumi CLI puts every plugin into a process group of its own, so killing a group, or a parent, leaves a provider
that finishes its work seconds later. An operation is therefore known by the one thing that every descendant inherits:
`OPERATION_ENV` in its environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

OPERATION_ENV = "JHAAS_OPERATION_ID"
"""Environment variable that names the operation in each of its processes."""

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_PF_KTHREAD = 0x00200000
_LOOKS_AGAIN = 20


def account() -> str:
    """Name of the account that this process runs as; its number where a container gave it no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """What tells one process from every other, also after its number was given to another one or the machine
    was started again. `started` is in clock ticks since the machine's start."""

    pid: int
    boot_id: str
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessMark | None:
        """The mark of a living process; None if there is none."""
        started = _started(pid)
        return None if started is None else cls(pid, boot_id(), started)

    def alive(self) -> bool:
        """Whether this very process still lives (a zombie does not)."""
        return self.boot_id == boot_id() and _started(self.pid) == self.started


@cache
def boot_id() -> str:
    """Changes with each start of the machine."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def started_at(pid: int) -> datetime | None:
    """When a living process was started (to about a second); None if there is none."""
    ticks = _started(pid)
    if ticks is None:
        return None
    return datetime.fromtimestamp(_boot_time() + ticks / os.sysconf("SC_CLK_TCK"), UTC)


def of_operation(operation: str) -> list[int]:
    """Numbers of all living processes that carry the operation's id, whoever their parent is now.

    Processes of other users cannot be read without rights; an operation's processes run as the user that asks, or that
    user is root.
    """
    mark = f"{OPERATION_ENV}={operation}".encode()
    return [pid for pid, found in _environments().items() if mark in found.split(b"\0") and _started(pid) is not None]


def kill_operation(operation: str, *, spare: int | None = None, patience: float = 10.0) -> list[int]:
    """Kill every process of the operation but `spare`, and prove by looking twice that none is left.

    A process may have forked between a look and its kill; only two empty looks in a row end this. Returns the numbers
    that were killed. Raises `TimeoutError` if something still lives after `patience` seconds (a process in an
    uninterruptible wait), so that nobody goes on beside it.
    """
    return _kill_until_gone(lambda: [pid for pid in of_operation(operation) if pid != spare], operation, patience)


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    return [other for other in _pids() if _parent(other) == pid]


def name(pid: int) -> str:
    """The program's short name (at most 15 characters); empty if the process is gone."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def become_subreaper() -> None:
    """Orphaned descendants become children of this process rather than of the machine's first process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def reap() -> None:
    """Collect dead children that nobody waits for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def send(pid: int, signal_number: signal.Signals) -> None:
    """Send a signal; a process that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _kill_until_gone(look: Callable[[], list[int]], name: str, patience: float) -> list[int]:
    killed: list[int] = []
    deadline = time.monotonic() + patience
    empty_looks = 0
    while empty_looks < 2:
        found = look()
        if not found:
            empty_looks += 1
            continue
        empty_looks = 0
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} of operation {name} do not end; look at what they wait for.")
        for pid in found:
            if pid not in killed:
                killed.append(pid)
            send(pid, signal.SIGKILL)
        time.sleep(0.01)
    return killed


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _environments() -> dict[int, bytes]:
    """Environment of each process. One that is just becoming another program (`exec`) shows none for a moment: it is
    looked at again."""
    found = {pid: _environment(pid) for pid in _pids()}
    for _ in range(_LOOKS_AGAIN):
        becoming = [pid for pid, environment in found.items() if not environment and _is_becoming(pid)]
        if not becoming:
            break
        time.sleep(0.01)
        found |= {pid: _environment(pid) for pid in becoming}
    return found


def _is_becoming(pid: int) -> bool:
    """Whether the process lives without arguments, and is none of the kernel's own, which never have any."""
    if _read(pid, "cmdline"):
        return False
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX" and not int(fields[6]) & _PF_KTHREAD


def _environment(pid: int) -> bytes:
    return _read(pid, "environ")


def _read(pid: int, name: str) -> bytes:
    """A file of the process; nothing where it is gone, or not ours to read."""
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the name, which may hold spaces and parentheses: state, parent, …"""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _started(pid: int) -> int | None:
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return int(fields[19])


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


@cache
def _boot_time() -> int:
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise OSError("/proc/stat has no btime")
