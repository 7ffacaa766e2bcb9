"""How far this machine can keep one notebook from another, and from the product itself."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import Enum
from functools import cache
from pathlib import Path

SANDBOX = Path(__file__).with_name("sandbox.py")


class Isolation(Enum):
    """From the strongest to none; `warning` is what people are told."""

    PRIVATE = "private"
    """An account of its own, and a view of the machine that holds nothing but its own files."""
    ACCOUNT = "account"
    """An account of its own; the machine's world-readable files and other processes' names are visible."""
    NONE = "none"
    """The product's own account."""

    @property
    def warning(self) -> str | None:
        """One sentence for a banner; None where nothing is missing."""
        return _WARNINGS.get(self)


_WARNINGS = {
    Isolation.ACCOUNT: "Notebooks run under accounts of their own, but this machine allows them no private view: they "
    "see the names of other processes and files that are open to everybody.",
    Isolation.NONE: "Notebooks run under the account of this service: participants can read each other's files and "
    "the service's own. Use this for trying alone, never with a class.",
}


@cache
def isolation() -> Isolation:
    """What holds on this machine, tried once."""
    if os.geteuid() != 0:
        return Isolation.NONE
    if _private_view_works():
        return Isolation.PRIVATE
    return Isolation.ACCOUNT if all(_everybody_may_read(path) for path in python_folders()) else Isolation.NONE


def python_folders() -> tuple[Path, ...]:
    """The folders that a notebook server needs to run this Python: its environment, and the installation behind it."""
    folders = {
        Path(sys.prefix).resolve(),
        Path(sys.base_prefix).resolve(),
        Path(sys.executable).resolve().parent.parent,
    }
    return tuple(
        sorted(one for one in folders if not any(one != other and one.is_relative_to(other) for other in folders))
    )


def _private_view_works() -> bool:
    probe = subprocess.run(
        [sys.executable, "-I", "-S", str(SANDBOX), "--probe"], capture_output=True, timeout=30, check=False, env={}
    )
    return probe.returncode == 0


def _everybody_may_read(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])
