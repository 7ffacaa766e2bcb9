"""Archives at a real object store: in parts, by a key that opens no other bucket, and what happens without it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course_stack.credentials import credentials
from course_stack.local.machine import ARCHIVE_BUCKET, STATE_BUCKET
from course_stack.object_store import ObjectStoreError
from course_stack.target import ObjectStoreTarget
from portal.archives.copy import archive_home
from portal.archives.pack import ArchiveDamaged
from portal.archives.store import ArchiveStore, archive_key
from portal.archives.walk import walk
from tests.conftest import Machine
from tests.support.proxy import Answer, Proxy
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine
PART = 5 * 1024 * 1024


@dataclasses.dataclass
class Archives:
    """The machine's archives, with small parts, under a course's id of this test's own."""

    machine: Machine
    course: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)

    def store(self, endpoint: str | None = None, bucket: str = ARCHIVE_BUCKET, secret: str = "") -> ArchiveStore:
        key = credentials("archives.json", self.machine.layout.credentials)
        target: ObjectStoreTarget = self.machine.target.object_store
        if endpoint:
            target = target.model_copy(update={"endpoint": endpoint})
        return ArchiveStore(target, bucket, key["access_key_id"], secret or key["secret_access_key"], part=PART)

    def key(self, home: str = "anna", number: int = 1) -> str:
        return archive_key(self.course, 1, home, number)

    def objects(self) -> set[str]:
        listed = self.store()._s3.list_objects_v2(Bucket=ARCHIVE_BUCKET, Prefix=f"{self.course}/")
        return {one["Key"] for one in listed.get("Contents", [])}

    def uploads(self) -> set[str]:
        listed = self.store()._s3.list_multipart_uploads(Bucket=ARCHIVE_BUCKET, Prefix=f"{self.course}/")
        return {one["Key"] for one in listed.get("Uploads", [])}


@pytest.fixture
def archives(machine: Machine) -> Iterator[Archives]:
    here = Archives(machine)
    yield here
    for key in here.objects():
        here.store().delete(key)
    for home in ("anna", "ben", "anna-1"):
        here.store().abort_uploads(here.course, 1, home)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """About three parts that do not compress."""
    folder = tmp_path / "anna"
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(2 * PART + 1_000_000))
    (folder / "notes.txt").write_text("mine")
    return folder


def test_an_archive_in_parts_is_read_back_whole(archives: Archives, home: Path) -> None:
    facts = archive_home(walk(home), archives.store(), archives.key(), folder="anna", about={})
    assert facts.size > 2 * PART
    assert archives.objects() == {archives.key()}
    assert sum(map(len, archives.store().read(archives.key()))) == facts.size
    assert archives.uploads() == set()


