"""A home as one tar.zst: written as a stream, and read again to prove that it is whole.

The archive holds one folder with the home in it, and after it `MANIFEST.json`: what was copied, and what could not be.
The tar is pax (POSIX.1-2001), with GNU's sparse format 1.0 for files with holes: tar, bsdtar and Python read it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, Any, Protocol, cast

import zstandard

from portal.archives.walk import CHUNK, Content, Member, Skipped

MANIFEST = "MANIFEST.json"
_READS = 3
"""How often a file that changes while it is read is read."""
_BLOCK = 512
_MOST_TOLD = 10_000
"""Skipped things that a manifest names; a home may hold millions of sockets."""


class ArchiveDamaged(Exception):
    """What was read back is not what was written; the message says what is wrong."""


class Sink(Protocol):
    """Takes the archive's bytes in order."""

    def write(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """What is known of an archive while it is written, and must be found when it is read."""

    size: int
    """Bytes of the tar.zst."""
    sha256: str
    members: int
    """Members of the tar, the manifest included."""
    files: int
    """Files of the home (each name of a hard link counts)."""
    bytes: int
    """Their bytes as far as they were ever written."""
    skipped: int
    first_skipped: tuple[Skipped, ...] = field(default=(), repr=False)


def pack(
    things: Iterable[Member | Skipped],
    sink: Sink,
    *,
    folder: str,
    about: dict[str, Any],
    tick: Callable[[int], None] = lambda _: None,
) -> ArchiveFacts:
    """Write the home as tar.zst into the sink, in bounded memory.

    `about` goes into the manifest; `tick` is called with the bytes of each piece before compression.
    """
    out = _Tar(_Compressed(sink, tick), folder)
    for thing in things:
        if isinstance(thing, Skipped):
            out.skip(thing)
        else:
            out.add(thing)
    return out.finish(about)


def verify(source: Iterable[bytes], facts: ArchiveFacts) -> None:
    """Read an archive to its end: same bytes as were written, a whole zstd stream, a whole tar with as many members.

    Raises `ArchiveDamaged`.
    """
    stream = _Hashed(source)
    members = 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(cast(IO[bytes], stream)) as plain:
            with tarfile.open(
                fileobj=plain, mode="r|", bufsize=CHUNK, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                while tar.next() is not None:
                    members += 1
                    # it would remember them all
                    cast(Any, tar).members = []
            while plain.read(CHUNK):
                pass
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise ArchiveDamaged(f"The archive that was read back is no tar.zst: {error}.") from error
    stream.drain()
    if (stream.size, stream.hash.hexdigest()) != (facts.size, facts.sha256):
        raise ArchiveDamaged(
            f"The archive that was read back has {stream.size} bytes and another SHA-256 than the {facts.size} bytes "
            "that were written."
        )
    if members != facts.members:
        raise ArchiveDamaged(f"The archive that was read back holds {members} things, not {facts.members}.")


class _Compressed:
    """zstd in front of a sink; counts and hashes what goes in."""

    def __init__(self, sink: Sink, tick: Callable[[int], None]) -> None:
        self._sink = sink
        self._tick = tick
        self._zstd = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._pass_on(self._zstd.compress(data))
        self._tick(len(data))

    def finish(self) -> str:
        """End the stream; its SHA-256 in hex."""
        self._pass_on(self._zstd.flush())
        return self._hash.hexdigest()

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._hash.update(data)
            self.size += len(data)
            self._sink.write(data)


class _Tar:
    def __init__(self, out: _Compressed, folder: str) -> None:
        self._out = out
        self._root = folder
        self._members = self._files = self._bytes = self._skips = 0
        self._skipped: list[Skipped] = []

    def skip(self, what: Skipped) -> None:
        self._skips += 1
        if len(self._skipped) < _MOST_TOLD:
            self._skipped.append(what)

    def add(self, member: Member) -> None:
        info = self._info(self._name(member.path), member)
        self._files += member.kind in ("file", "hardlink")
        if member.content is None:
            self._header(info)
            return
        for _ in range(_READS):
            # of several members with one name the last counts
            self._file(info, member.content)
            if not member.content.changed():
                self._bytes += member.content.stored
                return
            member.content.look()
        self._bytes += member.content.stored
        self.skip(Skipped(member.path, "changed whenever it was read: the copy may be torn"))

    def finish(self, about: dict[str, Any]) -> ArchiveFacts:
        told = [{"path": one.path, "why": one.why} for one in self._skipped]
        manifest = {**about, "files": self._files, "bytes": self._bytes, "skipped": self._skips, "not_as_it_was": told}
        content = json.dumps(manifest, indent=1).encode() + b"\n"
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(content)
        self._header(info)
        self._data(iter([content]), len(content))
        # two empty blocks end a tar
        self._out.write(b"\0" * 2 * _BLOCK)
        digest = self._out.finish()
        return ArchiveFacts(
            self._out.size, digest, self._members, self._files, self._bytes, self._skips, tuple(self._skipped[:20])
        )

    def _name(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _info(self, name: str, member: Member) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = member.mode, member.mtime
        match member.kind:
            case "folder":
                info.type = tarfile.DIRTYPE
            case "symlink":
                info.type, info.linkname = tarfile.SYMTYPE, member.link
            case "hardlink":
                info.type, info.linkname = tarfile.LNKTYPE, self._name(member.link)
            case "file":
                info.type = tarfile.REGTYPE
        return info

    def _file(self, original: tarfile.TarInfo, content: Content) -> None:
        info = tarfile.TarInfo(original.name)
        info.mode, info.mtime = original.mode, content.mtime
        if not content.is_sparse:
            info.size = content.size
            self._header(info)
            self._data(content.chunks(), content.size)
            return
        # GNU sparse 1.0: https://www.gnu.org/software/tar/manual/html_node/PAX-1.html
        total = sum(len(line) for line in _map(content))
        padding = -total % _BLOCK
        # a plain short name, which needs no header of its own: Python's tarfile would take that for the real one
        info.name = f"GNUSparseFile.0/{self._members}"
        info.size = total + padding + content.stored
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": original.name,
            "GNU.sparse.realsize": str(content.size),
        }
        self._header(info)
        self._data(chain(_map(content), [b"\0" * padding], content.chunks()), info.size)

    def _header(self, info: tarfile.TarInfo) -> None:
        self._members += 1
        self._out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _data(self, chunks: Iterator[bytes], size: int) -> None:
        """Exactly `size` bytes, and zeros to the end of the block; what is missing becomes zeros."""
        left = size
        for chunk in chunks:
            self._out.write(chunk)
            left -= len(chunk)
        while left > 0:
            self._out.write(b"\0" * min(left, CHUNK))
            left -= min(left, CHUNK)
        self._out.write(b"\0" * (-size % _BLOCK))


def _map(content: Content) -> Iterator[bytes]:
    """Where a sparse file has data: number of extents, then begin and length of each. The last one is at the end and
    empty, as GNU tar writes it."""
    yield b"%d\n" % (len(content.extents) // 2 + 1)
    for number in content.extents:
        yield b"%d\n" % number
    yield b"%d\n0\n" % content.size


class _Hashed:
    """A stream of chunks as a file to read from; counts and hashes what passes."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._chunks = iter(source)
        self._rest = b""
        self.hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
            self.hash.update(self._rest)
            self.size += len(self._rest)
        size = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:size], self._rest[size:]
        return given

    def drain(self) -> None:
        """Read what is left."""
        while self.read():
            pass
