"""Homes on this machine: folders below the course's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from course_stack.hub_rules import CHECK_USER
from course_stack.local import homes, processes
from course_stack.local.layout import Layout
from portal.archives import walk
from portal.archives.copy import Order, Outcome, archive_homes
from portal.archives.storage import Owner, StorageFailed
from portal.archives.store import ArchiveStore


@dataclass(frozen=True, slots=True)
class LocalHomes:
    """A `HomeStorage` of one course on this machine."""

    at_once: ClassVar[int] = 1
    layout: Layout
    slug: str

    def homes(self) -> Mapping[str, Owner | None]:
        folder = self.layout.homes(self.slug)
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageFailed(f"{folder} cannot be read: {error.strerror}.") from error
        try:
            index = homes.home_index(self.layout, self.slug)
        except (OSError, ValueError, TypeError) as error:
            raise StorageFailed(
                f"{folder / homes.INDEX}, which says whose each home is, cannot be read: restore it from a backup."
            ) from error
        owners = {name: Owner(owner.issuer, owner.subject) for name, owner in index.items()}
        check = homes.safe_name(CHECK_USER)
        return {name: owners.get(name) for name in names if name != check and not name.startswith(".")}

    def in_use(self) -> frozenset[str]:
        return frozenset(name for name, pids in self._users().items() if pids)

    def end_use(self, homes: frozenset[str]) -> None:
        users = self._users()
        try:
            processes.end(frozenset(pid for name in homes for pid in users.get(name, ())))
        except processes.ProcessError as error:
            raise StorageFailed(str(error)) from error

    def archive(self, orders: Sequence[Order], store: ArchiveStore, tick: Callable[[int], None]) -> Iterator[Outcome]:
        folder = self.layout.homes(self.slug)
        yield from archive_homes(lambda home: walk.walk(folder / home), orders, store, tick)

    def remove_check_home(self) -> None:
        self.end_use(frozenset({homes.safe_name(CHECK_USER)}))
        try:
            homes.remove_home(self.layout, self.slug, CHECK_USER)
        except OSError as error:
            raise StorageFailed(f"The home of the check cannot be removed: {error}.") from error

    def _users(self) -> dict[str, set[int]]:
        """Name of a home → processes in front of the servers that have it open."""
        begin = f"{self.layout.homes(self.slug)}/"
        found: dict[str, set[int]] = {}
        for pid, home in processes.marks(processes.HOME_MARK).items():
            if home.startswith(begin):
                found.setdefault(home.removeprefix(begin), set()).add(pid)
        return found
