"""Stacks in a store: states with their `.bak`, history, backups and tags, in the CLI's places and formats."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import yaml

from automation.embedded.errors import EngineError, Unsupported
from automation.embedded.locks import StackLock
from automation.embedded.state import STACK_TYPE, VERSION, Decrypt, deployment_from_json
from automation.embedded.store import NotThere, Store, remove_all
from automation.embedded.values import Properties

_NAME = re.compile(r"[a-zA-Z0-9-_.]{1,100}")
_META = ".pulumi/meta.yaml"
_STACKS = ".pulumi/stacks"


def dumps(data: Any) -> bytes:
    """JSON as small as the CLI writes it."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def not_found(stack: str) -> EngineError:
    return EngineError(f"no stack named '{stack}' found", code=6)


@dataclass(frozen=True, slots=True)
class StackSummary:
    """One line of `stack ls`."""

    project: str
    name: str
    last_update: str
    resource_count: int


class Backend:
    """The stacks of one project in a store."""

    def __init__(self, store: Store, project: str) -> None:
        self.store = store
        self.project = project

    def stack(self, name: str) -> Stack:
        """The stack of a name, short or `organization/PROJECT/STACK`; whether it exists is not looked up."""
        parts = name.split("/")
        if len(parts) > 1 and parts[0] != "organization":
            raise EngineError("organization name must be 'organization'")
        if len(parts) == 3 and parts[1] != self.project:
            raise Unsupported(f"stacks of another project than this folder's ({parts[1]})")
        if len(parts) > 3 or not _NAME.fullmatch(parts[-1]):
            raise EngineError(
                "a stack name may only contain alphanumeric, hyphens, underscores, or periods: "
                f"invalid stack name {parts[-1]!r}"
            )
        return Stack(self, parts[-1])

    def prepare(self) -> None:
        """Mark a new store as one of stacks by project; a store of another layout is refused."""
        try:
            meta = yaml.safe_load(self.store.get(_META))
        except NotThere:
            if any(key.endswith(".json") for key in self.store.list(_STACKS)):
                raise Unsupported("stores of the legacy layout without projects") from None
            self.store.put(_META, b"version: 1\n")
            return
        except yaml.YAMLError as error:
            raise EngineError(f"corrupt store: {_META} is not YAML") from error
        version = meta.get("version") if isinstance(meta, dict) else None
        if version != 1:
            raise EngineError(f"state store unsupported: 'meta.yaml' version ({version}) is not supported")

    def list(self, *, everything: bool = False) -> list[StackSummary]:
        """The project's stacks, or those of all projects, by name. Every state is read (ten at a time)."""
        keys = self.store.list(_STACKS, deep=True) if everything else self.store.list(f"{_STACKS}/{self.project}")
        found = [key for key in keys if key.count("/") == 3 and key.endswith(".json")]
        with ThreadPoolExecutor(10) as pool:
            summaries = [summary for summary in pool.map(self._summary, found) if summary]
        return sorted(summaries, key=lambda summary: (summary.project, summary.name))

    def _summary(self, key: str) -> StackSummary | None:
        *_, project, file = key.split("/")
        stack = Stack(Backend(self.store, project), file.removesuffix(".json"))
        try:
            latest = stack.read() or {}
        except NotThere:  # removed since it was listed
            return None
        return StackSummary(
            project, stack.name, str(latest.get("manifest", {}).get("time", "")), len(latest.get("resources") or ())
        )


