"""One loopback port for each hub of this machine, reserved under a lock so that two deploys never choose the same."""

from __future__ import annotations

import json
import random
from pathlib import Path

from course_stack.local.files import locked, private_folder, write_file
from course_stack.local.layout import Layout
from course_stack.local.machine import port_holder, port_is_free, process_name

HUB_PORTS = range(30000, 32768)
"""Above the services' own ports, below the range from which Linux picks ports for outgoing connections."""


class PortError(Exception):
    """No port could be reserved; the message says why, and what to do."""


class PortBook:
    """Which course's hub listens on which port: `hubs/ports.json`, the only place where a hub's port is chosen."""

    def __init__(self, layout: Layout, candidates: range = HUB_PORTS) -> None:
        self._file = layout.hubs / "ports.json"
        self._candidates = candidates

    def reserve(self, slug: str, *, in_use_by_hub: bool = False) -> int:
        """The course's port: the one it has, else a free one.

        A reserved port on which a stranger listens by now is given up for another one; `in_use_by_hub` says that the
        listener is the hub itself. Raises `PortError` where no port is free.
        """
        with locked(self._lock()):
            book = self.read()
            port = book.get(slug)
            if port is not None and (in_use_by_hub or port_is_free("127.0.0.1", port)):
                return port
            book[slug] = self._free(taken={other for name, other in book.items() if name != slug})
            self._write(book)
            return book[slug]

    def reserved(self, slug: str) -> int | None:
        """The course's port, if it has one."""
        return self.read().get(slug)

    def release(self, slug: str) -> None:
        """Give the course's port back; nothing happens where it has none."""
        if not self._file.exists():
            return
        with locked(self._lock()):
            book = self.read()
            if book.pop(slug, None) is not None:
                self._write(book)

    def read(self) -> dict[str, int]:
        """All reservations by slug: the independent look."""
        try:
            content: dict[str, int] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise PortError(
                f"{self._file} cannot be read ({error}): repair it, or remove it while no hub runs."
            ) from error
        return content

    def _free(self, taken: set[int]) -> int:
        for port in random.sample(self._candidates, len(self._candidates)):
            if port not in taken and port_is_free("127.0.0.1", port):
                return port
        first, last = self._candidates[0], self._candidates[-1]
        holder = port_holder(first)
        example = f" ({first} by {process_name(holder)})" if holder else ""
        raise PortError(
            f"No port for the hub is free: all of {first} to {last} are reserved or in use"
            f"{example}. End a course or the programs that listen there."
        )

    def _write(self, book: dict[str, int]) -> None:
        write_file(self._file, json.dumps(book, indent=1, sort_keys=True) + "\n")

    def _lock(self) -> Path:
        return private_folder(self._file.parent) / ".ports.lock"
