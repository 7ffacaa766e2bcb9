"""What the engines really said (recorded from the Pulumi CLI), and what we make of it."""

from __future__ import annotations

import pytest

from automation import failures
from automation.failures import OperationFailed, by_name, classify

PROVIDER = """<{%fg 9%}>error: <{%reset%}>Exception calling application: Traceback (most recent call last):
  File "pulumi/dynamic/__main__.py", line 99, in wrapper
    return fn(self, request, context)
  File "course_stack/login.py", line 70, in create
    return CreateResult(props["name"], {**props, **self._ensure(props)})
course_stack.identity.IdentityError: Canaille at http://127.0.0.1:8011 does not answer: is it running?
"""
LOCKED = """\
error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock \
file with `pulumi cancel`.
  file://STORE/.pulumi/locks/organization/jhaas-course/one/0d1e.json: created by someone@elsewhere (pid 1) at 2026"""
DOWN = """\
error: read ".pulumi/meta.yaml": blob (key ".pulumi/meta.yaml") (code=Unknown): operation error S3: GetObject, \
exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , HostID: , request send \
failed, Get "http://127.0.0.1:1/b/.pulumi/meta.yaml": dial tcp 127.0.0.1:1: connect: connection refused"""
REFUSED = """\
error: read ".pulumi/meta.yaml": blob (code=PermissionDenied): operation error S3: GetObject, https response error \
StatusCode: 403, RequestID: 1, HostID: , api error InvalidAccessKeyId: The access key ID you provided does not exist"""
PASSPHRASE = "error: getting stack configuration: get stack secrets manager: incorrect passphrase"
SAID = [
    (PASSPHRASE, failures.WrongPassphrase, "made with another one"),
    (LOCKED, failures.StackLocked, "someone@elsewhere (pid 1)"),
    (
        "error: failed to load checkpoint: unexpected end of JSON input",
        failures.CorruptState,
        "cannot be read: failed to load checkpoint",
    ),
    (DOWN, failures.StoreDown, "connection refused"),
    (REFUSED, failures.WrongCredentials, "InvalidAccessKeyId"),
    ("error: no stack named 'physics' found", failures.StackMissing, "physics"),
    (
        "error: no resource plugin 'pulumi-resource-random' found in the workspace at version v4.21.0 or on your $PATH",
        failures.EngineUnusable,
        "pulumi-resource-random",
    ),
    ("OSError: [Errno 28] No space left on device: '/data/hubs/physics'", failures.DiskFull, "Make space"),
    (
        "course_stack.local.ports.PortError: No port for the hub is free: all of 30000 to 32767 are in use.",
        failures.PortTaken,
        "No port for the hub is free",
    ),
    (
        "course_stack.object_store.ObjectStoreError: The store answered AccessDenied",
        failures.ObjectStoreFailed,
        "AccessDenied",
    ),
    (PROVIDER, failures.IdentityProviderFailed, "Canaille at http://127.0.0.1:8011 does not answer"),
    ("course_stack.object_store.ObjectStoreError: bucket refused", failures.ObjectStoreFailed, "bucket refused"),
    ("error: update canceled", failures.Cancelled, "cancelled"),
    ("error: something never seen before", OperationFailed, "something never seen before"),
    ("", OperationFailed, "see the log"),
]


@pytest.mark.parametrize(("said", "failure", "detail"), SAID, ids=[failure.__name__ for _, failure, _ in SAID])
def test_what_the_engine_said_becomes_one_clear_failure(said: str, failure: type[OperationFailed], detail: str) -> None:
    found = classify([said])

    assert type(found) is failure
    assert detail in found.message
    assert "Traceback" not in found.message
    assert "<{%" not in found.message


def test_a_failure_s_name_leads_back_to_its_class() -> None:
    names = [cls.__name__ for cls in (failures.StoreDown, failures.DiskFull, failures.Cancelled, failures.Died)]

    assert [by_name(name).__name__ for name in names] == names
    assert by_name("FailureOfAnotherRelease") is OperationFailed
