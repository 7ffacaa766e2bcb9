"""Everything in one home folder, read safely by a process that may read more than the home's owner.

Nothing here follows a link or leaves the home's own file system, and every step is made from an open folder: whoever
exchanges a folder for a link meanwhile gains nothing (`openat` with O_NOFOLLOW).
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CHUNK = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# without O_NONBLOCK, a pipe that took a file's place would be waited for
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 512


class HomeUnreadable(Exception):
    """Something in the home cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not in the copy, or not as it should be, and why."""

    path: str
    why: str


class Content:
    """An open file, by its path in the home. `size`, `mtime` and `extents` are those of the last `look`."""

    def __init__(self, handle: int, path: str) -> None:
        self._handle = handle
        self._path = path
        self.look()

    def look(self) -> None:
        """Note how the file is now."""
        self._seen = os.fstat(self._handle)
        self.size, self.mtime = self._seen.st_size, int(self._seen.st_mtime)
        self.extents = self._extents()

    @property
    def is_sparse(self) -> bool:
        """Whether it has holes: places that were never written."""
        return self.stored < self.size

    @property
    def stored(self) -> int:
        """Bytes in its extents."""
        return sum(self.extents[1::2])

    def chunks(self) -> Iterator[bytes]:
        """The bytes of all extents in order; fewer where the file shrank meanwhile."""
        for at in range(0, len(self.extents), 2):
            begin, length = self.extents[at], self.extents[at + 1]
            while length:
                try:
                    chunk = os.pread(self._handle, min(length, CHUNK), begin)
                except OSError as error:
                    raise HomeUnreadable(f"{_shown(self._path)} cannot be read: {error.strerror}.") from error
                if not chunk:
                    return
                yield chunk
                begin, length = begin + len(chunk), length - len(chunk)

    def changed(self) -> bool:
        """Whether it was written since the last `look`."""
        now = os.fstat(self._handle)
        return (now.st_size, now.st_mtime_ns) != (self._seen.st_size, self._seen.st_mtime_ns)

    def _extents(self) -> array[int]:
        """Begin and length of each part with data, one after the other."""
        if self._seen.st_blocks * _BLOCK >= self.size:
            return array("q", (0, self.size) if self.size else ())
        found = array("q")
        begin = end = 0
        while True:
            try:
                begin = os.lseek(self._handle, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # no data any more
                    return found
                return array("q", (0, self.size))
            end = min(os.lseek(self._handle, begin, os.SEEK_HOLE), self.size)
            if end <= begin:
                return found
            found.extend((begin, end - begin))


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in a home. `content` is open until the next one is asked for."""

    path: str
    """Below the home, `/` between names; names that are no UTF-8 hold surrogates (PEP 383). Empty: the home itself."""
    kind: Literal["folder", "file", "symlink", "hardlink"]
    mode: int
    mtime: int
    link: str = ""
    """A symlink's text, whatever it says; or the path under which a hard link's file came before."""
    content: Content | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Open:
    """A folder on the way down."""

    path: str
    identity: tuple[int, int]
    folders: list[str]


def walk(home: Path, owner: int | None = None) -> Iterator[Member | Skipped]:
    """Everything in the home, folders before what is in them. Raises `HomeUnreadable`.

    `owner` is the account number of the home's person; None: that of the folder itself. Needs one open folder and the
    names of folders that are still to come, however deep or full the home is.
    """
    yield from _Walk(home, owner).members()


