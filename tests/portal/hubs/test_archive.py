"""One home into one archive: whatever people have in their homes, nothing is lost, and nothing else gets in."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.archives.pack import MANIFEST, ArchiveDamaged, ArchiveFacts, pack, verify
from portal.archives.walk import CHUNK, HomeUnreadable, Member, Skipped, walk
from tests.portal.hubs.keepers import MemoryKeeper, archived, opened

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "homes" / "anna"
    folder.mkdir(parents=True)
    return folder


def manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    file = tar.extractfile(MANIFEST)
    assert file is not None
    content: dict[str, Any] = json.loads(file.read())
    return content


def left_out(tar: tarfile.TarFile) -> dict[str, str]:
    return {one["path"]: one["why"] for one in manifest(tar)["not_as_it_was"]}


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def test_files_folders_links_times_and_permissions_come_back(home: Path) -> None:
    (home / "course" / "empty").mkdir(parents=True)
    (home / "course" / "übung 1.ipynb").write_text("{}")
    (home / "run.sh").write_bytes(b"#!/bin/sh\n" * 100_000)
    (home / "run.sh").chmod(0o4750)
    os.utime(home / "run.sh", (1_000_000_000, 1_000_000_000))
    (home / "here").symlink_to("course/übung 1.ipynb")
    (home / "nowhere").symlink_to("../../../etc/shadow")
    facts, plain = archived(walk(home))
    tar = opened(plain)
    assert sorted(tar.getnames()) == sorted(
        [
            "anna",
            "anna/course",
            "anna/course/empty",
            "anna/course/übung 1.ipynb",
            "anna/here",
            "anna/nowhere",
            "anna/run.sh",
            MANIFEST,
        ]
    )
    assert tar.extractfile("anna/run.sh").read() == b"#!/bin/sh\n" * 100_000  # type: ignore[union-attr]
    assert (tar.getmember("anna/run.sh").mode, tar.getmember("anna/run.sh").mtime) == (0o750, 1_000_000_000)
    assert tar.getmember("anna/nowhere").linkname == "../../../etc/shadow"
    assert (facts.files, facts.skipped, facts.members) == (2, 0, 8)
    assert facts.bytes == 1_000_002
    assert manifest(tar) == {"home": "anna", "files": 2, "bytes": 1_000_002, "skipped": 0, "not_as_it_was": []}


def test_names_that_are_no_text_are_kept(home: Path) -> None:
    names = [b"line\nbreak", b"latin-\xe4", b" space ", b"-rf", b"x" * 255, b"quote\"'", "🐍".encode(), b"a\\b"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(home), name))).write_bytes(name)  # noqa: PTH118
    _, plain = archived(walk(home))
    tar = opened(plain)
    for name in names:
        file = tar.extractfile(f"anna/{os.fsdecode(name)}")
        assert file is not None
        assert file.read() == name


def test_gnu_tar_reads_it(home: Path, tmp_path: Path) -> None:
    (home / "deep" / "deeper").mkdir(parents=True)
    (home / "deep" / "deeper" / "ünder").write_text("text")
    with (home / "holes").open("wb") as file:
        file.seek(300_000_000)
        file.write(b"end")
        file.truncate(400_000_000)
    _, plain = archived(walk(home))
    assert len(plain) < 100_000
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(["tar", "-xf", "-", "-C", out], input=plain, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (out / "anna" / "deep" / "deeper" / "ünder").read_text() == "text"
    assert (out / "anna" / "holes").stat().st_size == 400_000_000
    assert digest(out / "anna" / "holes") == digest(home / "holes")


@pytest.mark.parametrize("pieces", [[], [(0, 5)], [(1 << 40, 3)], [(0, 4096), (1 << 20, 1), (1 << 42, 10_000)]])
def test_a_file_with_holes_takes_the_room_of_its_data(home: Path, pieces: list[tuple[int, int]]) -> None:
    with (home / "holes").open("wb") as file:
        for at, length in pieces:
            file.seek(at)
            file.write(os.urandom(length))
        file.truncate(1 << 43)
    _, plain = archived(walk(home))
    tar = opened(plain)
    member = tar.getmember("anna/holes")
    assert member.size == 1 << 43
    file_in_tar = tar.extractfile(member)
    assert file_in_tar is not None
    with (home / "holes").open("rb") as original:
        for at, length in [*pieces, (1 << 41, 100), ((1 << 43) - 100, 100)]:
            original.seek(at)
            file_in_tar.seek(at)
            assert file_in_tar.read(length) == original.read(length)


@pytest.mark.parametrize("name", [b"x" * 200, "übung".encode(), b"latin-\xe4", b"line\nbreak"])
def test_a_file_with_holes_keeps_its_name(home: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(home), name)))  # noqa: PTH118
    with path.open("wb") as file:
        file.truncate(1 << 30)
    _, plain = archived(walk(home))
    member = opened(plain).getmember(f"anna/{os.fsdecode(name)}")
    assert member.size == 1 << 30


def test_what_is_no_file_is_left_out_and_named(home: Path) -> None:
    os.mkfifo(home / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(home)
    listening.bind("socket")
    os.chdir(here)
    (home / "file").write_text("stays")
    facts, plain = archived(walk(home))
    listening.close()
    tar = opened(plain)
    assert set(tar.getnames()) == {"anna", "anna/file", MANIFEST}
    assert left_out(tar) == {"pipe": "a pipe", "socket": "a socket"}
    assert facts.skipped == 2


@root_only
def test_a_device_is_left_out(home: Path) -> None:
    try:
        os.mknod(home / "disk", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this machine makes no devices")
    _, plain = archived(walk(home))
    assert left_out(opened(plain)) == {"disk": "a device"}


def test_a_hard_link_is_kept_as_one(home: Path) -> None:
    (home / "one").write_text("shared")
    (home / "two").hardlink_to(home / "one")
    facts, plain = archived(walk(home))
    tar = opened(plain)
    kinds = sorted(tar.getmember(name).type for name in ("anna/one", "anna/two"))
    assert kinds == [tarfile.REGTYPE, tarfile.LNKTYPE]
    for name in ("anna/one", "anna/two"):
        assert tar.extractfile(name).read() == b"shared"  # type: ignore[union-attr]
    assert facts.files == 2


@root_only
def test_a_second_name_of_somebody_elses_file_is_left_out(home: Path, tmp_path: Path) -> None:
    os.chown(home, 4711, 4711)
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    (home / "grabbed").hardlink_to(secret)
    facts, plain = archived(walk(home))
    assert b"not yours" not in plain
    assert left_out(opened(plain)) == {"grabbed": "a second name of somebody else's file"}
    assert facts.files == 0


def test_a_folder_that_becomes_a_link_while_it_is_read_leads_nowhere(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "password").write_text("hunter2")
    (home / "folder").mkdir()
    (home / "folder" / "mine").write_text("mine")

    def exchanging() -> Iterator[Member | Skipped]:
        things = walk(home)
        yield next(things)  # the home itself: its folders are not read yet
        shutil.rmtree(home / "folder")
        (home / "folder").symlink_to(secret)
        yield from things

    _, plain = archived(exchanging())
    assert b"hunter2" not in plain


def test_a_file_that_becomes_a_link_or_a_pipe_is_not_followed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("hunter2")
    for name in ("link", "pipe"):
        (home / name).write_text("mine")
    original = os.open

    def exchanging(path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        if path in ("link", "pipe") and dir_fd is not None:
            (home / path).unlink()
            (home / path).symlink_to(tmp_path / "secret") if path == "link" else os.mkfifo(home / path)
        return original(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", exchanging)
    _, plain = archived(walk(home))
    assert b"hunter2" not in plain
    assert left_out(opened(plain)) == {"link": "vanished while the home was read", "pipe": "a pipe"}


def test_a_home_that_is_a_link_is_not_read(home: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(home)
    with pytest.raises(HomeUnreadable, match="cannot be opened"):
        list(walk(tmp_path / "linked"))


def test_what_vanishes_while_the_home_is_read_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "gone").write_text("soon")
    (home / "stays").write_text("here")
    original = os.stat

    def vanishing(path: Any, **rest: Any) -> os.stat_result:
        if path == "gone":
            (home / "gone").unlink()
        return original(path, **rest)

    monkeypatch.setattr(os, "stat", vanishing)
    _, plain = archived(walk(home))
    tar = opened(plain)
    assert set(tar.getnames()) == {"anna", "anna/stays", MANIFEST}
    assert left_out(tar) == {"gone": "vanished while the home was read"}


@pytest.fixture
def interfere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something each time after a piece of a file was read."""

    def between(act: Callable[[], None]) -> None:
        original = os.pread

        def reading(handle: int, size: int, at: int) -> bytes:
            data = original(handle, size, at)
            act()
            return data

        monkeypatch.setattr(os, "pread", reading)

    return between


