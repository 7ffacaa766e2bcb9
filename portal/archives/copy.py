"""One home, from storage to a verified archive. Pure of databases and of what a course is: it may run anywhere that
sees the storage and the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from portal.archives.pack import ArchiveFacts, Sink, pack, verify
from portal.archives.walk import Member, Skipped


class Writing(Sink, Protocol):
    """An archive on its way."""

    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Keeper(Protocol):
    """Keeps archives (`portal.archives.store.ArchiveStore`)."""

    def upload(self, key: str) -> Writing: ...
    def read(self, key: str) -> Iterator[bytes]: ...
    def delete(self, key: str) -> None: ...


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
