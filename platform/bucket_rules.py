"""What a key may do in buckets, and what buckets forget: documents in AWS's language, which MinIO's heirs speak too.

Pure. `partition` in names of buckets is `aws` everywhere but in China and in AWS's clouds of governments.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]

COURSE_BUCKETS = "jhaas-*"
"""Names of the buckets of courses; those of the platform are taken out by name."""

_ON_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")
_ON_OBJECTS = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_OF_COURSES_ON_BUCKET = (*_ON_BUCKET, "s3:CreateBucket", "s3:DeleteBucket", "s3:ListBucketVersions")
_OF_COURSES_ON_OBJECTS = (*_ON_OBJECTS, "s3:GetObjectVersion", "s3:DeleteObjectVersion")


def bucket(name: str, partition: str = "aws") -> str:
    """A bucket as policies write it."""
    return f"arn:{partition}:s3:::{name}"


def objects(name: str, partition: str = "aws") -> str:
    """Everything in it."""
    return f"{bucket(name, partition)}/*"


def own_bucket(name: str, partition: str = "aws") -> Document:
    """Read and write what is in one bucket. Old versions of it, its rules and other buckets are out of reach: who takes
    the key can delete, and what was deleted can be brought back."""
    return _document(
        _allow(_ON_BUCKET, bucket(name, partition)),
        _allow(_ON_OBJECTS, objects(name, partition)),
    )


def course_buckets(archives: str, closed: Iterable[str], partition: str = "aws") -> Document:
    """Make, fill and delete buckets of courses; in the bucket of archives, read and write objects whose names one knows
    (each course's Jobs get a key for its own); nothing in the `closed` ones, whatever these are called."""
    out_of_reach = [bucket(archives, partition)]
    out_of_reach += [place for name in closed for place in (bucket(name, partition), objects(name, partition))]
    return _document(
        _allow(("s3:ListAllMyBuckets",), f"{bucket('*', partition)}"),
        _allow(_OF_COURSES_ON_BUCKET, bucket(COURSE_BUCKETS, partition)),
        _allow(_OF_COURSES_ON_OBJECTS, objects(COURSE_BUCKETS, partition)),
        _allow(_ON_OBJECTS, objects(archives, partition)),
        _deny(("s3:*",), *out_of_reach),
        # what was deleted from the archives can be brought back
        _deny(("s3:DeleteObjectVersion",), objects(archives, partition)),
    )


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: Iterable[str], *resources: str) -> Document:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _deny(actions: Iterable[str], *resources: str) -> Document:
    return {"Effect": "Deny", "Action": list(actions), "Resource": list(resources)}


HISTORY = (".pulumi/history/", ".pulumi/backups/")
"""Where Pulumi adds a file at each change, and never takes one away."""


def forgetting(deleted_days: int, history_days: int | None = None) -> Document:
    """Lifecycle of a bucket with versions: what was deleted goes for good after a while; with `history_days`, so does
    the history of stacks."""
    kept = {
        "ID": "deleted",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": deleted_days},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }
    history = [
        {
            "ID": prefix.strip("/").rpartition("/")[2],
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "Expiration": {"Days": history_days},
        }
        for prefix in HISTORY
        if history_days is not None
    ]
    return {"Rules": [kept, *history]}
