"""What a course needs of the object store, whichever S3 it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # this package also runs in Jobs on clusters, where there is nothing of ours beside it
    from course_stack.target import Target


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

    def ensure_writer(self, user: str, bucket: str, prefix: str) -> AccessKey:
        """A fresh key of `user` that writes, reads and deletes the objects whose names begin with `prefix`, and does
        nothing else, not even list them; older keys of the user end."""
        ...

    def key_works(self, key: AccessKey, bucket: str) -> bool: ...

    def delete_user(self, user: str) -> None:
        """Delete the user with its keys and policies."""
        ...

    def user_names(self, prefix: str) -> frozenset[str]: ...


def connect(target: Target, folder: Path | None = None) -> ObjectStore:
    """The target's object store, with the administrative credentials of `object-store.json` in `folder` (default: the
    folder that `JHAAS_CREDENTIALS_DIR` names); at AWS also with what the surroundings of the process give."""
    from course_stack.credentials import CredentialsError, store_key
    from course_stack.object_store.minio import MinioStore
    from course_stack.object_store.s3 import S3Store

    try:
        key = store_key("object-store.json", target, folder)
    except CredentialsError as error:
        raise ObjectStoreError(str(error)) from None
    if target.object_store.kind == "minio":
        assert key is not None  # only AWS does without
        return MinioStore(target.object_store, *key)
    return S3Store(target.object_store, *(key or ()))
