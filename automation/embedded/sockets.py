"""Addresses for the engine and its providers that no other account of the machine can reach.

Whoever reaches a dynamic provider, or the monitor that calls it, can have code run under our account. A loopback port
is open to everybody on the machine, notebooks included; a socket in a private folder is not.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


class Sockets:
    """Unix sockets in a folder of their own, which goes with them."""

    def __init__(self, parent: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=".sockets-", dir=parent))  # mode 0700
        # A socket's path may have 107 bytes; by way of the open folder it is short, however deep the folder lies.
        self._handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        """Address of the socket `name` as gRPC takes it, for processes of our account while this one lives."""
        return f"unix:/proc/{os.getpid()}/fd/{self._handle}/{name}"

    def close(self) -> None:
        os.close(self._handle)
        shutil.rmtree(self._folder, ignore_errors=True)
