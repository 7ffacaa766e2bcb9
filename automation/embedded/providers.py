"""Providers: what knows how to check, compare, create, change, read and delete resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from automation.embedded.state import Resource
from automation.embedded.values import Properties, changed_keys, plain

DYNAMIC = "pulumi-python"
"""Package of dynamic resources."""


class ProviderError(Exception):
    """What a provider failed with, in its own words."""


class PartialFailure(ProviderError):
    """The object exists, but did not become ready: its state must be kept."""

    def __init__(self, reasons: list[str], made: Made) -> None:
        many = "s" if len(reasons) != 1 else ""
        text = "".join(f"\t* {reason}\n" for reason in reasons)
        super().__init__(f"{len(reasons)} error{many} occurred:\n{text}\n" if reasons else "resource init failed")
        self.reasons = reasons
        self.made = made


@dataclass(frozen=True, slots=True)
class Made:
    """What create, update and read answer. No id after a read: the object is gone."""

    id: str
    outputs: Properties
    inputs: Properties | None = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between a resource's state and what the program wants."""

    changes: bool
    replaces: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Top-level properties that differ, for people."""
    delete_before_replace: bool = False
    detailed: dict[str, dict[str, Any]] = field(default_factory=dict)


class Provider(Protocol):
    """One configured provider. Every call may raise `ProviderError`."""

    def check(
        self, resource: Resource, olds: Properties | None, news: Properties, *, preview: bool
    ) -> tuple[Properties, list[tuple[str, str]]]:
        """The inputs with defaults, and (property, reason) of what is wrong with them."""
        ...

    def diff(
        self, resource: Resource, old: Resource, news: Properties, ignore: list[str], *, preview: bool
    ) -> Diff | None:
        """None where the provider leaves it to the engine to compare inputs."""
        ...

    def create(self, resource: Resource, *, preview: bool) -> Made: ...

    def update(self, resource: Resource, old: Resource, ignore: list[str], *, preview: bool) -> Made: ...

    def read(self, resource: Resource) -> Made: ...

    def delete(self, resource: Resource) -> None: ...


def compared(old: Properties, new: Properties) -> Diff:
    """The engine's own comparison of inputs, for providers that have none."""
    keys = changed_keys(plain(old), plain(new))
    kinds = {key: "delete" if key not in new else "add" if key not in old else "update" for key in keys}
    return Diff(
        changes=bool(keys),
        keys=tuple(keys),
        detailed={key: {"diffKind": kind, "inputDiff": True} for key, kind in kinds.items()},
    )
