"""The stack's lock."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from automation.embedded.errors import EngineError
from automation.embedded.locks import StackLock, lock_folder, remove_locks
from automation.embedded.store import FileStore, StoreError

FOLDER = lock_folder("project", "stack")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(f"file://{tmp_path}", {})


def lock(store: FileStore) -> StackLock:
    return StackLock(store, "project", "stack")


def test_a_held_lock_names_its_owner_and_is_gone_afterwards(store: FileStore) -> None:
    with lock(store).held(print):
        (key,) = store.list(FOLDER)
        owner = json.loads(store.get(key))

    assert owner["pid"] == os.getpid()
    assert set(owner) == {"pid", "username", "hostname", "timestamp"}
    assert store.list(FOLDER) == []


def test_a_second_holder_is_refused_and_told_who_holds_it(store: FileStore) -> None:
    with lock(store).held(print):
        with pytest.raises(EngineError, match=rf"locked by 1 lock\(s\)\.(.|\n)*\(pid {os.getpid()}\) at 20\d\d-.*Z$"):
            lock(store).held(print).__enter__()
        assert len(store.list(FOLDER)) == 1


def test_a_lock_is_released_when_the_work_fails(store: FileStore) -> None:
    with pytest.raises(ValueError, match="work"), lock(store).held(print):
        raise ValueError("work")

    assert store.list(FOLDER) == []


def test_of_two_that_start_at_once_none_works_beside_the_other(store: FileStore) -> None:
    """The second writes its lock between the first one's look and write: the first sees it when it looks again."""
    first = lock(store)
    put = store.put

    def with_another(key: str, content: bytes) -> None:
        put(key, content)
        put(
            f"{FOLDER}/other.json",
            b'{"pid":1,"username":"u","hostname":"h","timestamp":"2026-01-01T00:00:00.123456789Z"}',
        )

    store.put = with_another  # type: ignore[method-assign]
    with pytest.raises(EngineError, match=r"created by u@h \(pid 1\) at 2026-01-01T00:00:00Z"):
        first.held(print).__enter__()

    assert store.list(FOLDER) == [f"{FOLDER}/other.json"]


def test_markers_of_empty_folders_are_no_locks(store: FileStore) -> None:
    store.put(f"{FOLDER}/.keep/keep", b"")

    with lock(store).held(print):
        assert len(store.list(FOLDER)) == 1


def test_a_lock_that_cannot_be_read_still_locks(store: FileStore) -> None:
    store.put(f"{FOLDER}/broken.json", b"")

    with pytest.raises(EngineError, match="a lock that cannot be read"):
        lock(store).held(print).__enter__()
    remove_locks(store, "project", "stack")
    with lock(store).held(print):
        pass


def test_a_lock_that_cannot_be_released_does_not_hide_how_the_work_ended(store: FileStore) -> None:
    def refuse(_key: str) -> None:
        raise StoreError("the store is down")

    warnings: list[str] = []
    store.delete = refuse  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="work"), lock(store).held(warnings.append):
        raise ValueError("work")

    (warning,) = warnings
    assert re.search(
        r"problem deleting the lock at file://.*\.json.*clean up may be required: the store is down", warning
    )
