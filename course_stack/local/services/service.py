"""What every service has in common."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Protocol

from course_stack.local.supervisor import Program

REPOSITORY = Path(__file__).parents[3]
"""Folder that holds the package `course_stack`, for programs of ours that run elsewhere."""


class ServiceError(Exception):
    """A service did not start or stop; the message names it, says why, and where its log is."""


class Service(Protocol):
    """One service. The methods are called in this order; each may be called again at any time."""

    name: str
    address: str
    """Where it answers, for people."""
    ports: tuple[tuple[str, int], ...]
    """Addresses and ports that it listens on."""
    after: tuple[str, ...]
    """Services that must be ready before `prepare`."""

    def prepare(self) -> None:
        """Write its configuration and make its data folder."""
        ...

    def program(self) -> Program:
        """How it runs."""
        ...

    def unready(self) -> str | None:
        """None when it answered as it should just now; else what is missing. Takes at most a few seconds."""
        ...

    def provision(self) -> None:
        """Make what it must hold: databases, buckets, keys."""
        ...


def fingerprint(*paths: Path) -> str:
    """Changes when one of the files does; missing files count as empty."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.exists() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def executable(name: str) -> Path:
    """A program that came with our Python packages, else one on PATH."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    if found := shutil.which(name):
        return Path(found)
    raise ServiceError(f"The program {name} is missing: install this project's requirements.txt again.")
