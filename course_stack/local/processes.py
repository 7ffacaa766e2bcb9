"""Processes of this machine, as /proc shows them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

COURSE_MARK = "JHAAS_HUB"
"""In the environment of each notebook server's launcher (never of the server): the hub's folder. Whatever becomes of
the hub, its servers can be found and ended."""
HOME_MARK = "JHAAS_NOTEBOOK"
"""Likewise: the person's home folder."""


class ProcessError(Exception):
    """Processes did not end; the message names them."""


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since the machine's start; None where no such process lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def marked(name: str, value: str) -> frozenset[int]:
    """Living processes that were started with this variable in their environment."""
    wanted = f"{name}={value}".encode()
    return frozenset(pid for pid in _all() if wanted in _environment(pid) and start_time(pid) is not None)


def marks(name: str) -> dict[int, str]:
    """Living processes that were started with this variable in their environment, and its value."""
    begin = f"{name}=".encode()
    found = {}
    for pid in _all():
        value = next((one[len(begin) :] for one in _environment(pid) if one.startswith(begin)), None)
        if value is not None and start_time(pid) is not None:
            found[pid] = os.fsdecode(value)
    return found


def working_in(folder: Path) -> frozenset[int]:
    """Living processes whose working folder is this one, or was until it was deleted."""
    wanted = str(folder.resolve())
    found = set()
    for pid in _all():
        with suppress(OSError):
            if str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)") == wanted:
                found.add(pid)
    return frozenset(found)


def of_accounts(uids: frozenset[int]) -> frozenset[int]:
    """Living processes of these accounts."""
    found = set()
    for pid in _all():
        with suppress(OSError):
            if Path(f"/proc/{pid}").stat().st_uid in uids and start_time(pid) is not None:
                found.add(pid)
    return frozenset(found)


def end(pids: frozenset[int], *, patience: float = 5, deadline: float = 10) -> None:
    """Ask the processes to end, and end those that did not within `patience` seconds; `ProcessError` where some
    still live `deadline` seconds later."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, deadline)):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + seconds
        while (pids := frozenset(pid for pid in pids if start_time(pid) is not None)) and time.monotonic() < until:
            time.sleep(0.02)
        if not pids:
            return
    raise ProcessError(f"Processes did not end: {', '.join(map(str, sorted(pids)))}. End them by hand, then try again.")


def _all() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
