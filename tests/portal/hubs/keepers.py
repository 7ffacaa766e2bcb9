"""A keeper of archives in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import zstandard

from portal.archives.copy import archive_home
from portal.archives.pack import ArchiveFacts
from portal.archives.walk import Member, Skipped


class MemoryKeeper:
    """Whole archives by key. `damage` changes what is read back."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.damage: Any = lambda data: data

    def upload(self, key: str) -> _Upload:
        return _Upload(self, key)

    def read(self, key: str) -> Iterator[bytes]:
        data = self.damage(self.objects[key])
        yield from (data[at : at + 1000] for at in range(0, len(data), 1000))

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class _Upload:
    def __init__(self, keeper: MemoryKeeper, key: str) -> None:
        self._keeper, self._key, self._data = keeper, key, io.BytesIO()

    def write(self, data: bytes) -> None:
        self._data.write(data)

    def finish(self) -> None:
        self._keeper.objects[self._key] = self._data.getvalue()

    def abort(self) -> None:
        self._data.truncate(0)


def archived(things: Iterator[Member | Skipped], keeper: MemoryKeeper | None = None) -> tuple[ArchiveFacts, bytes]:
    """The facts of an archived home, and the plain tar."""
    keeper = keeper or MemoryKeeper()
    facts = archive_home(things, keeper, "key", folder="anna", about={"home": "anna"})
    return facts, zstandard.ZstdDecompressor().stream_reader(io.BytesIO(keeper.objects["key"])).read()


def opened(plain: bytes) -> tarfile.TarFile:
    """The tar, names as they were."""
    return tarfile.open(fileobj=io.BytesIO(plain), encoding="utf-8", errors="surrogateescape")
