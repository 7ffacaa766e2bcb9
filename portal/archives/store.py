"""Where archives are kept: a bucket of their own, opened by a key that opens no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID

from course_stack.object_store import ObjectStoreError
from course_stack.object_store.s3 import S3Store
from portal.archives.walk import CHUNK

if TYPE_CHECKING:
    from course_stack.target import ObjectStoreTarget, Target

CREDENTIALS = "archives.json"
PART = 16 * 1024 * 1024
"""Bytes of an upload's parts; S3 wants 5 MiB at least, and 10,000 parts at most."""


def archive_key(course: UUID, closing: int, home: str, number: int) -> str:
    """Name of an archive in the bucket. Each try has a number of its own: no two writers ever write the same one."""
    return f"{course}/{closing}/{quote(home, safe='')}-{number}.tar.zst"


class ArchiveStore(S3Store):
    """The bucket of archives. Failures raise `ObjectStoreError`."""

    def __init__(
        self,
        target: ObjectStoreTarget,
        bucket: str,
        key_id: str | None = None,
        secret: str | None = None,
        *,
        part: int = PART,
    ) -> None:
        super().__init__(target, key_id, secret, file=CREDENTIALS)
        self.bucket = bucket
        self._part = part

    @classmethod
    def of(cls, target: Target, bucket: str, folder: Path | None = None) -> ArchiveStore:
        """The target's, with the key in `archives.json` of `folder` (default: of `JHAAS_CREDENTIALS_DIR`); at AWS also
        with what the surroundings of the process give."""
        from course_stack.credentials import CredentialsError, store_key

        try:
            key = store_key(CREDENTIALS, target, folder)
        except CredentialsError as error:
            raise ObjectStoreError(str(error)) from None
        return cls(target.object_store, bucket, *(key or ()))

    def upload(self, key: str) -> Upload:
        """Begin to write an archive; nothing is there before `Upload.finish`."""
        return Upload(self, key, self._part)

    def read(self, key: str) -> Iterator[bytes]:
        """The archive's bytes, in pieces."""
        with self._doing(f"give back archive {key}"):
            body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"]
            try:
                while chunk := body.read(CHUNK):
                    yield chunk
            finally:
                body.close()

    def delete(self, key: str) -> None:
        """Remove an archive; fine where there is none."""
        with self._doing(f"delete archive {key}"):
            self._s3.delete_object(Bucket=self.bucket, Key=key)

    def abort_uploads(self, course: UUID, closing: int, home: str) -> int:
        """Remove the parts of uploads of this home that were never finished; how many there were."""
        prefix = f"{course}/{closing}/"
        own = re.compile(re.escape(f"{prefix}{quote(home, safe='')}") + r"-\d+\.tar\.zst")
        with self._doing("list unfinished uploads"):
            found = [
                (upload["Key"], upload["UploadId"])
                for upload in self._pages("list_multipart_uploads", "Uploads", Bucket=self.bucket, Prefix=prefix)
                if own.fullmatch(upload["Key"])
            ]
        for key, upload in found:
            self.abort(key, upload)
        return len(found)

    # --- the steps of an `Upload`

    def begin(self, key: str) -> str:
        """Begin an upload in parts; its id."""
        with self._doing(f"begin archive {key}"):
            return str(self._s3.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"])

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Store one part; its tag."""
        with self._doing(f"take part {number} of archive {key}"):
            return str(
                self._s3.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)["ETag"]
            )

    def complete(self, key: str, upload: str, tags: list[str]) -> None:
        """Make the object of its parts, given by their tags in order."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        with self._doing(f"finish archive {key}"):
            self._s3.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    def put(self, key: str, data: bytes) -> None:
        """Store a small archive at once."""
        with self._doing(f"take archive {key}"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def abort(self, key: str, upload: str) -> None:
        """Remove the parts of an upload; fine where it is gone."""
        with self._doing(f"give up archive {key}", passing={"NoSuchUpload"}):
            self._s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)


class Upload:
    """One archive on its way: at most one part of it is in memory."""

    def __init__(self, store: ArchiveStore, key: str, part: int) -> None:
        self._store = store
        self._key = key
        self._part = part
        self._waiting = bytearray()
        self._upload: str | None = None
        self._tags: list[str] = []

    def write(self, data: bytes) -> None:
        """Take more of the archive."""
        self._waiting += data
        while len(self._waiting) >= (size := self._next_size):
            self._send(bytes(self._waiting[:size]))
            del self._waiting[:size]

    def finish(self) -> None:
        """Make the archive of what was written."""
        if self._upload is None:
            self._store.put(self._key, bytes(self._waiting))
            return
        if self._waiting:
            self._send(bytes(self._waiting))
        self._store.complete(self._key, self._upload, self._tags)

    def abort(self) -> None:
        """Leave nothing."""
        if self._upload is not None:
            self._store.abort(self._key, self._upload)

    @property
    def _next_size(self) -> int:
        # larger parts the longer it gets: 10,000 of them hold some 880 GB
        return self._part * (1 + len(self._tags) // 1000)

    def _send(self, data: bytes) -> None:
        if self._upload is None:
            self._upload = self._store.begin(self._key)
        number = len(self._tags) + 1
        self._tags.append(self._store.put_part(self._key, self._upload, number, data))
