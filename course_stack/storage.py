"""Where a course's material and archives lie: a bucket of its own, and a key that opens no other."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from course_stack import object_store
from course_stack.names import PREFIX, CourseNames
from course_stack.object_store import AccessKey
from course_stack.resources import Properties, Provider, target_inputs, target_of
from course_stack.spec import CourseSpec
from course_stack.target import Target


@dataclass(frozen=True, slots=True)
class Storage:
    """The course's bucket and key."""

    bucket: Bucket
    key: BucketKey


def storage(spec: CourseSpec, target: Target) -> Storage:
    """The course's bucket, which outlives the course where the target says so, and its key, which never does."""
    names = CourseNames(spec.slug)
    bucket = Bucket("bucket", target, names.bucket)
    after = pulumi.ResourceOptions(depends_on=[bucket])
    return Storage(bucket, BucketKey("key", target, names.store_user, names.bucket, after))


class BucketProvider(Provider):
    """A bucket, by name."""

    identity = ("name",)

    def create(self, props: Properties) -> CreateResult:
        """Make the bucket, or adopt the one of this name."""
        object_store.connect(target_of(props)).ensure_bucket(props["name"])
        return CreateResult(props["name"], props)

    def read(self, id_: str, props: Properties) -> ReadResult:
        """No id where the bucket is gone."""
        there = id_ in object_store.connect(target_of(props)).bucket_names(id_)
        return ReadResult(id_, props) if there else ReadResult("", {})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Make sure that it is there."""
        object_store.connect(target_of(news)).ensure_bucket(news["name"])
        return UpdateResult(news)

    def delete(self, id_: str, props: Properties) -> None:
        """Delete the bucket with everything in it, unless the target keeps buckets; fine where it is gone."""
        target = target_of(props)
        if not target.object_store.keep_buckets:
            object_store.connect(target).delete_bucket(id_)


class Bucket(Resource, module="jhaas", name="Bucket"):
    """An S3 bucket."""

    def __init__(self, name: str, target: Target, bucket: str) -> None:
        super().__init__(BucketProvider(), name, {"name": bucket, **target_inputs(target)})


class BucketKeyProvider(Provider):
    """A user of the object store with one key for one bucket."""

    identity = ("user", "bucket")

    def create(self, props: Properties) -> CreateResult:
        """Make the user and a fresh key. Older keys of the user end: their secret is lost."""
        return CreateResult(props["user"], {**props, **_fresh_key(props)})

    def read(self, id_: str, props: Properties) -> ReadResult:
        """`works` says whether the key opens the bucket now; no id where the user is gone."""
        store = object_store.connect(target_of(props))
        if id_ not in store.user_names(id_):
            return ReadResult("", {})
        key = AccessKey(id_, props.get("key_id") or "", props.get("secret") or "")
        return ReadResult(id_, {**props, "works": store.key_works(key, props["bucket"])})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Give the user a fresh key."""
        return UpdateResult({**news, **_fresh_key(news)})

    def delete(self, id_: str, props: Properties) -> None:
        """Delete the user with its key, and what killed Jobs of the course may have left; fine where they are gone."""
        store = object_store.connect(target_of(props))
        for user in (id_, CourseNames(id_.removeprefix(PREFIX)).archive_user):
            store.delete_user(user)

    def drifted(self, olds: Properties) -> bool:
        """A key that does not open its bucket is replaced by a fresh one."""
        return not olds.get("works", True)


class BucketKey(Resource, module="jhaas", name="BucketKey"):
    """A key limited to one bucket. Outputs: `key_id`, `secret` (secret)."""

    key_id: pulumi.Output[str]
    secret: pulumi.Output[str]

    def __init__(self, name: str, target: Target, user: str, bucket: str, opts: pulumi.ResourceOptions) -> None:
        props = {"user": user, "bucket": bucket, **target_inputs(target), "key_id": None, "secret": None}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["secret"])
        super().__init__(BucketKeyProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))


def _fresh_key(props: Properties) -> Properties:
    key = object_store.connect(target_of(props)).ensure_key(props["user"], (props["bucket"],))
    return {"key_id": key.key_id, "secret": key.secret, "works": True}