class _Walk:
    def __init__(self, home: Path, owner: int | None) -> None:
        self._home = home
        self._given_owner = owner
        self._names: dict[tuple[int, int], tuple[str, int]] = {}
        """File with more names than one → the path that came first, and how many are still to come."""

    def members(self) -> Iterator[Member | Skipped]:
        try:
            handle = os.open(self._home, _FOLDER)
        except OSError as error:
            raise HomeUnreadable(f"The home cannot be opened: {error.strerror}.") from error
        try:
            root = os.fstat(handle)
            self._device = root.st_dev
            self._owner = root.st_uid if self._given_owner is None else self._given_owner
            yield _folder("", root)
            above = [_Open("", _identity(root), [])]
            yield from self._things(handle, above[0])
            while above:
                here = above[-1]
                if not here.folders:
                    above.pop()
                    if above:
                        handle = self._up(handle, above[-1])
                    continue
                name = here.folders.pop()
                path = _join(here.path, name)
                try:
                    below = os.open(name, _FOLDER, dir_fd=handle)
                except OSError as error:
                    yield self._lost(path, error)
                    continue
                os.close(handle)
                handle = below
                info = os.fstat(handle)
                yield _folder(path, info)
                above.append(_Open(path, _identity(info), []))
                if info.st_dev != self._device:
                    yield Skipped(path, "another file system: what is in it is not copied")
                else:
                    yield from self._things(handle, above[-1])
        finally:
            os.close(handle)

    def _up(self, handle: int, to: _Open) -> int:
        parent = os.open("..", _FOLDER, dir_fd=handle)
        if _identity(os.fstat(parent)) != to.identity:
            os.close(parent)
            raise HomeUnreadable(f"The folder {_shown(to.path)} was moved while it was read.")
        os.close(handle)
        return parent

    def _things(self, handle: int, here: _Open) -> Iterator[Member | Skipped]:
        """What lies in the open folder; its folders are noted."""
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if here.path or not self._is_of_the_file_system(handle, entry.name):
                            here.folders.append(entry.name)
                    else:
                        yield from self._thing(handle, entry.name, _join(here.path, entry.name))
        except OSError as error:
            yield self._lost(here.path, error)

    def _is_of_the_file_system(self, handle: int, name: str) -> bool:
        """Whether it is what ext4 keeps at the top of each volume for its own repairs: nobody else may open it."""
        return name == "lost+found" and os.stat(name, dir_fd=handle, follow_symlinks=False).st_uid not in (
            os.getuid(),
            self._owner,
        )

    def _thing(self, handle: int, name: str, path: str) -> Iterator[Member | Skipped]:
        try:
            info = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISLNK(info.st_mode):
                link = os.readlink(name, dir_fd=handle)
                yield Member(path, "symlink", 0o777, int(info.st_mtime), link)
            elif stat.S_ISREG(info.st_mode):
                yield from self._file(os.open(name, _FILE, dir_fd=handle), path)
            else:
                yield Skipped(path, f"a {_kind(info.st_mode)}")
        except OSError as error:
            yield self._lost(path, error)

    def _file(self, handle: int, path: str) -> Iterator[Member | Skipped]:
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode):
                yield Skipped(path, f"a {_kind(info.st_mode)}")
            elif info.st_nlink > 1 and info.st_uid != self._owner:
                yield Skipped(path, "a second name of somebody else's file")
            elif info.st_nlink > 1 and (first := self._first_name(info, path)) is not None:
                yield Member(path, "hardlink", _mode(info), int(info.st_mtime), first)
            else:
                yield Member(path, "file", _mode(info), int(info.st_mtime), content=Content(handle, path))
        finally:
            os.close(handle)

    def _first_name(self, info: os.stat_result, path: str) -> str | None:
        """The path under which the file came before; None where it comes for the first time."""
        identity = _identity(info)
        first, left = self._names.pop(identity, (None, info.st_nlink))
        if left > 1:
            self._names[identity] = (path if first is None else first, left - 1)
        return first

    def _lost(self, path: str, error: OSError) -> Skipped:
        """What vanished or became something else is told; what is there and cannot be read is a failure."""
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            return Skipped(path, "vanished while the home was read")
        raise HomeUnreadable(f"{_shown(path)} cannot be read: {error.strerror}.") from error


def _folder(path: str, info: os.stat_result) -> Member:
    return Member(path, "folder", _mode(info), int(info.st_mtime))


def _mode(info: os.stat_result) -> int:
    """Permissions, without the bits that give a program another account."""
    return stat.S_IMODE(info.st_mode) & 0o777


def _identity(info: os.stat_result) -> tuple[int, int]:
    return (info.st_dev, info.st_ino)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _shown(path: str) -> str:
    """The path for a sentence: on one line, whatever its name is."""
    return ascii(path or "the home")[:300]


def _kind(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}
    return kinds.get(stat.S_IFMT(mode), "thing of no known kind")
