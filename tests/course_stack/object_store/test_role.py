"""Stores that are opened by a role of the process: no file holds a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from course_stack import object_store
from course_stack.object_store import ObjectStoreError
from course_stack.target import ObjectStoreTarget, Target
from portal.archives.store import ArchiveStore
from tests.course_stack.kubernetes.targets import cluster_target

NOWHERE = {
    "AWS_SHARED_CREDENTIALS_FILE": "/nothing",
    "AWS_CONFIG_FILE": "/nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_PROFILE": "",
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "",
}


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
    return monkeypatch


def _signs(store: object) -> str | None:
    """Id of the key with which a store's client signs."""
    found = store._s3._request_signer._credentials  # type: ignore[attr-defined]
    return None if found is None else str(found.get_frozen_credentials().access_key)


def test_at_aws_a_key_is_the_processes_own_where_no_file_holds_one(
    tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    surroundings.setenv("AWS_ACCESS_KEY_ID", "of-the-role")
    surroundings.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    target = cluster_target()
    assert target.object_store.kind == "aws"
    assert _signs(object_store.connect(target, tmp_path)) == "of-the-role"
    assert _signs(ArchiveStore.of(target, "archives", tmp_path)) == "of-the-role"
    for name in ("object-store.json", "archives.json"):
        (tmp_path / name).write_text(json.dumps({"access_key_id": "of-the-file", "secret_access_key": "secret"}))
    assert _signs(object_store.connect(target, tmp_path)) == "of-the-file"
    assert _signs(ArchiveStore.of(target, "archives", tmp_path)) == "of-the-file"


def test_without_file_and_role_it_is_said_what_is_missing(tmp_path: Path, surroundings: pytest.MonkeyPatch) -> None:
    for store, file in (
        (object_store.connect(cluster_target(), tmp_path), "object-store.json"),
        (ArchiveStore.of(cluster_target(), "archives", tmp_path), "archives.json"),
    ):
        with pytest.raises(ObjectStoreError, match=rf"there is neither a file {file} with its key, nor a role"):
            store.bucket_names("jhaas-")


@pytest.mark.parametrize("kind", ["minio", "seaweedfs"])
def test_elsewhere_a_key_is_needed(kind: str, tmp_path: Path) -> None:
    elsewhere = ObjectStoreTarget.model_validate({"kind": kind, "endpoint": "http://127.0.0.1:1"})
    target: Target = cluster_target().model_copy(update={"object_store": elsewhere})
    with pytest.raises(ObjectStoreError, match=r"object-store\.json cannot be read"):
        object_store.connect(target, tmp_path)
    with pytest.raises(ObjectStoreError, match=r"archives\.json cannot be read"):
        ArchiveStore.of(target, "archives", tmp_path)


def test_a_file_without_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "object-store.json").write_text("{}")
    with pytest.raises(ObjectStoreError, match="must hold access_key_id and secret_access_key"):
        object_store.connect(cluster_target(), tmp_path)
