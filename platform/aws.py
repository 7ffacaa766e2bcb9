"""The S3 store at AWS: buckets, a key of the key service, and a user for each use. Imported only where it is chosen."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_aws import Provider, ProviderDefaultTagsArgs, iam, kms, s3

import aws_rules
import bucket_rules
from config import Aws, AwsObjectStorage, BundledDatabase, PlatformConfig
from database_objects import NAMESPACE as DATABASE
from kubernetes_objects import Part
from outputs import PORTAL_NAMESPACE, Key, ObjectStore, Role, StoreBucket
from portal_objects import WORKER_ACCOUNT

Holder = iam.User | iam.Role
"""Who has rights: a user with a key, or a role that pods take."""
UNFINISHED_DAYS = 7
"""After which AWS throws away the parts of an upload that was never finished."""


def aws_store(config: PlatformConfig, chosen: AwsObjectStorage, on: pulumi.ResourceOptions) -> ObjectStore:
    """Buckets at AWS S3."""
    return AwsStore(config, chosen, on).store


def account(name: str, aws: Aws, opts: pulumi.ResourceOptions) -> Provider:
    """The account that the `aws` section names; its keys come from the environment."""
    tags = ProviderDefaultTagsArgs(tags=aws.tags) if aws.tags else None
    return Provider(name, region=aws.region, profile=aws.profile, default_tags=tags, opts=opts)


class AwsStore(Part):
    """Buckets, key and users. Output: `store`."""

    store: ObjectStore

    def __init__(self, config: PlatformConfig, chosen: AwsObjectStorage, on: pulumi.ResourceOptions) -> None:
        super().__init__("object-storage", on)
        assert config.aws is not None  # the configuration was refused otherwise
        self._aws = config.aws
        self._world = aws_rules.partition(config.aws.region)
        provider = account("aws-object-storage", config.aws, pulumi.ResourceOptions(parent=self))
        self._opts = pulumi.ResourceOptions(parent=self, provider=provider)
        self._ready: list[pulumi.Resource] = []
        for_backups = isinstance(config.database, BundledDatabase)

        self._bucket("state", chosen.state_bucket, chosen, chosen.history_days)
        self._bucket("archives", chosen.archives_bucket, chosen)
        encryption = self._key_service()
        # in an EKS cluster workers take one role for all of it, in place of keys
        self._workers = self._role("workers", PORTAL_NAMESPACE, WORKER_ACCOUNT)
        state = self._holder("state", bucket_rules.own_bucket(chosen.state_bucket, self._world))
        self._policy("state-secrets", state, encryption.arn.apply(lambda arn: json.dumps(aws_rules.use_of_key(arn))))
        archives = self._holder("archives", bucket_rules.own_bucket(chosen.archives_bucket, self._world))
        courses, boundary = self._courses(chosen)
        region = config.aws.region
        self.store = ObjectStore(
            endpoint=None,
            region=region,
            path_style=False,
            ca=None,
            state=StoreBucket(chosen.state_bucket, self._access("state", state)),
            archives=StoreBucket(chosen.archives_bucket, self._access("archives", archives)),
            backups=self._backups(chosen) if for_backups else None,
            courses=self._access("courses", courses),
            kind="aws",
            secrets_provider=encryption.key_id.apply(lambda key: f"awskms://{key}?region={region}"),
            permissions_boundary=boundary.arn,
            ready=tuple(self._ready),
        )
        self.register_outputs({"state_bucket": chosen.state_bucket})

    def _bucket(self, use: str, name: str, chosen: AwsObjectStorage, history_days: int | None = None) -> None:
        """A bucket that is encrypted, closed to the public, reached by TLS only, and keeps what is deleted for a while.

        It is not deleted as long as something is in it."""
        bucket = s3.Bucket(use, bucket=name, opts=self._opts)
        inside = pulumi.ResourceOptions.merge(self._opts, pulumi.ResourceOptions(depends_on=[bucket]))
        closed = s3.BucketPublicAccessBlock(
            use,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=inside,
        )
        encrypted = s3.BucketServerSideEncryptionConfiguration(
            use,
            bucket=bucket.bucket,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=inside,
        )
        versions = s3.BucketVersioning(
            use, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=inside
        )
        after = pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[versions, closed]))
        lifecycle = s3.BucketLifecycleConfiguration(
            use, bucket=bucket.bucket, rules=lifecycle_rules(chosen.deleted_days, history_days), opts=after
        )
        policy = s3.BucketPolicy(
            use, bucket=bucket.bucket, policy=json.dumps(aws_rules.only_by_tls(name, self._world)), opts=after
        )
        self._ready += [bucket, closed, encrypted, versions, lifecycle, policy]

    def _key_service(self) -> kms.Key:
        """The key that encrypts secrets in the courses' stacks."""
        key = kms.Key(
            "courses",
            description="Secrets in the stacks of courses",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            opts=self._opts,
        )
        name = kms.Alias("courses", name=f"alias/{self._aws.prefix}-courses", target_key_id=key.key_id, opts=self._opts)
        self._ready += [key, name]
        return key

    def _courses(self, chosen: AwsObjectStorage) -> tuple[Holder, iam.Policy]:
        """Who makes buckets and users for courses, and the boundary of these users."""
        closed = (chosen.state_bucket, chosen.backups_bucket)
        boundary = iam.Policy(
            "courses-boundary",
            name=f"{self._aws.prefix}-courses-boundary",
            policy=json.dumps(aws_rules.course_boundary(chosen.archives_bucket, closed, self._world)),
            opts=self._opts,
        )
        user = self._holder("courses", bucket_rules.course_buckets(chosen.archives_bucket, closed, self._world))
        self._policy(
            "courses-users",
            user,
            boundary.arn.apply(lambda arn: json.dumps(aws_rules.course_users(arn, self._world))),
        )
        return user, boundary

    def _backups(self, chosen: AwsObjectStorage) -> StoreBucket:
        """The bucket of the database's backups; in an EKS cluster its pods take a role in place of a key."""
        self._bucket("backups", chosen.backups_bucket, chosen)
        holder = self._role("backups", DATABASE, "postgres-*") or self._user("backups")
        self._policy("backups", holder, json.dumps(bucket_rules.own_bucket(chosen.backups_bucket, self._world)))
        return StoreBucket(chosen.backups_bucket, self._access("backups", holder))

    def _holder(self, use: str, rules: dict[str, Any]) -> Holder:
        """Who has these rights for a use of workers."""
        holder = self._workers or self._user(use)
        self._policy(use, holder, json.dumps(rules))
        return holder

    def _role(self, name: str, namespace: str, service_accounts: str) -> iam.Role | None:
        """A role for pods of these service accounts; None outside of EKS."""
        if self._aws.oidc_provider_arn is None:
            return None
        trust = aws_rules.trust_in_pods(self._aws.oidc_provider_arn, namespace, service_accounts)
        role = iam.Role(name, name=f"{self._aws.prefix}-{name}", assume_role_policy=json.dumps(trust), opts=self._opts)
        self._ready.append(role)
        return role

    def _user(self, use: str) -> iam.User:
        user = iam.User(
            use, name=f"{self._aws.prefix}-{use}", path=aws_rules.PLATFORM_PATH, force_destroy=True, opts=self._opts
        )
        self._ready.append(user)
        return user

    def _policy(self, name: str, holder: Holder, rules: pulumi.Input[str]) -> None:
        made = (
            iam.RolePolicy(name, name=name, role=holder.name, policy=rules, opts=self._opts)
            if isinstance(holder, iam.Role)
            else iam.UserPolicy(name, name=name, user=holder.name, policy=rules, opts=self._opts)
        )
        self._ready.append(made)

    def _access(self, use: str, holder: Holder) -> Key | Role:
        return Role(holder.arn) if isinstance(holder, iam.Role) else self._key(use, holder)

    def _key(self, use: str, user: iam.User) -> Key:
        made = iam.AccessKey(
            use,
            user=user.name,
            opts=pulumi.ResourceOptions.merge(
                self._opts, pulumi.ResourceOptions(additional_secret_outputs=["secret", "sesSmtpPasswordV4"])
            ),
        )
        self._ready.append(made)
        return Key(made.id, pulumi.Output.secret(made.secret))


def lifecycle_rules(deleted_days: int, history_days: int | None = None) -> list[Any]:
    """The rules of `bucket_rules.forgetting` as the provider takes them, and one more for unfinished uploads."""
    made: list[dict[str, Any]] = []
    for rule in bucket_rules.forgetting(deleted_days, history_days)["Rules"]:
        expiration = rule["Expiration"]
        one: dict[str, Any] = {
            "id": rule["ID"],
            "status": rule["Status"],
            "filter": {"prefix": rule["Filter"]["Prefix"]},
            "expiration": {"days": expiration["Days"]}
            if "Days" in expiration
            else {"expired_object_delete_marker": True},
        }
        if kept := rule.get("NoncurrentVersionExpiration"):
            one["noncurrent_version_expiration"] = {"noncurrent_days": kept["NoncurrentDays"]}
        made.append(one)
    unfinished = {"days_after_initiation": UNFINISHED_DAYS}
    return [
        *made,
        {
            "id": "unfinished",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": unfinished,
        },
    ]
