"""Keys of courses at MinIO and its heirs.

What a store answers is tried on a real one where the machine has it (`minio` and `mc` on the PATH, or in the folder
that MINIO_BINARIES names).
"""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from course_stack.object_store import ObjectStoreError
from course_stack.object_store.minio import MinioStore, decrypted, encrypted, key_id
from course_stack.object_store.s3 import S3Store
from course_stack.target import ObjectStoreTarget
from tests.support.waiting import wait_for

ANSWER = (
    "UDCzX1M8tCsykoKlfgou7ZHJ3MCJ4J0Sc/2H2FfrTYwAjChX9BxRv5tBFzlIxNm0yOQ5xf0nXi5BPz0vIO7YVKpBqjMBjkDH+HxoJjiOrACAJMFn"
    "YHLWbLMzuZBIxWTsOrjmoEdByT12LcTjo3IKHif58VG6H2t64cPb9haNCsP3ebEFgGhXV0Uw44OacJzzbM/ZcAOooyEJtxXpOMcxvIstDUOeyYUp"
    "mRSVuglkz7YSKvxlrzKz3cwgihdrHOxqBOQabXgm6jimem8K18WZdt0myRdZGVN+OUkHDI88loaFHyYNC20/b4/0"
)
"""A list of service accounts as MinIO (February 2026) sent it to the trial key of `PASSWORD`."""
PASSWORD = "courses012345678901234567890123456789012"


def test_what_a_store_answered_is_read() -> None:
    assert b'"description":"x"' in decrypted(PASSWORD, base64.b64decode(ANSWER))


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 40000])
def test_what_is_sent_can_be_read_with_the_secret_alone(size: int) -> None:
    content = os.urandom(size)
    sent = encrypted(PASSWORD, content)
    assert decrypted(PASSWORD, sent) == content
    with pytest.raises(InvalidTag):
        decrypted(PASSWORD[::-1], sent)


def test_a_piece_that_is_missing_is_noticed() -> None:
    sent = encrypted(PASSWORD, os.urandom(20000))
    with pytest.raises(InvalidTag):
        decrypted(PASSWORD, sent[: 32 + 1 + 8 + 16384 + 16])


def test_ids_of_keys_are_short_enough_and_differ() -> None:
    names = [f"jhaas-{'x' * length}" for length in range(40)] + ["jhaas-a--archives"]
    assert len({key_id(name) for name in names}) == len(names)
    assert {len(key_id(name)) for name in names} == {20}


def test_a_store_that_is_not_there_is_named() -> None:
    target = ObjectStoreTarget(kind="minio", endpoint="http://127.0.0.1:1")
    with pytest.raises(ObjectStoreError, match=r"http://127\.0\.0\.1:1 does not answer"):
        MinioStore(target, "jhaas-courses", PASSWORD).user_names("jhaas-")


def binary(name: str) -> Path:
    found = shutil.which(name, path=os.environ.get("MINIO_BINARIES") or None)
    if found is None:
        pytest.skip(f"{name} is neither on the PATH nor in the folder that MINIO_BINARIES names")
    return Path(found)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    """A server of its own, set up as the platform sets its own up; the key of courses."""
    server, _ = binary("minio"), binary("mc")
    folder = tmp_path_factory.mktemp("minio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {"PATH": f"{server.parent}:/usr/bin:/bin", "HOME": str(folder), "MC_CONFIG_DIR": str(folder / ".mc")}
    files(folder)
    root = {
        "MINIO_ROOT_USER_FILE": str(folder / "root/user"),
        "MINIO_ROOT_PASSWORD_FILE": str(folder / "root/password"),
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [server, "server", folder / "data", "--address", address],
            env={**environment, **root},
            stdout=log,
            stderr=log,
        )
    target = ObjectStoreTarget(kind="minio", endpoint=f"http://{address}")
    try:
        administrator = S3Store(target, "jhaas-root", PASSWORD)
        wait_for(lambda: administrator.trouble("health") is None, "the store keeps an object")
        for _ in range(2):
            done = subprocess.run(
                ["sh", folder / "setup.sh"],
                env={**environment, "STORE": f"http://{address}"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        yield MinioStore(target, "jhaas-courses", PASSWORD)
    finally:
        process.terminate()
        process.wait(30)


def files(folder: Path) -> None:
    """What the setup Job mounts, and its script with these places in it."""
    import sys

    sys.path.insert(0, str(Path(__file__).parents[3] / "platform"))
    from config import BundledObjectStorage
    from object_storage_objects import KEYS_FOLDER, ROOT_FOLDER, SETUP_FOLDER, USES, setup_files

    for name in ("root", "keys", "setup"):
        (folder / name).mkdir()
    (folder / "root/user").write_text("jhaas-root")
    (folder / "root/password").write_text(PASSWORD)
    for use in USES:
        (folder / "keys" / use).write_text(PASSWORD)
    for name, content in setup_files(BundledObjectStorage()).items():
        (folder / "setup" / name).write_text(content)
    script = (folder / "setup/setup.sh").read_text()
    places = {ROOT_FOLDER: "root", KEYS_FOLDER: "keys", f"{SETUP_FOLDER}/": "setup/"}
    for place, name in places.items():
        script = script.replace(place, f"{folder}/{name}")
    (folder / "setup.sh").write_text(script)


def test_a_key_opens_its_own_bucket_and_no_other_and_ends_with_the_next(store: MinioStore) -> None:
    store.ensure_bucket("jhaas-python")
    first = store.ensure_key("jhaas-python", ("jhaas-python",))
    assert store.key_works(first, "jhaas-python")
    assert not any(store.key_works(first, f"jhaas-{other}") for other in ("state", "archives", "backups"))
    second = store.ensure_key("jhaas-python", ("jhaas-python",))
    assert store.key_works(second, "jhaas-python")
    assert not store.key_works(first, "jhaas-python")
    assert store.user_names("jhaas-") == {"jhaas-python"}
    store.delete_user("jhaas-python")
    store.delete_user("jhaas-python")
    assert not store.key_works(second, "jhaas-python")
    assert store.user_names("jhaas-") == frozenset()
    store.delete_bucket("jhaas-python")
    assert "jhaas-python" not in store.bucket_names("jhaas-")


def test_a_job_writes_the_archives_of_its_course_alone(store: MinioStore) -> None:
    key = store.ensure_writer("jhaas-python--archives", "jhaas-archives", "one/")
    try:
        assert not store.key_works(key, "jhaas-archives")
        assert store._writes(key, "jhaas-archives", "one/")
        assert not store._writes(key, "jhaas-archives", "two/")
    finally:
        store.delete_user("jhaas-python--archives")


def test_the_key_of_courses_opens_neither_state_nor_backups_nor_the_list_of_archives(store: MinioStore) -> None:
    for bucket in ("jhaas-state", "jhaas-archives", "jhaas-backups"):
        with pytest.raises(ObjectStoreError):
            store.delete_bucket(bucket)
    with pytest.raises(ObjectStoreError):
        store.ensure_bucket("somebody-elses")


def test_each_use_of_the_platform_opens_its_bucket_alone(store: MinioStore) -> None:
    from course_stack.object_store import AccessKey

    uses = ("state", "archives", "backups")
    opened = {
        (use, bucket): store.key_works(AccessKey("", f"jhaas-{use}", PASSWORD), f"jhaas-{bucket}")
        for use in uses
        for bucket in uses
    }
    assert {pair for pair, works in opened.items() if works} == {(use, use) for use in uses}