def test_a_file_that_changes_once_while_it_is_read_is_read_again(
    home: Path, interfere: Callable[[Callable[[], None]], None]
) -> None:
    file = home / "results.csv"
    file.write_bytes(b"a" * (3 * CHUNK))
    changes = [b"b" * (3 * CHUNK) + b"more"]

    def change_once() -> None:
        if changes:
            file.write_bytes(changes.pop())
            os.utime(file, (1, 1))

    interfere(change_once)
    facts, plain = archived(walk(home))
    # the last member of a name counts
    assert opened(plain).extractfile("anna/results.csv").read() == b"b" * (3 * CHUNK) + b"more"  # type: ignore[union-attr]
    assert (facts.files, facts.skipped) == (1, 0)


def test_a_file_that_never_stops_changing_is_told(home: Path, interfere: Callable[[Callable[[], None]], None]) -> None:
    file = home / "log.txt"
    file.write_bytes(b"line\n" * 1000)
    times = iter(range(1, 1000))
    interfere(lambda: os.utime(file, (1, next(times))))
    facts, plain = archived(walk(home))
    assert left_out(opened(plain)) == {"log.txt": "changed whenever it was read: the copy may be torn"}
    assert facts.skipped == 1


def test_a_file_that_shrinks_while_it_is_read_leaves_a_whole_archive(
    home: Path, interfere: Callable[[Callable[[], None]], None]
) -> None:
    file = home / "shrinking"
    file.write_bytes(b"a" * (3 * CHUNK))
    interfere(lambda: os.truncate(file, 10))
    _, plain = archived(walk(home))
    assert opened(plain).extractfile("anna/shrinking").read() == b"a" * 10  # type: ignore[union-attr]


