"""The state store as we look at it: a folder here, a bucket below."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from automation.failures import CorruptState, DiskFull, StoreDown, WrongCredentials, WrongPassphrase
from automation.settings import StateSettings
from automation.state import FileObjects, Found, StateStore
from tests.automation.conftest import S3Site, Site
from tests.support.proxy import Answer

ROOT = ".pulumi/stacks/jhaas-course"


def checkpoint(name: str, *, resources: int = 3) -> bytes:
    """A stack's file, as Pulumi writes it."""
    urn = f"urn:pulumi:{name}::jhaas-course::pulumi:pulumi:Stack::jhaas-course-{name}"
    root: dict[str, Any] = {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack", "outputs": {"hub_url": "u"}}
    others = [{"urn": f"urn:x::{n}", "custom": True, "type": "jhaas:index:Group"} for n in range(resources - 1)]
    latest = {"manifest": {"time": "2026-11-22T04:23:41.010649078Z"}, "resources": [root, *others]}
    return json.dumps({"version": 3, "checkpoint": {"stack": f"organization/x/{name}", "latest": latest}}).encode()


class Memory:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.modified = datetime(2026, 1, 1, tzinfo=UTC)

    def list(self, prefix: str) -> list[Found]:
        return [Found(key, self.modified) for key in sorted(self.content) if key.startswith(prefix)]

    def get(self, key: str) -> bytes | None:
        return self.content.get(key)

    def put(self, key: str, content: bytes) -> None:
        self.content[key] = content

    def delete(self, keys: Any) -> None:
        for key in keys:
            self.content.pop(key, None)


@pytest.fixture
def objects() -> Memory:
    return Memory()


@pytest.fixture
def store(objects: Memory) -> StateStore:
    return StateStore(objects, "jhaas-course", "s3://jhaas-state/site")


def test_only_stacks_are_listed(store: StateStore, objects: Memory) -> None:
    for name in ("art.json", "art.json.bak", "art.pulumi-tags", "biology.json", ".keep/keep", "gone.json.bak"):
        objects.put(f"{ROOT}/{name}", b"{}")
    objects.put(".pulumi/stacks/another-project/chemistry.json", b"{}")

    assert store.names() == ["art", "biology"]


def test_a_stack_is_told_as_its_state_says(store: StateStore, objects: Memory) -> None:
    objects.put(f"{ROOT}/art.json", checkpoint("art"))
    objects.put(f"{ROOT}/new.json", b'{"version":3,"checkpoint":{"stack":"organization/jhaas-course/new"}}')

    art, new = store.stack("art"), store.stack("new")

    assert art is not None
    assert (art.resource_count, art.whole) == (3, True)
    assert art.updated == datetime(2026, 11, 22, 4, 23, 41, 10649, tzinfo=UTC)
    assert new is not None
    assert (new.resource_count, new.whole, new.updated) == (0, False, None)
    assert store.stack("absent") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version":3}', b"\xff\xfe", b'{"checkpoint": {"latest": 1}}'])
def test_a_state_that_cannot_be_read_names_the_object_and_its_copies_and_hides_no_other(
    store: StateStore, objects: Memory, content: bytes
) -> None:
    objects.put(f"{ROOT}/art.json", content)
    objects.put(f"{ROOT}/biology.json", checkpoint("biology"))

    with pytest.raises(CorruptState, match=rf"s3://jhaas-state/site/{ROOT}/art\.json.*art\.json\.bak"):
        store.stack("art")
    found = store.stacks()
    assert [type(one).__name__ for one in found] == ["CorruptState", "StackState"]


def test_a_marker_is_no_lock_and_no_stack(store: StateStore, objects: Memory) -> None:
    store.put_markers("art")

    assert store.locks("art") == []
    assert store.all_locks() == {}
    assert store.names() == []
    assert store.leftovers("art") == []
    assert sorted(objects.content) == [
        ".pulumi/locks/organization/jhaas-course/art/.keep/keep",
        ".pulumi/stacks/jhaas-course/.keep/keep",
    ]


def test_exactly_one_lock_is_broken(store: StateStore, objects: Memory) -> None:
    folder = ".pulumi/locks/organization/jhaas-course/art"
    for number in (1, 2):
        lock = {"pid": number, "username": "u", "hostname": "h", "timestamp": "2026-11-22T04:00:00.123456789+01:00"}
        objects.put(f"{folder}/{number}.json", json.dumps(lock).encode())
    objects.put(f"{folder}-two/3.json", objects.content[f"{folder}/1.json"])

    first, second = store.locks("art")
    store.break_lock(first)

    assert store.locks("art") == [second]
    assert {name: [lock.pid for lock in locks] for name, locks in store.all_locks().items()} == {
        "art": [2],
        "art-two": [1],
    }


def test_a_half_written_lock_is_removed_and_a_whole_one_is_not(store: StateStore, objects: Memory) -> None:
    folder = ".pulumi/locks/organization/jhaas-course/art"
    objects.put(f"{folder}/1.json", b"{}")
    objects.put(f"{folder}/2.json.18ea4d770dec6b39.tmp", b"")

    store.remove_torn_locks("art")

    assert list(objects.content) == [f"{folder}/1.json"]


def test_leftovers_of_a_stack_are_its_own_and_not_of_one_whose_name_begins_alike(
    store: StateStore, objects: Memory
) -> None:
    left = [
        f"{ROOT}/art.json.bak",
        f"{ROOT}/art.pulumi-tags",
        ".pulumi/history/jhaas-course/art/art-1.history.json",
        ".pulumi/backups/jhaas-course/art/art.1.json",
    ]
    kept = [
        f"{ROOT}/art-two.json",
        f"{ROOT}/art-two.json.bak",
        ".pulumi/history/jhaas-course/art-two/art-two-1.history.json",
    ]
    for key in (*left, *kept):
        objects.put(key, b"{}")

    assert store.all_leftovers().keys() == {"art"}
    assert sorted(store.remove_leftovers("art")) == sorted(left)
    assert sorted(objects.content) == sorted(kept)


def test_markers_of_stacks_that_are_gone_are_swept_when_they_are_old(store: StateStore, objects: Memory) -> None:
    for name in ("alive", "locked", "gone"):
        store.put_markers(name)
    objects.put(f"{ROOT}/alive.json", checkpoint("alive"))
    objects.put(".pulumi/locks/organization/jhaas-course/locked/1.json", b"{}")

    objects.modified = datetime.now(UTC) - timedelta(minutes=30)
    assert store.sweep_markers() == []
    objects.modified = datetime.now(UTC) - timedelta(hours=2)
    assert store.sweep_markers() == ["gone"]
    assert store.sweep_markers() == []


def test_a_state_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreDown, match="does not exist"):
        FileObjects(tmp_path / "absent").list("")