class Stack:
    """One stack's objects."""

    def __init__(self, backend: Backend, name: str) -> None:
        self.name = name
        self.project = backend.project
        self._store = backend.store
        self._key = f"{_STACKS}/{self.project}/{name}.json"
        self._history = f".pulumi/history/{self.project}/{name}"
        self._backups = f".pulumi/backups/{self.project}/{name}"
        self._tags = f"{_STACKS}/{self.project}/{name}.pulumi-tags"

    @property
    def full_name(self) -> str:
        return f"organization/{self.project}/{self.name}"

    def lock(self) -> StackLock:
        return StackLock(self._store, self.project, self.name)

    # ---- state

    def exists(self) -> bool:
        return self._store.exists(self._key)

    def read(self) -> dict[str, Any] | None:
        """The deployment as JSON, secrets encrypted; None for a stack without one. Raises `NotThere`; what is not the
        JSON of a state is an `EngineError` that names the object and the copy beside it."""
        content = self._store.get(self._key)
        try:
            checkpoint = json.loads(content)
            version, latest = checkpoint["version"], checkpoint["checkpoint"].get("latest")
            if latest is not None and not isinstance(latest, dict):
                raise TypeError(latest)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"failed to load checkpoint: {self._store.address(self._key)} is not a readable state; "
                f"the state before it is kept beside it as {self.name}.json.bak"
            ) from error
        if version > VERSION:
            raise EngineError(
                f"the stack '{self.name}' is newer than what this version of the engine understands (version {version})"
            )
        return latest

    def load(self) -> dict[str, Any]:
        """Like `read`, for commands on a stack that must exist: else the CLI's `no stack named`."""
        try:
            return self.read() or {}
        except NotThere:
            raise not_found(self.name) from None

    def write(self, latest: Mapping[str, Any]) -> None:
        """Replace the state by this deployment (`deployment_to_json`); the one before stays as `.bak`."""
        with contextlib.suppress(NotThere):  # a stack that is being made
            self._store.copy(self._key, f"{self._key}.bak")
        self._store.put(
            self._key, dumps({"version": VERSION, "checkpoint": {"stack": self.full_name, "latest": latest}})
        )

    def remove(self, *, backups: bool) -> None:
        """Remove state, tags and history; with `backups` also `.bak` and the copies of earlier states."""
        if not backups:
            self._store.copy(self._key, f"{self._key}.bak")
        # The state goes last: as long as it is there, the stack is listed and removing it can be asked for again.
        self._store.delete(self._tags)
        remove_all(self._store, self._history)
        if backups:
            remove_all(self._store, self._backups)
            self._store.delete(f"{self._key}.bak")
        self._store.delete(self._key)

    # ---- history

    def add_history(self, entry: Mapping[str, Any]) -> None:
        """Keep what an operation did, with the state after it, and a backup copy of that state."""
        base = f"{self._history}/{self.name}-{time.time_ns()}"
        self._store.put(f"{base}.history.json", dumps(entry))
        self._store.copy(self._key, f"{base}.checkpoint.json")
        self._store.copy(self._key, f"{self._backups}/{self.name}.{time.time_ns()}.json")

    def history(self, page_size: int = 0, page: int = 1) -> list[dict[str, Any]]:
        """Entries as they were written, newest first."""
        keys = [key for key in reversed(self._store.list(self._history)) if key.endswith(".history.json")]
        if page_size:
            keys = keys[(max(page, 1) - 1) * page_size :][:page_size]
        found = []
        for key in keys:
            try:
                found.append(json.loads(self._store.get(key)))
            except ValueError as error:
                raise EngineError(f"reading history file {key}: it is not JSON") from error
        return found

    # ---- tags

    def tags(self) -> dict[str, str]:
        try:
            content = json.loads(self._store.get(self._tags))
            return dict(content["tags"])
        except NotThere:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(f"failed to unmarshal stack tags: {self._tags} is not readable") from error

    def set_tags(self, tags: Mapping[str, str]) -> None:
        if tags:
            self._store.put(self._tags, dumps({"version": 1, "tags": dict(sorted(tags.items()))}))
        else:
            self._store.delete(self._tags)


def outputs_of(deployment: Mapping[str, Any], decrypt: Decrypt) -> Properties:
    """The stack's outputs."""
    roots = [
        data for data in deployment.get("resources") or () if data.get("type") == STACK_TYPE and not data.get("delete")
    ]
    found = deployment_from_json({"resources": roots[:1]}, decrypt).resources
    return (found[0].outputs or {}) if found else {}