def test_a_small_archive_is_one_object_at_once(archives: Archives, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    facts = archive_home(walk(tmp_path / "home"), archives.store(), archives.key(), folder="anna", about={})
    assert facts.files == 0
    assert archives.objects() == {archives.key()}


def test_the_key_opens_no_other_bucket_and_makes_none(archives: Archives) -> None:
    for bucket in (STATE_BUCKET, "health"):
        other = archives.store(bucket=bucket)
        with pytest.raises(ObjectStoreError, match=r"refuses the key: correct archives\.json"):
            other.put("stray", b"x")
        with pytest.raises(ObjectStoreError, match="refuses the key"):
            list(other.read("alive"))
    with pytest.raises(ObjectStoreError, match="refuses the key"):
        archives.store().ensure_bucket("jhaas-stray")


def test_a_wrong_key_is_told_without_the_secret(archives: Archives) -> None:
    with pytest.raises(ObjectStoreError, match=r"refuses the key: correct archives\.json") as refused:
        archives.store(secret="wrong-secret-of-somebody").put(archives.key(), b"x")
    assert "wrong-secret" not in str(refused.value)


def test_a_missing_file_of_credentials_is_told(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match=r"archives\.json cannot be read"):
        ArchiveStore.of(machine.target, ARCHIVE_BUCKET, tmp_path)


def test_a_store_that_is_down_is_one_clear_sentence_and_works_again(archives: Archives, home: Path) -> None:
    port = int(str(archives.machine.target.object_store.endpoint).rpartition(":")[2])
    with Proxy("127.0.0.1", port) as proxy:
        broken = proxy.when("PUT", lambda path: path.endswith(".tar.zst"), lambda _: Answer(503), once=False)
        with pytest.raises(ObjectStoreError, match="it fails itself"):
            archive_home(walk(home), archives.store(proxy.url), archives.key(), folder="anna", about={})
        assert broken.hits >= 3  # it was tried again
        assert (archives.objects(), archives.uploads()) == (set(), set())
        proxy.clear()
        archive_home(walk(home), archives.store(proxy.url), archives.key(), folder="anna", about={})
    with pytest.raises(ObjectStoreError, match="does not answer, so it did not begin archive"):
        archive_home(walk(home), archives.store(proxy.url), archives.key("ben"), folder="ben", about={})
    assert archives.objects() == {archives.key()}


def test_one_part_that_fails_once_is_sent_again(archives: Archives, home: Path) -> None:
    port = int(str(archives.machine.target.object_store.endpoint).rpartition(":")[2])
    with Proxy("127.0.0.1", port) as proxy:
        rule = proxy.when("PUT", lambda path: path.endswith(".tar.zst"), lambda _: Answer(500))
        facts = archive_home(walk(home), archives.store(proxy.url), archives.key(), folder="anna", about={})
    assert rule.hits == 1
    assert sum(map(len, archives.store().read(archives.key()))) == facts.size


def test_an_object_that_was_damaged_at_the_store_is_found_and_removed(archives: Archives, home: Path) -> None:
    store = archives.store()
    original = store.complete

    def damaging(key: str, upload: str, tags: list[str]) -> None:
        original(key, upload, tags)
        whole = b"".join(store.read(key))
        store.put(key, whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "complete", damaging)
        with pytest.raises(ArchiveDamaged):
            archive_home(walk(home), store, archives.key(), folder="anna", about={})
    assert archives.objects() == set()


def test_a_read_that_breaks_off_is_told(archives: Archives) -> None:
    archives.store().put(archives.key(), b"x" * 1000)
    port = int(str(archives.machine.target.object_store.endpoint).rpartition(":")[2])
    with Proxy("127.0.0.1", port) as proxy:
        proxy.when("GET", lambda path: path.endswith(".tar.zst"), lambda _: Answer(500), once=False)
        with pytest.raises(ObjectStoreError, match="did not give back archive"):
            list(archives.store(proxy.url).read(archives.key()))


def test_only_the_homes_own_unfinished_uploads_are_removed(archives: Archives) -> None:
    """`anna-1` is somebody else: names of homes are no prefixes of each other."""
    store = archives.store()
    for home in ("anna", "anna-1", "ben"):
        store.begin(archives.key(home))
    assert store.abort_uploads(archives.course, 1, "anna") == 1
    assert archives.uploads() == {archives.key("anna-1"), archives.key("ben")}
    assert store.abort_uploads(archives.course, 1, "anna") == 0


_CHILD = """
import sys, uuid
from pathlib import Path
from tests.portal.hubs.test_store import Archives, walk, archive_home
from course_stack.local.layout import Layout
from course_stack.local.machine import local_target
from tests.conftest import Machine
layout = Layout(Path(sys.argv[1]))
archives = Archives(Machine(layout, local_target(layout), {}), uuid.UUID(sys.argv[2]))

def things():
    for thing in walk(Path(sys.argv[3])):
        yield thing
    print("everything was read", flush=True)
    sys.stdin.readline()  # until it is killed

archive_home(things(), archives.store(), archives.key(), folder="anna", about={})
"""


def test_what_a_killed_process_left_is_removed_and_the_home_is_copied_again(archives: Archives, home: Path) -> None:
    command: list[Any] = [sys.executable, "-c", _CHILD, archives.machine.layout.home, str(archives.course), home]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"everything was read\n"
        wait_for(archives.uploads, "an upload in parts")
        child.send_signal(signal.SIGKILL)
    assert archives.objects() == set()
    store = archives.store()
    assert store.abort_uploads(archives.course, 1, "anna") == 1
    archive_home(walk(home), store, archives.key(number=2), folder="anna", about={})
    assert archives.objects() == {archives.key(number=2)}
    assert archives.uploads() == set()