def test_a_wrong_passphrase_is_told_and_nothing_is_lost(site: Site) -> None:
    site.stacks().deploy(site.spec())
    right = site.settings
    site.settings = right.model_copy(update={"passphrase": SecretStr("wrong horse")})

    with pytest.raises(WrongPassphrase, match="made with another one"):
        site.stacks().update(site.spec(content="second"))
    assert site.files() == {"one": "first", "two": "first"}

    site.settings = right
    site.stacks().update(site.spec(content="second"))
    assert site.files() == {"one": "second", "two": "second"}


def test_a_corrupt_state_is_told_and_its_copy_put_back_works(site: Site) -> None:
    site.stacks().deploy(site.spec())
    path = site.home / "state" / ROOT / "course-one.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])

    with pytest.raises(CorruptState, match=r"course-one\.json\.bak"):
        site.stacks().update(site.spec(content="second"))
    assert site.files() == {"one": "first", "two": "first"}

    shutil.copy(path.with_name("course-one.json.bak"), path)
    site.stacks().update(site.spec(content="second"))
    assert site.files() == {"one": "second", "two": "second"}


@pytest.mark.machine
class TestS3:
    """Failures of the store: one clear error each, nothing lost, and it works again afterwards."""

    def test_a_course_s_life_leaves_the_two_markers_and_nothing_else(self, s3_site: S3Site) -> None:
        s3_site.stacks().deploy(s3_site.spec())
        s3_site.stacks().destroy("course-one")

        markers = [".pulumi/locks/organization/jhaas-course/course-one/.keep/keep", f"{ROOT}/.keep/keep"]
        assert [key for key in s3_site.all_keys() if "meta.yaml" not in key] == markers
        assert s3_site.stacks().sweep(timedelta()) == ["course-one"]
        assert [key for key in s3_site.all_keys() if "meta.yaml" not in key] == markers[1:]

    def test_a_store_that_is_down_is_told(self, s3_site: S3Site) -> None:
        s3_site.stacks().deploy(s3_site.spec())
        behind, s3_site.settings = s3_site.settings, self.at(s3_site.settings, "http://127.0.0.1:1")

        with pytest.raises(StoreDown, match=r"http://127\.0\.0\.1:1 cannot be reached"):
            s3_site.stacks().update(s3_site.spec(content="second"))
        with pytest.raises(StoreDown):
            s3_site.stacks().names()

        s3_site.settings = behind
        assert s3_site.stacks().update(s3_site.spec(content="second")).changes["update"] == 2

    def test_a_wrong_key_is_told(self, s3_site: S3Site) -> None:
        right = s3_site.settings
        s3_site.settings = right.model_copy(update={"secret_access_key": SecretStr("wrong")})

        with pytest.raises(WrongCredentials, match="refuses the access key for bucket jhaas-state"):
            s3_site.stacks().deploy(s3_site.spec())

        s3_site.settings = right
        s3_site.stacks().deploy(s3_site.spec())
        assert s3_site.files() == {"one": "first", "two": "first"}

    def test_a_bucket_that_is_not_there_is_told(self, s3_site: S3Site) -> None:
        url = s3_site.settings.url.replace("s3://jhaas-state/", "s3://jhaas-absent/")
        s3_site.settings = s3_site.settings.model_copy(update={"url": url})

        # A store may not tell a stranger to a bucket whether there is one.
        with pytest.raises((StoreDown, WrongCredentials), match="jhaas-absent"):
            s3_site.stacks().deploy(s3_site.spec())

    def test_a_store_that_fills_up_on_the_way_is_told_and_the_next_run_goes_on(self, s3_site: S3Site) -> None:
        s3_site.stacks().deploy(s3_site.spec())
        full = Answer(507, b"<Error><Code>InsufficientStorage</Code><Message>no space left</Message></Error>")
        s3_site.proxy.when("PUT", lambda path: "/stacks/" in path, lambda _: full, once=False)

        with pytest.raises(DiskFull, match="Make space"):
            s3_site.stacks().update(s3_site.spec(content="second"))

        s3_site.proxy.clear()
        s3_site.stacks().update(s3_site.spec(content="second"))
        assert s3_site.files() == {"one": "second", "two": "second"}
        assert s3_site.store.locks("course-one") == []

    @staticmethod
    def at(settings: StateSettings, endpoint: str) -> StateSettings:
        before, _, after = settings.url.partition("endpoint=")
        return settings.model_copy(update={"url": f"{before}endpoint={endpoint}&{after.partition('&')[2]}"})
