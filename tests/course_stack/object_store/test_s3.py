"""Buckets and keys of courses at a real S3 store."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from course_stack import object_store
from course_stack.local.files import private_folder
from course_stack.local.layout import Layout
from course_stack.local.machine import MachineSettings, credential
from course_stack.local.services.seaweedfs import Seaweedfs
from course_stack.local.supervisor import Supervisor
from course_stack.object_store import AccessKey, ObjectStoreError
from course_stack.object_store.s3 import S3Store
from course_stack.target import ObjectStoreTarget
from tests.conftest import Machine
from tests.course_stack.object_store.clients import s3_of
from tests.support.waiting import wait_for


@pytest.fixture
def store(machine: Machine) -> S3Store:
    found = object_store.connect(machine.target, machine.layout.credentials)
    assert isinstance(found, S3Store)
    return found


@pytest.fixture
def name(store: S3Store) -> Iterator[str]:
    """A name for a bucket and a user, gone afterwards."""
    name = f"jhaas-test-{uuid.uuid4().hex[:8]}"
    yield name
    store.delete_bucket(name)
    store.delete_user(name)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


@pytest.mark.machine
def test_a_bucket_is_made_once_and_listed(store: S3Store, name: str) -> None:
    assert name not in store.bucket_names("jhaas-test-")
    store.ensure_bucket(name)
    store.ensure_bucket(name)
    assert name in store.bucket_names("jhaas-test-")
    assert name not in store.bucket_names("other-")


@pytest.mark.machine
def test_deleting_a_bucket_takes_everything_in_it(store: S3Store, machine: Machine, name: str) -> None:
    store.ensure_bucket(name)
    client = s3_of(machine.target.object_store, store.ensure_key(name, (name,)))
    for number in range(1100):  # more than one page
        client.put_object(Bucket=name, Key=f"share/{number}", Body=b"x")
    upload = client.create_multipart_upload(Bucket=name, Key="unfinished")["UploadId"]
    client.upload_part(Bucket=name, Key="unfinished", UploadId=upload, PartNumber=1, Body=b"x" * 5_000_000)
    store.delete_bucket(name)
    assert name not in store.bucket_names("jhaas-test-")
    store.delete_bucket(name)
    # a bucket of the same name begins empty
    store.ensure_bucket(name)
    client = s3_of(machine.target.object_store, store.ensure_key(name, (name,)))
    assert client.list_objects_v2(Bucket=name)["KeyCount"] == 0
    assert list(store._pages("list_multipart_uploads", "Uploads", Bucket=name)) == []


@pytest.mark.machine
def test_a_key_opens_its_own_bucket_and_no_other(store: S3Store, machine: Machine, name: str) -> None:
    other = f"{name}-other"
    store.ensure_bucket(name)
    store.ensure_bucket(other)
    key = store.ensure_key(name, (name,))
    client = s3_of(machine.target.object_store, key)
    client.put_object(Bucket=name, Key="material/one", Body=b"text")
    assert client.get_object(Bucket=name, Key="material/one")["Body"].read() == b"text"
    client.delete_object(Bucket=name, Key="material/one")
    try:
        for bucket in (other, "jhaas-state"):
            assert not store.key_works(key, bucket)
            assert refusal(client.get_object, Bucket=bucket, Key="x") == "AccessDenied"
            assert refusal(client.put_object, Bucket=bucket, Key="x", Body=b"") == "AccessDenied"
            assert refusal(client.delete_object, Bucket=bucket, Key="x") == "AccessDenied"
            assert refusal(client.copy_object, Bucket=name, Key="x", CopySource=f"{bucket}/x") == "AccessDenied"
        assert {one["Name"] for one in client.list_buckets()["Buckets"]} <= {name}
        assert refusal(client.create_bucket, Bucket=f"{name}-new") == "AccessDenied"
    finally:
        store.delete_bucket(other)


@pytest.mark.machine
def test_a_writers_key_opens_what_begins_with_its_prefix_and_nothing_else(
    store: S3Store, machine: Machine, name: str
) -> None:
    store.ensure_bucket(name)
    store._s3.put_object(Bucket=name, Key="other/archive", Body=b"of others")
    client = s3_of(machine.target.object_store, store.ensure_writer(f"{name}--archives", name, "own/"))
    try:
        upload = client.create_multipart_upload(Bucket=name, Key="own/1/large")["UploadId"]
        part = client.upload_part(Bucket=name, Key="own/1/large", UploadId=upload, PartNumber=1, Body=b"x" * 5_000_000)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        client.complete_multipart_upload(Bucket=name, Key="own/1/large", UploadId=upload, MultipartUpload=parts)
        assert len(client.get_object(Bucket=name, Key="own/1/large")["Body"].read()) == 5_000_000
        unfinished = client.create_multipart_upload(Bucket=name, Key="own/2")["UploadId"]
        client.abort_multipart_upload(Bucket=name, Key="own/2", UploadId=unfinished)
        client.delete_object(Bucket=name, Key="own/1/large")

        for call in (client.get_object, client.delete_object):
            assert refusal(call, Bucket=name, Key="other/archive") == "AccessDenied"
        assert refusal(client.put_object, Bucket=name, Key="other/archive", Body=b"") == "AccessDenied"
        assert refusal(client.copy_object, Bucket=name, Key="own/x", CopySource=f"{name}/other/archive")
        assert refusal(client.list_objects_v2, Bucket=name) == "AccessDenied"
        assert [one["Key"] for one in store._s3.list_objects_v2(Bucket=name)["Contents"]] == ["other/archive"]
    finally:
        store.delete_user(f"{name}--archives")


@pytest.mark.machine
def test_a_writer_of_a_bucket_that_is_not_there_is_told_at_once(store: S3Store, name: str) -> None:
    try:
        with pytest.raises(ObjectStoreError, match=r"did not try the key of .*NoSuchBucket"):
            store.ensure_writer(f"{name}--archives", f"{name}-nowhere", "own/")
    finally:
        store.delete_user(f"{name}--archives")


@pytest.mark.machine
def test_a_key_cannot_open_its_bucket_to_the_world_or_make_keys(store: S3Store, machine: Machine, name: str) -> None:
    store.ensure_bucket(name)
    key = store.ensure_key(name, (name,))
    client = s3_of(machine.target.object_store, key)
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everyone]})
    assert refusal(client.put_bucket_policy, Bucket=name, Policy=policy) == "AccessDenied"
    assert refusal(client.put_bucket_acl, Bucket=name, ACL="public-read") == "AccessDenied"
    assert refusal(client.delete_bucket, Bucket=name) == "AccessDenied"
    mine = S3Store(machine.target.object_store, key.key_id, key.secret)
    with pytest.raises(ObjectStoreError, match="refuses the administrative key"):
        mine.ensure_key(f"{name}-more", ("jhaas-state",))
    assert store.user_names(f"{name}-more") == frozenset()


@pytest.mark.machine
def test_a_new_key_ends_the_old_one_at_once(store: S3Store, name: str) -> None:
    store.ensure_bucket(name)
    old = store.ensure_key(name, (name,))
    assert store.key_works(old, name)
    new = store.ensure_key(name, (name,))
    assert store.key_works(new, name)
    assert not store.key_works(old, name)


@pytest.mark.machine
def test_a_key_loses_the_buckets_that_are_no_longer_named(store: S3Store, name: str) -> None:
    other = f"{name}-other"
    store.ensure_bucket(name)
    store.ensure_bucket(other)
    try:
        both = store.ensure_key(name, (name, other))
        assert store.key_works(both, other)
        one = store.ensure_key(name, (name,))
        assert store.key_works(one, name)
        assert not store.key_works(one, other)
    finally:
        store.delete_bucket(other)


@pytest.mark.machine
def test_a_deleted_user_is_gone_with_its_keys(store: S3Store, name: str) -> None:
    store.ensure_bucket(name)
    key = store.ensure_key(name, (name,))
    assert store.user_names(name) == {name}
    store.delete_user(name)
    assert store.user_names(name) == frozenset()
    assert not store.key_works(key, name)
    store.delete_user(name)


@pytest.mark.machine
def test_the_states_key_opens_the_state_bucket_and_no_other(machine: Machine, store: S3Store, name: str) -> None:
    store.ensure_bucket(name)
    given = credential(machine.layout, "state.json")
    key = AccessKey("state", given["access_key_id"], given["secret_access_key"])
    assert store.key_works(key, "jhaas-state")
    assert not store.key_works(key, name)
    client = s3_of(machine.target.object_store, key)
    client.put_object(Bucket="jhaas-state", Key="test/one", Body=b"1")
    client.copy_object(Bucket="jhaas-state", Key="test/two", CopySource="jhaas-state/test/one")
    for one in ("test/one", "test/two"):
        client.delete_object(Bucket="jhaas-state", Key=one)
    assert refusal(client.put_object, Bucket=name, Key="x", Body=b"") == "AccessDenied"


@pytest.mark.machine
def test_wrong_credentials_are_one_clear_sentence(machine: Machine) -> None:
    given = credential(machine.layout, "object-store.json")
    pairs = [("AKIAWRONG", "wrong"), (given["access_key_id"], "wrong")]
    for key_id, secret in pairs:
        with pytest.raises(ObjectStoreError) as refused:
            S3Store(machine.target.object_store, key_id, secret).ensure_bucket("jhaas-never")
        assert "refuses the administrative key: correct object-store.json" in str(refused.value)
        assert str(machine.target.object_store.endpoint) in str(refused.value)
        assert given["secret_access_key"] not in str(refused.value)


def test_a_store_that_is_down_is_one_clear_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = ObjectStoreTarget(kind="seaweedfs", endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}")
        store = S3Store(target, "key", "secret")
        for call in (lambda: store.ensure_bucket("one"), lambda: store.ensure_key("one", ("one",))):
            with pytest.raises(
                ObjectStoreError, match=r"does not answer, so it did not .*: start it, or correct its address"
            ):
                call()


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("InternalError", 500, "whether its disk is full"),
        ("ServiceUnavailable", 503, "whether its disk is full"),
        ("InvalidBucketName", 400, "InvalidBucketName: no"),
        ("AccessDenied", 403, "refuses the administrative key"),
    ],
)
def test_what_the_store_answers_becomes_one_sentence(code: str, status: int, says: str) -> None:
    store = S3Store(ObjectStoreTarget(kind="aws", endpoint=None, path_style=False), "key", "secret")
    with Stubber(store._s3) as answers:
        answers.add_client_error("head_bucket", service_error_code="404", http_status_code=404)
        answers.add_client_error("create_bucket", code, "no", http_status_code=status)
        with pytest.raises(ObjectStoreError, match=f"AWS S3 did not make bucket one: .*{says}"):
            store.ensure_bucket("one")


def test_aws_is_told_the_region_of_a_bucket() -> None:
    store = S3Store(
        ObjectStoreTarget(kind="aws", endpoint=None, region="eu-central-1", path_style=False), "key", "secret"
    )
    with Stubber(store._s3) as answers:
        answers.add_client_error("head_bucket", service_error_code="404", http_status_code=404)
        place = {"LocationConstraint": "eu-central-1"}
        answers.add_response("create_bucket", {}, {"Bucket": "one", "CreateBucketConfiguration": place})
        store.ensure_bucket("one")
        answers.assert_no_pending_responses()
    assert store._s3.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"
    assert store._iam.meta.endpoint_url == "https://iam.amazonaws.com"


def test_every_kind_is_asked_in_its_own_way() -> None:
    """SeaweedFS by path and with the checksums that are asked for; AWS by host name and with all of them."""
    seaweedfs = S3Store(ObjectStoreTarget(kind="seaweedfs", endpoint="http://127.0.0.1:1"), "key", "secret")
    config = seaweedfs._s3.meta.config
    assert (config.s3["addressing_style"], config.request_checksum_calculation) == ("path", "when_required")
    aws = S3Store(ObjectStoreTarget(kind="aws", endpoint=None, path_style=False), "key", "secret")
    config = aws._s3.meta.config
    assert (config.s3["addressing_style"], config.request_checksum_calculation) == ("virtual", "when_supported")


def test_a_proxy_of_the_environment_is_no_way_to_a_store_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused, socket.create_server(("127.0.0.1", 0)) as proxy:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        called = threading.Event()

        def answer() -> None:
            try:
                proxy.accept()[0].close()
                called.set()
            except OSError:
                return

        waiting = threading.Thread(target=answer)
        waiting.start()
        store = S3Store(
            ObjectStoreTarget(kind="seaweedfs", endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}"), "key", "secret"
        )
        with pytest.raises(ObjectStoreError, match="does not answer"):
            store.ensure_bucket("one")
        proxy.shutdown(socket.SHUT_RDWR)
        waiting.join(timeout=10)
        assert not called.is_set()


@pytest.mark.machine
def test_a_full_disk_is_one_clear_sentence_and_reading_goes_on(short_home: Layout) -> None:
    """A store that keeps all of the disk free is as full as a store can be."""
    service = Seaweedfs(short_home, MachineSettings.for_start(short_home))
    supervisor = Supervisor(short_home)
    private_folder(short_home.services)
    try:
        service.prepare()
        supervisor.set_program(service.name, service.program())
        wait_for(lambda: service.unready() is None, "the store answers")
        given = credential(short_home, "object-store.json")
        target = ObjectStoreTarget(kind="seaweedfs", endpoint=service.address)
        store = S3Store(target, given["access_key_id"], given["secret_access_key"])
        store.ensure_bucket("jhaas-full")
        key = store.ensure_key("jhaas-full", ("jhaas-full",))
        s3_of(target, key).put_object(Bucket="jhaas-full", Key="kept", Body=b"text")

        program = service.program()
        full = tuple("-volume.minFreeSpace=100" if "minFreeSpace" in one else one for one in program.command)
        supervisor.set_program(service.name, dataclasses.replace(program, command=full))
        wait_for(lambda: "disk is full" in (service.unready() or ""), "the store refuses to write")
        assert s3_of(target, key).get_object(Bucket="jhaas-full", Key="kept")["Body"].read() == b"text"

        supervisor.set_program(service.name, program)
        wait_for(lambda: service.unready() is None, "the store writes again")
        assert s3_of(target, key).get_object(Bucket="jhaas-full", Key="kept")["Body"].read() == b"text"
    finally:
        supervisor.stop()
        service.clean()
