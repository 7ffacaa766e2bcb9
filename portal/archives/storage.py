"""Where people's homes lie. The list of homes always comes from here, never from a list of people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from automation.failures import OperationFailed
from portal.archives.copy import Order, Outcome
from portal.archives.store import ArchiveStore


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a home is: a subject means something only together with the provider that gave it."""

    issuer: str
    subject: str


class StorageFailed(OperationFailed):
    """The storage of homes cannot be read; the message says what, and what to do."""


class HomeStorage(Protocol):
    """The homes of one course, by their names at the storage. Failures raise `StorageFailed`."""

    @property
    def at_once(self) -> int:
        """How many homes one call of `archive` may be given."""
        ...

    def homes(self) -> Mapping[str, Owner | None]:
        """Every home that is there, but for the check's; None where nobody is known to have had it."""
        ...

    def in_use(self) -> frozenset[str]:
        """Homes that a server has open now, whether the course's hub knows of it or not."""
        ...

    def end_use(self, homes: frozenset[str]) -> None:
        """End the servers that have these homes open, without asking the hub."""
        ...

    def archive(self, orders: Sequence[Order], store: ArchiveStore, tick: Callable[[int], None]) -> Iterator[Outcome]:
        """Copy these homes to the store, each as `portal.archives.copy.archive_home` does; outcomes come as they are
        known, in any order, one a home. `tick` is called at least every few seconds; what it raises ends the copying.
        Raises `ObjectStoreError` where the store keeps nothing."""
        ...

    def remove_check_home(self) -> None:
        """Delete the home of the user of the check; fine where there is none. No other home can be deleted."""
        ...
