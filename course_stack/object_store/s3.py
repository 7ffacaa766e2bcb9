"""Buckets and keys of courses at an S3 store: SeaweedFS, or AWS itself.

Both speak S3 for buckets and AWS's IAM API for users and keys, so that boto3 serves both. SeaweedFS answers IAM at the
address of S3; AWS at the region's own. What was tried on SeaweedFS only is marked below.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from course_stack.hub_files.trust import distrust, of_aws_clients
from course_stack.object_store import AccessKey, ObjectStoreError

if TYPE_CHECKING:
    from course_stack.target import ObjectStoreTarget

_POLICY = "own-buckets"
_ON_BUCKET = ("s3:ListBucket",)
_ON_OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
"""Actions that both stores know; SeaweedFS refuses a policy with one that it does not. A course's key reads and writes
objects; it cannot open its bucket to others, which needs s3:PutBucketPolicy."""

_REFUSED = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId", "AccessDenied", "403"}
_ABSENT = {"NoSuchBucket", "NoSuchEntity", "NoSuchUpload", "404"}
_KEY_DEADLINE = 60.0
"""Seconds until a new key must work: AWS needs some ten, SeaweedFS none."""


class S3Store:
    """An `ObjectStore` over boto3. Makes no connection before it is used. `file` is where the key was read from, or
    would be: without one, the surroundings of the process give it (a role)."""

    def __init__(
        self,
        target: ObjectStoreTarget,
        access_key_id: str | None = None,
        secret: str | None = None,
        *,
        file: str = "object-store.json",
    ) -> None:
        self._target = target
        self._file = file
        self._key = (access_key_id, secret)
        self._place = f"The object store at {target.endpoint}" if target.endpoint else "AWS S3"

    # --- buckets

    def ensure_bucket(self, name: str) -> None:
        if self._has_bucket(name):
            return
        place = {}
        if self._target.kind == "aws" and self._target.region != "us-east-1":
            # AWS wants every region but its first to be named; not tried on AWS
            place = {"CreateBucketConfiguration": {"LocationConstraint": self._target.region}}
        with self._doing(f"make bucket {name}", passing={"BucketAlreadyOwnedByYou"}):
            self._s3.create_bucket(Bucket=name, **place)

    def delete_bucket(self, name: str) -> None:
        with self._doing(f"delete bucket {name}", passing=_ABSENT):
            for upload in self._pages("list_multipart_uploads", "Uploads", Bucket=name):
                self._s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
            # two looks: what is still being written while we delete is found by the second
            for _ in range(2):
                self._delete_objects(name)
            self._s3.delete_bucket(Bucket=name)

    def bucket_names(self, prefix: str) -> frozenset[str]:
        with self._doing("list buckets"):
            names = {bucket["Name"] for bucket in self._pages("list_buckets", "Buckets")}
        return frozenset(name for name in names if name.startswith(prefix))

    # --- keys

    def ensure_key(self, user: str, buckets: tuple[str, ...]) -> AccessKey:
        policy = [
            _allow(_ON_BUCKET, [f"arn:aws:s3:::{one}" for one in buckets]),
            _allow(_ON_OBJECTS, [f"arn:aws:s3:::{one}/*" for one in buckets]),
        ]
        return self._fresh_key(
            user, policy, lambda key: all(self.key_works(key, one) for one in buckets), ", ".join(buckets)
        )

    def ensure_writer(self, user: str, bucket: str, prefix: str) -> AccessKey:
        policy = [_allow(_ON_OBJECTS, [f"arn:aws:s3:::{bucket}/{prefix}*"])]
        return self._fresh_key(user, policy, lambda key: self._writes(key, bucket, prefix), f"{bucket}/{prefix}")

    def _fresh_key(
        self, user: str, policy: list[dict[str, Any]], works: Callable[[AccessKey], bool], what: str
    ) -> AccessKey:
        document = json.dumps({"Version": "2012-10-17", "Statement": policy})
        key = self._make_key(user, document)
        deadline = time.monotonic() + _KEY_DEADLINE
        while not works(key):
            if time.monotonic() > deadline:
                raise ObjectStoreError(
                    f"{self._place} made a key for {user} that does not open {what} after {_KEY_DEADLINE:.0f} seconds: "
                    "make sure that the bucket exists."
                )
            time.sleep(0.1)
        return key

    def _make_key(self, user: str, document: str) -> AccessKey:
        """The user's only key, with this policy and no other."""
        boundary = self._target.permissions_boundary
        bounded = {"PermissionsBoundary": boundary} if boundary else {}
        with self._doing(f"make user {user}", passing={"EntityAlreadyExists"}):
            self._iam.create_user(UserName=user, **bounded)
        with self._doing(f"make a key for {user}"):
            self._iam.put_user_policy(UserName=user, PolicyName=_POLICY, PolicyDocument=document)
            self._delete_keys(user)
            made = self._iam.create_access_key(UserName=user)["AccessKey"]
        return AccessKey(user=user, key_id=made["AccessKeyId"], secret=made["SecretAccessKey"])

    def key_works(self, key: AccessKey, bucket: str) -> bool:
        """Whether the key may list the bucket now."""
        return self._may(key, lambda s3: s3.list_objects_v2(Bucket=bucket, MaxKeys=1), _REFUSED | _ABSENT)

    def _writes(self, key: AccessKey, bucket: str, prefix: str) -> bool:
        trial = f"{prefix}.trial-of-the-key"
        made = self._may(key, lambda s3: s3.put_object(Bucket=bucket, Key=trial, Body=b""))
        return made and self._may(key, lambda s3: s3.delete_object(Bucket=bucket, Key=trial))

    def _may(self, key: AccessKey, call: Callable[[Any], object], refusals: AbstractSet[str] = _REFUSED) -> bool:
        """Whether the store lets the key make this call now; answers with one of these codes are a no."""
        from botocore.exceptions import ClientError

        with self._doing(f"try the key of {key.user}"):
            try:
                call(self._client("s3", key.key_id, key.secret))
            except ClientError as error:
                if _code(error) in refusals:
                    return False
                raise
        return True

    def delete_user(self, user: str) -> None:
        with self._doing(f"delete user {user}", passing=_ABSENT):
            self._delete_keys(user)
            for policy in self._iam.list_user_policies(UserName=user).get("PolicyNames", []):
                self._iam.delete_user_policy(UserName=user, PolicyName=policy)
            self._iam.delete_user(UserName=user)

    def user_names(self, prefix: str) -> frozenset[str]:
        with self._doing("list users"):
            pages = self._iam.get_paginator("list_users").paginate()
            names = {user["UserName"] for page in pages for user in page["Users"]}
        return frozenset(name for name in names if name.startswith(prefix))

    # --- readiness

    def trouble(self, bucket: str) -> str | None:
        """None when the store keeps and returns a small object in this bucket of its own; else one sentence that says
        what is wrong. A store may list its buckets well before it can read or write."""
        sent = str(time.time_ns()).encode()
        try:
            self.ensure_bucket(bucket)
            with self._doing("keep and return an object"):
                self._s3.put_object(Bucket=bucket, Key="alive", Body=sent)
                got = self._s3.get_object(Bucket=bucket, Key="alive")["Body"].read()
        except ObjectStoreError as error:
            return str(error)
        return None if got == sent else f"{self._place} returned another object than it was given: look at its log."

    # --- inside

    @cached_property
    def _s3(self) -> Any:
        return self._client("s3", *self._key)

    @cached_property
    def _iam(self) -> Any:
        return self._client("iam", *self._key)

    def _client(self, service: str, key_id: str | None, secret: str | None) -> Any:
        import boto3
        from botocore.config import Config

        aws = self._target.kind == "aws"
        # stores other than AWS may refuse the checksums that boto3 adds since 1.36
        checksums: Literal["when_supported", "when_required"] = "when_supported" if aws else "when_required"
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            s3={"addressing_style": "path" if self._target.path_style else "virtual"},
            # a proxy of the environment is no way to a store on this machine
            proxies={} if _is_loopback(self._target.endpoint) else None,
        )
        session: Any = boto3.session.Session()  # not typed: one call makes clients of two services
        return session.client(
            service,
            endpoint_url=self._target.endpoint,
            region_name=self._target.region,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            verify=of_aws_clients(),
            config=config,
        )

    def _has_bucket(self, name: str) -> bool:
        from botocore.exceptions import ClientError

        with self._doing(f"look for bucket {name}"):
            try:
                self._s3.head_bucket(Bucket=name)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return False
                raise
        return True

    def _pages(self, operation: str, field: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        for page in self._s3.get_paginator(operation).paginate(**arguments):
            yield from page.get(field, [])

    def _delete_objects(self, bucket: str) -> None:
        """Delete all objects with all their versions, a thousand at a time."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            if not objects:
                continue
            outcome = self._s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if errors := outcome.get("Errors"):
                raise ObjectStoreError(
                    f"{self._place} did not delete {len(errors)} objects of bucket {bucket}, "
                    f"the first being {errors[0]['Key']!r}: {errors[0]['Code']}."
                )

    def _delete_keys(self, user: str) -> None:
        for key in self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
            self._iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])

    @contextmanager
    def _doing(self, what: str, passing: set[str] | frozenset[str] = frozenset()) -> Iterator[None]:
        """Turn the store's errors into one sentence; error codes in `passing` are no errors."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
        from botocore.exceptions import ConnectionError as UnreachableError

        try:
            yield
        except ClientError as error:
            code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in passing:
                return
            if code in _REFUSED or status == 403:
                whose = "administrative key" if self._file == "object-store.json" else "key"
                reason = f"it refuses the {whose}: correct {self._file}"
            elif status >= 500:
                reason = f"it fails itself ({code}): look at its log, and whether its disk is full"
            else:
                reason = f"{code}: {error.response.get('Error', {}).get('Message', '')}".rstrip(": ")
            raise ObjectStoreError(f"{self._place} did not {what}: {reason}.") from error
        except (UnreachableError, HTTPClientError) as error:
            if why := distrust(error):
                raise ObjectStoreError(f"{self._place} cannot be asked to {what}: {why}") from error
            raise ObjectStoreError(
                f"{self._place} does not answer, so it did not {what}: start it, or correct its address."
            ) from error
        except NoCredentialsError as error:
            reason = f"there is neither a file {self._file} with its key, nor a role that gives one"
            raise ObjectStoreError(f"{self._place} was not asked to {what}: {reason}.") from error
        except BotoCoreError as error:
            raise ObjectStoreError(f"{self._place} did not {what}: {error}.") from error


def _allow(actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resources}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_loopback(endpoint: str | None) -> bool:
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
