"""What a course needs of the object store, whichever S3 it is."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from course_stack.target import CREDENTIALS_ENV, Target


class ObjectStoreError(Exception):
    """The object store refused or could not be reached; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An S3 key. `secret` is a secret: never in a log, a message or a resource id."""

    user: str
    key_id: str
    secret: str


class ObjectStore(Protocol):
    """Every `ensure_` adopts what exists under the name; every `delete_` succeeds when there is nothing to delete.
    Failures raise `ObjectStoreError`."""

    def ensure_bucket(self, name: str) -> None: ...

    def delete_bucket(self, name: str) -> None:
        """Delete the bucket and every object in it."""
        ...

    def bucket_names(self, prefix: str) -> frozenset[str]: ...

    def ensure_key(self, user: str, buckets: tuple[str, ...]) -> AccessKey:
        """A fresh key of `user` that reads and writes these buckets and nothing else; older keys of the user end."""
        ...

    def key_works(self, key: AccessKey, bucket: str) -> bool: ...

    def delete_user(self, user: str) -> None:
        """Delete the user with its keys and policies."""
        ...

    def user_names(self, prefix: str) -> frozenset[str]: ...


def connect(target: Target) -> ObjectStore:
    """The target's object store, with the administrative credentials of `object-store.json`."""
    folder = os.environ.get(CREDENTIALS_ENV)
    if not folder:
        raise ObjectStoreError(f"{CREDENTIALS_ENV} is not set: give the folder that holds object-store.json.")
    path = Path(folder) / "object-store.json"
    try:
        credentials: dict[str, str] = json.loads(path.read_text())
    except OSError as error:
        raise ObjectStoreError(f"{path} cannot be read ({error.strerror}): it must hold the store's key.") from error
    from course_stack.object_store.s3 import S3Store

    return S3Store(target.object_store, credentials["access_key_id"], credentials["secret_access_key"])
