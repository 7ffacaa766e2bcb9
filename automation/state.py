"""The store of the stacks' state as we look at it: stacks, locks, leftovers and markers, straight by their keys.

Pulumi's layout below `.pulumi/`: `stacks/PROJECT/STACK.json` (with `.bak` and `.pulumi-tags` beside it),
`history/PROJECT/STACK/`, `backups/PROJECT/STACK/`, `locks/organization/PROJECT/STACK/ID.json`. Asking Pulumi for a list
reads every stack one after the other through a process; a course office looks at a thousand at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from automation.failures import CorruptState, DiskFull, OperationFailed, StoreDown, WrongCredentials
from automation.settings import StateSettings
from course_stack.hub_files.trust import distrust

MARKER = ".keep/keep"
"""A small object that keeps a folder from being empty.

Some stores list an empty folder as an object whose key ends in `/`; Pulumi takes it for a lock and fails with
`unexpected end of JSON input` (pulumi/pulumi#23532). As a folder below it the marker itself is overlooked."""

_PARALLEL = 32


@dataclass(frozen=True, slots=True)
class Found:
    """One stored object. `key` is below the address of the state settings."""

    key: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock of a stack, as Pulumi wrote it."""

    key: str
    pid: int
    host: str
    user: str
    taken: datetime

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host} since {self.taken:%Y-%m-%d %H:%M:%S} UTC ({self.key})"


@dataclass(frozen=True, slots=True)
class KeyService:
    """A stack's key as a key service (`awskms://…`) keeps it: only that service can open it."""

    url: str
    encrypted_key: str


@dataclass(frozen=True, slots=True)
class StackState:
    """One stack as its checkpoint says."""

    name: str
    updated: datetime | None
    """End of the last step that was saved; None for a stack that was only initialised."""
    resources: tuple[dict[str, Any], ...] = field(repr=False, default=())
    pending: tuple[dict[str, Any], ...] = field(repr=False, default=())
    """Interrupted steps: `{"type": "creating" | "updating" | "deleting" | …, "resource": …}`."""
    salt: str | None = field(repr=False, default=None)
    """How the passphrase becomes the key of its secrets; None with another secrets provider."""
    key_service: KeyService | None = field(repr=False, default=None)
    """The key service that encrypts its secrets; None with a passphrase."""

    @property
    def resource_count(self) -> int:
        """Without the engine's own entries for providers."""
        return sum(not resource["type"].startswith("pulumi:providers:") for resource in self.resources)

    @property
    def whole(self) -> bool:
        """Whether a deploy ended well and nothing was interrupted since: only then the stack has outputs."""
        return not self.pending and any(
            resource["type"] == "pulumi:pulumi:Stack" and resource.get("outputs") for resource in self.resources
        )

    def has(self, kind: str) -> bool:
        """Whether there is a resource of this type."""
        return any(resource["type"] == kind for resource in self.resources)

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Interrupted steps in words: `creating hub`."""
        return tuple(f"{step['type']} {step['resource']['urn'].rsplit('::', 1)[-1]}" for step in self.pending)

    @property
    def target(self) -> str | None:
        """Name of the target that it was last deployed on; None where it does not say."""
        described = self.output("target")
        return json.loads(described).get("name") if isinstance(described, str) else None

    def output(self, name: str) -> object:
        """A plain output of the stack; None if there is none. Secret ones are encrypted here."""
        for resource in self.resources:
            if resource["type"] == "pulumi:pulumi:Stack":
                return resource.get("outputs", {}).get(name)
        return None


class Objects(Protocol):
    """What we need of a store; keys are relative to the address of the state settings."""

    def list(self, prefix: str) -> list[Found]: ...

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, content: bytes) -> None: ...

    def delete(self, keys: Iterable[str]) -> None:
        """Keys that are not there are fine."""
        ...


class StateStore:
    """The stacks of one project. Every method raises `StoreDown`, `WrongCredentials` or `DiskFull` where it applies."""

    def __init__(self, objects: Objects, project: str, url: str) -> None:
        self.objects = objects
        self._project = project
        self._url = url

    @classmethod
    def of(cls, settings: StateSettings, project: str, environ: Mapping[str, str] | None = None) -> StateStore:
        """`environ` is where the S3 client finds its key; without it, the settings' own."""
        parts = urlsplit(settings.backend_url)
        objects: Objects = FileObjects(Path(parts.path)) if parts.scheme == "file" else S3Objects(settings, environ)
        # Without its parameters: enough to know the place, and never a secret.
        return cls(objects, project, f"{parts.scheme}://{parts.netloc}{parts.path}")

    def names(self) -> list[str]:
        """All stacks of the project, by their keys alone."""
        prefix = f".pulumi/stacks/{self._project}/"
        keys = (found.key.removeprefix(prefix) for found in self.objects.list(prefix))
        return sorted(key.removesuffix(".json") for key in keys if key.endswith(".json") and "/" not in key)

    def stacks(self) -> list[StackState | CorruptState]:
        """Every stack with its content; one that cannot be read is given as its failure and hides no other."""

        def read(name: str) -> StackState | CorruptState | None:
            try:
                return self.stack(name)
            except CorruptState as failure:
                return failure

        with ThreadPoolExecutor(_PARALLEL) as pool:
            return [found for found in pool.map(read, self.names()) if found is not None]

    def stack(self, name: str) -> StackState | None:
        """One stack; None if there is none. Raises `CorruptState`."""
        key = self._stack_key(name)
        content = self.objects.get(key)
        if content is None:
            return None
        try:
            latest = json.loads(content)["checkpoint"].get("latest") or {}
            time = latest.get("manifest", {}).get("time")
            updated = datetime.fromisoformat(time) if latest.get("resources") and time else None
            resources, pending = tuple(latest.get("resources") or ()), tuple(latest.get("pending_operations") or ())
            secrets = (latest.get("secrets_providers") or {}).get("state") or {}
            service = KeyService(secrets["url"], secrets["encryptedkey"]) if "encryptedkey" in secrets else None
            return StackState(name, updated, resources, pending, secrets.get("salt"), service)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptState(
                f"The state of stack {name} cannot be read ({type(error).__name__}): {self._url}/{key}. The last good "
                f"copy is {key}.bak, older ones are in .pulumi/backups/{self._project}/{name}/; put one in its place.",
                slug=name,
            ) from error

    def locks(self, name: str) -> list[Lock]:
        """All locks of a stack."""
        folder = self._lock_folder(name)
        keys = [f.key for f in self.objects.list(folder) if f.key.endswith(".json") and "/" not in f.key[len(folder) :]]
        return [lock for lock in map(self._lock, keys) if lock is not None]

    def all_locks(self) -> dict[str, list[Lock]]:
        """Locks of every stack of the project that has any."""
        root = self._lock_folder("")[:-1]
        keys = [
            f.key for f in self.objects.list(root) if f.key.endswith(".json") and f.key[len(root) :].count("/") == 1
        ]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            read = list(pool.map(self._lock, keys))
        locks: dict[str, list[Lock]] = {}
        for key, lock in zip(keys, read, strict=True):
            if lock is not None:
                locks.setdefault(key[len(root) :].split("/")[0], []).append(lock)
        return locks

    def break_lock(self, lock: Lock) -> None:
        """Remove exactly this lock."""
        self.objects.delete([lock.key])

    def remove_torn_locks(self, name: str) -> None:
        """Remove half-written files among a stack's locks: in a folder, a write that a full disk or a kill ended leaves
        one, and Pulumi takes it for a lock. (Object stores know no half-written objects.)"""
        self.objects.delete([f.key for f in self.objects.list(self._lock_folder(name)) if f.key.endswith(".tmp")])

    def put_markers(self, name: str) -> None:
        """Keep the folders of stacks and of this stack's locks from being empty (see `MARKER`)."""
        for folder in (f".pulumi/stacks/{self._project}/", self._lock_folder(name)):
            if not any(found.key == folder + MARKER for found in self.objects.list(folder + ".keep/")):
                self.objects.put(folder + MARKER, b"keeps this folder from being empty\n")

    def sweep_markers(self, older_than: timedelta = timedelta(hours=1)) -> list[str]:
        """Remove the markers of stacks that are gone; returns their names.

        A marker is left while it is young: right after the last delete the store may still list its folder.
        """
        root = self._lock_folder("")[:-1]
        objects = self.objects.list(root)
        alive = {*self.names(), *(f.key[len(root) :].split("/")[0] for f in objects if f.key.endswith(".json"))}
        border = datetime.now(UTC) - older_than
        swept = {
            f.key: f.key[len(root) :].split("/")[0]
            for f in objects
            if f.key.endswith("/" + MARKER) and f.modified <= border and f.key[len(root) :].split("/")[0] not in alive
        }
        self.objects.delete(swept)
        return sorted(swept.values())

    def leftovers(self, name: str) -> list[str]:
        """Keys of a stack beside its state, locks and markers: copies, backups, history, tags."""
        beside = self.objects.list(f".pulumi/stacks/{self._project}/{name}.")
        folders = [
            found.key
            for kind in ("history", "backups")
            for found in self.objects.list(f".pulumi/{kind}/{self._project}/{name}/")
        ]
        return [*(found.key for found in beside if found.key != self._stack_key(name)), *folders]

    def all_leftovers(self) -> dict[str, list[str]]:
        """Leftovers of every stack that is gone, by its name."""
        alive = set(self.names())
        found: dict[str, list[str]] = {}
        folder = f".pulumi/stacks/{self._project}/"
        for kept in self.objects.list(folder):
            name, dot, _ = kept.key.removeprefix(folder).partition(".json.")
            if dot and name not in alive:
                found.setdefault(name, []).append(kept.key)
        for kind in ("history", "backups"):
            folder = f".pulumi/{kind}/{self._project}/"
            for kept in self.objects.list(folder):
                name = kept.key.removeprefix(folder).partition("/")[0]
                if name not in alive:
                    found.setdefault(name, []).append(kept.key)
        return found

    def remove_leftovers(self, name: str) -> list[str]:
        """Remove what a stack that is gone left behind; returns the keys."""
        keys = self.leftovers(name)
        self.objects.delete(keys)
        return keys

    def _stack_key(self, name: str) -> str:
        return f".pulumi/stacks/{self._project}/{name}.json"

    def _lock_folder(self, name: str) -> str:
        return f".pulumi/locks/organization/{self._project}/{name}/"

    def _lock(self, key: str) -> Lock | None:
        content = self.objects.get(key)
        if content is None:
            return None
        try:
            lock = json.loads(content)
            return Lock(
                key,
                int(lock["pid"]),
                str(lock["hostname"]),
                str(lock["username"]),
                datetime.fromisoformat(lock["timestamp"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptState(
                f"The lock {self._url}/{key} cannot be read; look whose it is, then remove it."
            ) from error


class FileObjects:
    """A folder of this machine as a store."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, prefix: str) -> list[Found]:
        folder = self._root / prefix.rpartition("/")[0]
        with self._failures():
            return [
                Found(key, datetime.fromtimestamp(path.stat().st_mtime, UTC))
                for path in sorted(folder.rglob("*"))
                if path.is_file() and (key := path.relative_to(self._root).as_posix()).startswith(prefix)
            ]

    def get(self, key: str) -> bytes | None:
        with self._failures():
            try:
                return (self._root / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def put(self, key: str, content: bytes) -> None:
        path = self._root / key
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def delete(self, keys: Iterable[str]) -> None:
        with self._failures():
            for key in keys:
                (self._root / key).unlink(missing_ok=True)
                # Pulumi's note on the file.
                (self._root / f"{key}.attrs").unlink(missing_ok=True)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        if not self._root.is_dir():
            raise StoreDown(f"The state folder {self._root} does not exist. Check JHAAS_STATE_URL.")
        try:
            yield
        except OSError as error:
            raise _disk_failure(error, self._root) from error


class S3Objects:
    """A bucket, through the same client as the embedded engine's (making one takes a tenth of a second)."""

    def __init__(self, settings: StateSettings, environ: Mapping[str, str] | None = None) -> None:
        from automation.embedded.store import S3Address, s3_client

        address = S3Address(settings.backend_url)
        self._client = s3_client(address, credentials_of(settings) if environ is None else environ)
        self._bucket, self._prefix = address.bucket, address.prefix
        self._place = address.texts.get("endpoint") or "AWS S3"

    def list(self, prefix: str) -> list[Found]:
        with self._failures():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return [
                Found(entry["Key"].removeprefix(self._prefix), entry["LastModified"])
                for page in pages
                for entry in page.get("Contents", ())
                if not entry["Key"].endswith("/")
            ]

    def get(self, key: str) -> bytes | None:
        with self._failures():
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
                return body
            except self._client.exceptions.NoSuchKey:
                return None

    def put(self, key: str, content: bytes) -> None:
        with self._failures():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def delete(self, keys: Iterable[str]) -> None:
        # One by one: the call for many at once needs a checksum that not every store takes.
        with self._failures():
            for key in keys:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise self._refusal(code, status) from error
        except BotoCoreError as error:
            if why := distrust(error):
                raise StoreDown(f"The state store at {self._place} cannot be asked: {why}") from error
            raise StoreDown(
                f"The state store at {self._place} cannot be reached ({type(error).__name__}). Check that it runs and "
                "that JHAAS_STATE_URL is right."
            ) from error

    def _refusal(self, code: str, status: int) -> OperationFailed:
        if code == "NoSuchBucket":
            return StoreDown(f"The state store at {self._place} has no bucket {self._bucket}. Check JHAAS_STATE_URL.")
        if status in (401, 403):
            return WrongCredentials(
                f"The state store at {self._place} refuses the access key for bucket {self._bucket} ({code}). Check "
                "JHAAS_STATE_ACCESS_KEY_ID and its secret."
            )
        if status == 507 or "Full" in code:
            return DiskFull(
                f"The state store at {self._place} has no space left ({code}). Make space, then run this again."
            )
        return StoreDown(f"The state store at {self._place} failed ({code}, status {status}). Look at its log.")


def credentials_of(settings: StateSettings) -> dict[str, str]:
    """The settings' key by the names that AWS clients look for; without one, what the surroundings give."""
    if settings.access_key_id is None or settings.secret_access_key is None:
        return dict(os.environ)
    secret = settings.secret_access_key.get_secret_value()
    return {"AWS_ACCESS_KEY_ID": settings.access_key_id, "AWS_SECRET_ACCESS_KEY": secret}


def _disk_failure(error: OSError, root: Path) -> OperationFailed:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"No space is left for the state in {root}. Make space, then run this again.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return WrongCredentials(f"The state folder {root} may not be used by this user ({error.strerror}).")
    return StoreDown(f"The state folder {root} failed ({error.strerror}).")
