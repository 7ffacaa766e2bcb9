"""Homes, from storage to verified archives. Pure of databases and of what a course is: it may run anywhere that
sees the storage and the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from portal.archives.pack import ArchiveDamaged, ArchiveFacts, Sink, pack, verify
from portal.archives.walk import HomeUnreadable, Member, Skipped


class Writing(Sink, Protocol):
    """An archive on its way."""

    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Keeper(Protocol):
    """Keeps archives (`portal.archives.store.ArchiveStore`)."""

    def upload(self, key: str) -> Writing: ...
    def read(self, key: str) -> Iterator[bytes]: ...
    def delete(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """A home that shall be copied into the archive `key`; `about` goes into its manifest."""

    home: str
    key: str
    about: dict[str, Any]


class HomeGone(HomeUnreadable):
    """The storage has the home no longer."""


class HomeInUse(HomeUnreadable):
    """A server has the home open: a copy would be of no one moment."""


class CopyingEnded(HomeUnreadable):
    """Whatever copied the home ended before it was done, or never began."""


Failure = HomeUnreadable | ArchiveDamaged
"""Why there is no archive of a home. What is told to people follows from the class (`portal.archives.causes`)."""

Outcome = tuple[str, ArchiveFacts | Failure]
"""A home, and what is known of its archive or why there is none."""


def archive_homes(
    read: Callable[[str], Iterable[Member | Skipped]],
    orders: Iterable[Order],
    keeper: Keeper,
    tick: Callable[[int], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Copy one home after the other; one that cannot be copied keeps no other from it. Otherwise as `archive_home`."""
    for order in orders:
        try:
            facts = archive_home(read(order.home), keeper, order.key, folder=order.home, about=order.about, tick=tick)
        except (HomeUnreadable, ArchiveDamaged) as failure:
            yield order.home, failure
        else:
            yield order.home, facts


def archive_home(
    things: Iterable[Member | Skipped],
    keeper: Keeper,
    key: str,
    *,
    folder: str,
    about: dict[str, Any],
    tick: Callable[[int], None] = lambda _: None,
) -> ArchiveFacts:
    """Copy a home into the archive `key`, read it back, and give what is known of it.

    Nothing is left under the key if anything is raised: `HomeUnreadable`, `ArchiveDamaged`, `ObjectStoreError`, or
    whatever `tick` raises, which is called with the bytes of each piece that was read.
    """
    upload = keeper.upload(key)
    try:
        facts = pack(things, upload, folder=folder, about=about, tick=tick)
        upload.finish()
    except BaseException:
        _quietly(upload.abort)
        raise
    try:
        verify(_ticking(keeper.read(key), tick), facts)
    except BaseException:
        _quietly(lambda: keeper.delete(key))
        raise
    return facts


def _ticking(chunks: Iterator[bytes], tick: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        tick(len(chunk))
        yield chunk


def _quietly(clean: Callable[[], None]) -> None:
    """Clean up where a failure is under way, which is the one to be told; what stays is found by the next try."""
    try:
        clean()
    except Exception:  # noqa: BLE001 - see above
        return
