"""A stack's state: resources and operations under way, and their JSON (deployment version 3, the CLI's field order)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from automation.embedded.errors import EngineError, Unsupported
from automation.embedded.secrets import PROVIDER
from automation.embedded.values import SECRET, SIGNATURE, UNKNOWN, Properties, Secret, Value

Encrypt = Callable[[str], str]
Decrypt = Callable[[str], str]
PendingKind = Literal["creating", "updating", "deleting", "reading"]

VERSION = 3
ENGINE_VERSION = "v3.259.0"
"""The CLI version whose formats and behaviour this engine follows, and which it writes into the manifest."""
MAGIC = hashlib.sha256(ENGINE_VERSION.encode()).hexdigest()
STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def now() -> str:
    """The present time as Go writes it: nanoseconds without trailing zeros, UTC."""
    nanoseconds = time.time_ns()
    whole = datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{nanoseconds % 10**9:09d}".rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


@dataclass(eq=False, slots=True)
class Resource:
    """One resource of a state. Compared by identity: one URN may be there twice while it is being replaced."""

    urn: str
    custom: bool
    type: str
    delete: bool = False
    id: str = ""
    inputs: Properties | None = None
    outputs: Properties | None = None
    parent: str = ""
    protect: bool = False
    taint: bool = False
    external: bool = False
    dependencies: list[str] = field(default_factory=list)
    init_errors: list[str] = field(default_factory=list)
    provider: str = ""
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    pending_replacement: bool = False
    additional_secret_outputs: list[str] = field(default_factory=list)
    custom_timeouts: dict[str, float] = field(default_factory=dict)
    """Seconds by `create`, `update`, `delete`, `read`."""
    retain_on_delete: bool = False
    deleted_with: str = ""
    created: str = ""
    modified: str = ""
    source_position: str = ""
    stack_trace: list[str] = field(default_factory=list)
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    unread: dict[str, Any] = field(default_factory=dict)
    """Fields that the CLI knows and this engine only keeps."""

    @property
    def name(self) -> str:
        return self.urn.rsplit("::", 1)[-1]

    @property
    def is_provider(self) -> bool:
        return self.type.startswith(PROVIDER_PREFIX)

    @property
    def is_default_provider(self) -> bool:
        return self.is_provider and (self.name == "default" or self.name.startswith("default_"))

    @property
    def reference(self) -> str:
        """How other resources name this provider."""
        return f"{self.urn}::{self.id}"

    def depends_on(self) -> set[str]:
        """URNs of everything that must outlive this resource."""
        urns = {self.parent, self.deleted_with, self.provider.rsplit("::", 1)[0], *self.dependencies}
        urns.update(*self.property_dependencies.values())
        urns.discard("")
        return urns

    def copy(self) -> Resource:
        return replace(self)


@dataclass(slots=True)
class Pending:
    """An operation that was begun and not seen to end."""

    resource: Resource
    kind: PendingKind


@dataclass(slots=True)
class Snapshot:
    """A whole state. `salt` is the salt line of its secrets; none where it was never set."""

    resources: list[Resource] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    salt: str | None = None
    time: str = ""


# ---- values


def value_to_json(value: Value, encrypt: Encrypt | None) -> Any:
    """The value as the state holds it; without `encrypt`, secrets are in plain text (`stack export --show-secrets`)."""
    if isinstance(value, Secret):
        if encrypt is None:
            return {SIGNATURE: SECRET, "plaintext": _secret_text(value)}
        if encrypt is _nothing:  # within another secret
            return {SIGNATURE: SECRET, "ciphertext": _secret_text(value)}
        if value.ciphertext is None:
            value.ciphertext = encrypt(_secret_text(value))
        return {SIGNATURE: SECRET, "ciphertext": value.ciphertext}
    if isinstance(value, dict):
        return {key: value_to_json(value[key], encrypt) for key in sorted(value)}
    if isinstance(value, list):
        return [value_to_json(item, encrypt) for item in value]
    return _UNKNOWN_TEXT if value is UNKNOWN else value


def _secret_text(secret: Secret) -> str:
    # Inner marks are kept, inner values are not encrypted a second time.
    return json.dumps(value_to_json(secret.value, _nothing), separators=(",", ":"), ensure_ascii=False)


def value_from_json(value: Any, decrypt: Decrypt) -> Value:
    """The inverse of `value_to_json`; plain-text secrets of an import are accepted too."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            if "plaintext" in value:
                return Secret(value_from_json(json.loads(value["plaintext"]), _nothing))
            ciphertext = str(value["ciphertext"])
            return Secret(value_from_json(json.loads(decrypt(ciphertext)), _nothing), ciphertext)
        return {key: value_from_json(item, decrypt) for key, item in value.items()}
    if isinstance(value, list):
        return [value_from_json(item, decrypt) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return UNKNOWN if value == _UNKNOWN_TEXT else value


def _nothing(text: str) -> str:
    return text


# ---- resources

_FIELDS: tuple[tuple[str, str], ...] = (
    ("urn", "urn"),
    ("custom", "custom"),
    ("delete", "delete"),
    ("id", "id"),
    ("type", "type"),
    ("inputs", "inputs"),
    ("outputs", "outputs"),
    ("parent", "parent"),
    ("protect", "protect"),
    ("taint", "taint"),
    ("external", "external"),
    ("dependencies", "dependencies"),
    ("initErrors", "init_errors"),
    ("provider", "provider"),
    ("propertyDependencies", "property_dependencies"),
    ("pendingReplacement", "pending_replacement"),
    ("additionalSecretOutputs", "additional_secret_outputs"),
    ("aliases", ""),
    ("customTimeouts", "custom_timeouts"),
    ("importID", ""),
    ("retainOnDelete", "retain_on_delete"),
    ("deletedWith", "deleted_with"),
    ("replaceWith", ""),
    ("created", "created"),
    ("modified", "modified"),
    ("sourcePosition", "source_position"),
    ("stackTrace", "stack_trace"),
    ("ignoreChanges", "ignore_changes"),
    ("hideDiff", ""),
    ("replaceOnChanges", "replace_on_changes"),
    ("replacementTrigger", ""),
    ("refreshBeforeUpdate", ""),
    ("viewOf", ""),
    ("resourceHooks", ""),
    ("extensionRef", ""),
    ("snippetID", ""),
)
"""JSON name and attribute in the order of the CLI; fields without attribute are only kept (`Resource.unread`)."""
_ALWAYS = ("urn", "custom", "type")
_ATTRIBUTES = dict(_FIELDS)


def resource_to_json(resource: Resource, encrypt: Encrypt | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, attribute in _FIELDS:
        value: Any = getattr(resource, attribute) if attribute else resource.unread.get(name)
        if not value and name not in _ALWAYS:
            continue
        if name in ("inputs", "outputs"):
            value = value_to_json(value, encrypt)
        elif name == "propertyDependencies":
            value = {key: value[key] for key in sorted(value)}
        elif name == "stackTrace":
            value = [{"sourcePosition": frame} if frame else {} for frame in value]
        found[name] = value
    return found


def resource_from_json(data: Mapping[str, Any], decrypt: Decrypt) -> Resource:
    """A resource of the state; one without `urn` or `type` is an `EngineError`."""
    if not data.get("urn"):
        raise EngineError("resource missing required 'urn' field")
    if not data.get("type"):
        raise EngineError(f"resource '{data['urn']}' missing required 'type' field")
    found: dict[str, Any] = {}
    unread: dict[str, Any] = {}
    for name, value in data.items():
        attribute = _ATTRIBUTES.get(name)
        if not attribute:
            unread[name] = value
        elif name in ("inputs", "outputs"):
            found[attribute] = value_from_json(value, decrypt)
        elif name == "stackTrace":
            found[attribute] = [frame.get("sourcePosition", "") for frame in value]
        else:
            found[attribute] = value
    found.setdefault("custom", False)
    return Resource(**found, unread=unread)


# ---- deployments


def deployment_to_json(snapshot: Snapshot, encrypt: Encrypt | None) -> dict[str, Any]:
    """The `latest` of a checkpoint, or the `deployment` of an export."""
    found: dict[str, Any] = {"manifest": {"time": snapshot.time, "magic": MAGIC, "version": ENGINE_VERSION}}
    if snapshot.salt is not None:
        found["secrets_providers"] = {"type": PROVIDER, "state": {"salt": snapshot.salt}}
    if snapshot.resources:
        found["resources"] = [resource_to_json(resource, encrypt) for resource in snapshot.resources]
    if snapshot.pending:
        found["pending_operations"] = [
            {"resource": resource_to_json(pending.resource, encrypt), "type": pending.kind}
            for pending in snapshot.pending
        ]
    found["metadata"] = {}
    return found


def salt_of(deployment: Mapping[str, Any]) -> str | None:
    """The salt line of a deployment; another secrets provider is refused by name."""
    provider = deployment.get("secrets_providers")
    if not provider:
        return None
    if provider.get("type") != PROVIDER:
        raise Unsupported(f"the secrets provider of this stack ({provider.get('type')})")
    return str(provider["state"]["salt"])


def deployment_from_json(deployment: Mapping[str, Any], decrypt: Decrypt) -> Snapshot:
    """The state; one with parts that this engine would lose is refused."""
    for part in ("snippets", "extensions"):
        if deployment.get(part):
            raise Unsupported(f"states with {part}")
    return Snapshot(
        resources=[resource_from_json(data, decrypt) for data in deployment.get("resources") or ()],
        pending=[
            Pending(resource_from_json(data["resource"], decrypt), data["type"])
            for data in deployment.get("pending_operations") or ()
        ],
        salt=salt_of(deployment),
        time=str(deployment.get("manifest", {}).get("time", "")),
    )


def deletion_order(resources: Iterable[Resource]) -> list[list[Resource]]:
    """Waves in which the resources can be deleted: nothing goes before what depends on it."""
    left = list(resources)
    waves: list[list[Resource]] = []
    while left:
        wave: list[Resource] = []
        needed: set[str] = set()
        for resource in left:
            needed |= resource.depends_on() - {resource.urn}
        wave = [resource for resource in left if resource.urn not in needed] or left
        waves.append(wave)
        chosen = set(map(id, wave))
        left = [resource for resource in left if id(resource) not in chosen]
    return waves


def forget_ciphertexts(snapshot: Snapshot) -> None:
    """Let every secret be encrypted anew: under another key what was stored says nothing."""

    def forget(value: Any) -> None:
        if isinstance(value, Secret):
            value.ciphertext = None
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            forget(item)

    for resource in (*snapshot.resources, *(pending.resource for pending in snapshot.pending)):
        forget(resource.inputs)
        forget(resource.outputs)
