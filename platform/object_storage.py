"""The S3 store of state, archives and backups: silo in this cluster, the site's own, or AWS S3."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pulumi
from pulumi_random import RandomPassword

from config import BundledObjectStorage, ExternalObjectStorage, PlatformConfig, StoreKey
from kubernetes_objects import Part, apply, secret
from object_storage_objects import (
    ARCHIVES,
    BACKUPS,
    COURSES,
    ENDPOINT,
    NAMESPACE,
    REGION,
    STATE,
    USES,
    before_objects,
    buckets,
    key_id,
    secret_objects,
    server_object,
    setup_job,
)
from outputs import Key, ObjectStore, Role, StoreBucket


def object_storage(config: PlatformConfig, on: pulumi.ResourceOptions) -> ObjectStore:
    """The store that the site chose, with three buckets and a key for each use."""
    match config.object_storage:
        case BundledObjectStorage() as bundled:
            return Silo(config, bundled, on).store
        case ExternalObjectStorage() as given:
            return external(given)
        case chosen:
            # imports of AWS's provider take seconds, and its plugin is downloaded
            from aws import aws_store

            return aws_store(config, chosen, on)


def external(given: ExternalObjectStorage) -> ObjectStore:
    """A store of the site's: nothing is made."""

    def key(one: StoreKey | None) -> Key | Role:
        if one is None:
            assert given.role_arn is not None  # the configuration was refused otherwise
            return Role(given.role_arn)
        return Key(pulumi.Output.from_input(one.access_key_id), secret(one.secret_access_key.get_secret_value()))

    return ObjectStore(
        endpoint=given.endpoint,
        region=given.region,
        path_style=given.path_style,
        ca=pulumi.Output.from_input(given.ca) if given.ca else None,
        state=StoreBucket(given.state_bucket, key(given.state)),
        archives=StoreBucket(given.archives_bucket, key(given.archives)),
        backups=StoreBucket(given.backups_bucket, key(given.backups)) if given.backups else None,
        courses=key(given.courses) if given.courses or given.role_arn else None,
        kind=given.key_api,
    )


class Silo(Part):
    """silo with a disk, and a Job that makes buckets and keys in it. Output: `store`."""

    store: ObjectStore

    def __init__(self, config: PlatformConfig, bundled: BundledObjectStorage, on: pulumi.ResourceOptions) -> None:
        super().__init__("object-storage", on)
        secrets = {use: self._password(f"{use}-key") for use in USES}
        room = apply(before_objects(config, bundled), self.inside())
        before = (*room, *apply(secret_objects(self._password("root"), secrets), self.inside(room)))
        server = apply([server_object(bundled)], self.inside(before))
        keys_hash = pulumi.Output.unsecret(pulumi.Output.all(**secrets).apply(_hash))
        setup = apply([setup_job(bundled, keys_hash=keys_hash)], self.inside([*before, *server]))
        keys = {use: Key(pulumi.Output.from_input(key_id(use)), value) for use, value in secrets.items()}
        named = buckets(bundled)
        self.store = ObjectStore(
            endpoint=ENDPOINT,
            region=REGION,
            path_style=True,
            ca=None,
            state=StoreBucket(named[STATE], keys[STATE]),
            archives=StoreBucket(named[ARCHIVES], keys[ARCHIVES]),
            backups=StoreBucket(named[BACKUPS], keys[BACKUPS]),
            courses=keys[COURSES],
            kind="minio",
            namespace=NAMESPACE,
            ready=(*before, *server, *setup),
        )
        self.register_outputs({"endpoint": ENDPOINT})

    def _password(self, name: str) -> pulumi.Output[str]:
        # forty characters is the longest secret of a key that this store takes
        made = RandomPassword(
            f"object-storage-{name}", length=40, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        return pulumi.Output.secret(made.result)


def _hash(secrets: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(secrets, sort_keys=True).encode()).hexdigest()