def test_a_file_that_the_disk_does_not_give_back_is_a_failure_that_names_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "broken").write_text("x")

    def failing(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    keeper = MemoryKeeper()
    with pytest.raises(HomeUnreadable, match="'broken' cannot be read: Input/output error"):
        archived(walk(home), keeper)
    assert keeper.objects == {}


def test_deep_folders_need_no_more_open_files_than_shallow_ones(home: Path) -> None:
    depth = 3000
    here = os.open(home, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 10, hard))
    try:
        names = [thing.path for thing in walk(home)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        subprocess.run(["rm", "-rf", home], check=True)
    assert names[-1] == "/".join(["d"] * depth + ["bottom"])
    assert len(names) == depth + 2


def test_memory_does_not_grow_with_the_home(home: Path) -> None:
    """Measured in a process of its own: 300 MB that do not compress, and 20,000 files."""
    (home / "many").mkdir()
    for number in range(20_000):
        (home / "many" / str(number)).touch()
    with (home / "large").open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    program = """
import re, sys
from pathlib import Path
from portal.archives.pack import pack, verify
from portal.archives.walk import walk
with open(sys.argv[2], "wb") as out:
    facts = pack(walk(Path(sys.argv[1])), out, folder="anna", about={})
def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = most()
with open(sys.argv[2], "rb") as archive:
    verify(iter(lambda: archive.read(1 << 20), b""), facts)
print(before, most(), facts.files)
"""
    run = [sys.executable, "-c", program, str(home), str(home.parent / "archive")]
    packing, verifying, files = map(int, subprocess.run(run, capture_output=True, check=True, text=True).stdout.split())
    assert files == 20_001
    assert packing < 100
    assert verifying < 100


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:-1], "another SHA-256|no tar.zst"),
        (lambda data: data[: len(data) // 2], "another SHA-256|no tar.zst"),
        (lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:], "another SHA-256|no tar.zst"),
        (lambda data: data + b"x", "another SHA-256|no tar.zst"),
        (lambda data: b"", "no tar.zst"),
        (lambda data: b"<html>error</html>", "no tar.zst"),
    ],
)
def test_an_archive_that_does_not_come_back_as_it_was_is_found_out_and_removed(
    home: Path, damage: Callable[[bytes], bytes], told: str
) -> None:
    (home / "data").write_bytes(os.urandom(5000))
    keeper = MemoryKeeper()
    keeper.damage = damage
    with pytest.raises(ArchiveDamaged, match=told):
        archived(walk(home), keeper)
    assert keeper.objects == {}


def test_an_archive_with_fewer_things_than_were_written_is_found_out(home: Path) -> None:
    (home / "one").write_text("1")
    keeper = MemoryKeeper()
    facts, _ = archived(walk(home), keeper)
    more = ArchiveFacts(facts.size, facts.sha256, facts.members + 1, facts.files, facts.bytes, 0)
    with pytest.raises(ArchiveDamaged, match="holds 3 things, not 4"):
        verify(keeper.read("key"), more)


def test_an_interrupted_copy_leaves_nothing(home: Path) -> None:
    (home / "file").write_bytes(b"x" * 100)

    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    keeper = MemoryKeeper()
    from portal.archives.copy import archive_home

    with pytest.raises(Stop):
        archive_home(walk(home), keeper, "key", folder="anna", about={}, tick=stop)
    assert keeper.objects == {}


_NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name)


@given(
    files=st.dictionaries(_NAMES.filter(lambda name: name not in (b".", b"..")), st.binary(max_size=2000), max_size=8)
)
def test_whatever_lies_in_a_home_comes_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[bytes, bytes]
) -> None:
    home = tmp_path_factory.mktemp("home")
    for name, content in files.items():
        with open(os.path.join(os.fsencode(home), name), "wb") as file:  # noqa: PTH118, PTH123
            file.write(content)
    facts, plain = archived(walk(home))
    tar = opened(plain)
    found = {
        os.fsencode(member.name.removeprefix("anna/")): tar.extractfile(member).read()  # type: ignore[union-attr]
        for member in tar.getmembers()
        if member.isreg() and member.name != MANIFEST
    }
    assert found == files
    assert facts.files == len(files)
    shutil.rmtree(home)


def test_the_pieces_of_a_home_are_told_while_it_is_read(home: Path) -> None:
    (home / "file").write_bytes(b"x" * (2 * CHUNK))
    pieces: list[int] = []

    class Nowhere:
        def write(self, data: bytes) -> None:
            """Gone."""

    pack(walk(home), Nowhere(), folder="anna", about={}, tick=pieces.append)
    assert sum(pieces) > 2 * CHUNK
    assert max(pieces) == CHUNK
