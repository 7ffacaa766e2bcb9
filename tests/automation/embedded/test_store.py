"""State stores: a folder and S3, with their failures."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from automation.embedded.errors import EngineError, Unsupported
from automation.embedded.store import FileStore, NotThere, S3Address, Store, StoreError, open_store
from tests.automation.embedded.conftest import BUCKET, KEY, S3


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return open_store({"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    s3: S3 = request.getfixturevalue("s3")
    return open_store(s3.env(tmp_path.name))


def test_objects_are_put_read_copied_listed_and_deleted(store: Store) -> None:
    store.put("a/b/one.json", b"1")
    store.put("a/b/one.json", b"2")
    store.copy("a/b/one.json", "a/b/one.json.bak")
    store.put("a/b/c/deep.json", b"3")

    assert store.get("a/b/one.json.bak") == b"2"
    assert store.list("a/b") == ["a/b/one.json", "a/b/one.json.bak"]
    assert store.list("a", deep=True) == ["a/b/c/deep.json", "a/b/one.json", "a/b/one.json.bak"]
    assert store.list("nothing") == []
    store.delete("a/b/one.json")
    store.delete("a/b/one.json")
    assert not store.exists("a/b/one.json")
    assert store.exists("a/b/one.json.bak")


def test_what_is_not_there_is_told_apart_from_failures(store: Store) -> None:
    with pytest.raises(NotThere):
        store.get("nothing")
    with pytest.raises(NotThere):
        store.copy("nothing", "else")


def test_folder_markers_are_no_objects(s3: S3) -> None:
    for key in ("locks/", "locks/.keep/keep", "locks/real.json"):
        s3.client.put_object(Bucket=BUCKET, Key=f"markers/{key}", Body=b"")

    assert open_store(s3.env("markers")).list("locks") == ["locks/real.json"]


def test_the_cli_s_notes_beside_files_are_no_objects_and_go_with_them(tmp_path: Path) -> None:
    store = open_store({"PULUMI_BACKEND_URL": f"file://{tmp_path}"})
    for name in ("a", "b"):
        (tmp_path / name).write_text("x")
        (tmp_path / f"{name}.attrs").write_text('{"md5":"of x"}')

    assert store.list(".") == ["a", "b"]
    store.put("a", b"y")
    store.delete("b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_addresses_are_the_cli_s(tmp_path: Path) -> None:
    file = FileStore(f"file://{tmp_path}", {})
    s3 = S3Address("s3://bucket/some/prefix?region=us-east-1")

    assert file.address(".pulumi/x.json") == f"file://{tmp_path}/.pulumi/x.json?no_tmp_dir=true"
    assert s3.address(".pulumi/x.json") == "s3://bucket/some/prefix/.pulumi/x.json?region=us-east-1"


def test_older_parameters_mean_the_same() -> None:
    old = S3Address("s3://b?endpoint=minio:9000&disableSSL=true&s3ForcePathStyle=true&awssdk=v2")
    new = S3Address("s3://b?endpoint=http://minio:9000&disable_https=true&use_path_style=true")

    assert (old.texts, old.flags, old.prefix) == (new.texts, new.flags, "")
    assert S3Address("s3://b?endpoint=minio").texts["endpoint"] == "https://minio"


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("", EngineError, "PULUMI_BACKEND_URL is not set"),
        ("gs://bucket", Unsupported, "state stores of the kind gs://"),
        ("https://api.pulumi.com", Unsupported, "state stores of the kind https://"),
        ("s3://?region=x", EngineError, "names no bucket"),
        ("s3://b?regoin=x", EngineError, "unknown query parameter 'regoin'"),
        ("s3://b?use_path_style=perhaps", EngineError, "neither true nor false"),
        ("s3://b?kmskeyid=x", Unsupported, "kmskeyid"),
        ("file:///nowhere/at/all", StoreError, "there is no folder /nowhere/at/all"),
    ],
)
def test_a_wrong_address_is_one_clear_error(url: str, error: type[EngineError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        open_store({"PULUMI_BACKEND_URL": url})


def test_settings_for_another_kind_of_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="PULUMI_DIY_BACKEND_GZIP"):
        open_store({"PULUMI_BACKEND_URL": f"file://{tmp_path}", "PULUMI_DIY_BACKEND_GZIP": "true"})


def test_a_missing_bucket_is_named(s3: S3) -> None:
    store = open_store({**s3.env("x"), "PULUMI_BACKEND_URL": s3.url("x", bucket="no-such-bucket")})

    with pytest.raises(StoreError, match=f"the bucket 'no-such-bucket' does not exist at {s3.endpoint}: create it"):
        store.get("key")
    with pytest.raises(StoreError, match="no-such-bucket"):
        store.list("folder")


def test_wrong_credentials_are_told_without_the_secret(s3: S3) -> None:
    for changed in ({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, {"AWS_ACCESS_KEY_ID": "NOBODY"}):
        store = open_store({**s3.env("x"), **changed})
        with pytest.raises(StoreError, match=f"the S3 store {s3.endpoint} refused the credentials") as caught:
            store.get("key")
        assert "not-the-secret" not in str(caught.value)


def test_credentials_come_from_a_file(s3: S3, tmp_path: Path) -> None:
    env = s3.env("from-file")
    secret = env.pop("AWS_SECRET_ACCESS_KEY")
    del env["AWS_ACCESS_KEY_ID"]
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n")

    store = open_store({**env, "AWS_SHARED_CREDENTIALS_FILE": str(file)})
    store.put("x", b"1")

    assert store.get("x") == b"1"


def test_a_store_that_is_down_is_told_with_its_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = open_store(
            {
                "PULUMI_BACKEND_URL": f"s3://b?endpoint={endpoint}&use_path_style=true&region=us-east-1",
                "AWS_ACCESS_KEY_ID": "k",
                "AWS_SECRET_ACCESS_KEY": "s",
            }
        )
        with pytest.raises(StoreError, match=f"the S3 store {endpoint} cannot be reached"):
            store.get("key")
