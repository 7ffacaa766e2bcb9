"""What the state store says, compared with what really is there. Pure: who asks is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from automation.failures import CorruptState
from automation.state import Lock, StackState


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """Something of a course outside the state: `kind` in words (hub, OIDC client, bucket, …) and a name."""

    kind: str
    name: str


class Reality(Protocol):
    """What really is on a target, asked of each part itself and never of the state."""

    def things_of(self, slug: str) -> frozenset[Thing]:
        """What a whole course of this slug has."""
        ...

    def found(self) -> frozenset[Thing]:
        """Everything of ours that is there, whichever course it belongs to."""
        ...

    def may_stay(self, thing: Thing) -> bool:
        """Whether it is left on purpose when its course is destroyed."""
        ...


@dataclass(frozen=True, slots=True)
class StackAudit:
    """One stack. It is in order when it is whole, unlocked, and nothing is missing."""

    slug: str
    updated: datetime | None
    resources: int
    interrupted: tuple[str, ...]
    """Steps at which a run was interrupted: the next run repairs them."""
    locks: tuple[Lock, ...]
    missing: tuple[Thing, ...]
    damage: str | None = None
    """Why the state cannot be read."""

    @property
    def in_order(self) -> bool:
        return not (self.interrupted or self.locks or self.missing or self.damage)


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that is there, and what does not fit."""

    stacks: tuple[StackAudit, ...]
    stray: tuple[Thing, ...]
    """What is there without a stack."""
    leftovers: Mapping[str, Sequence[str]]
    """Keys in the store of stacks that are gone, by slug: destroying the course once more removes them."""

    @property
    def in_order(self) -> bool:
        return not self.stray and not self.leftovers and all(stack.in_order for stack in self.stacks)


def compare(
    stacks: Iterable[StackState | CorruptState],
    locks: Mapping[str, Sequence[Lock]],
    leftovers: Mapping[str, Sequence[str]],
    found: frozenset[Thing],
    things_of: Callable[[str], frozenset[Thing]],
    may_stay: Callable[[Thing], bool] = lambda _thing: False,
    *,
    target: str = "",
) -> Audit:
    """A stack that was never deployed whole (or cannot be read) lacks nothing yet, and what it has is no stray; nor is
    what may stay behind, nor what stacks on other targets than `target` have (targets may share their services)."""
    audits = []
    explained: set[Thing] = set()
    for stack in stacks:
        if isinstance(stack, CorruptState):
            held = tuple(locks.get(stack.slug, ()))
            explained |= things_of(stack.slug)
            audits.append(StackAudit(stack.slug, None, 0, (), held, (), stack.message))
            continue
        things = things_of(stack.name)
        explained |= things
        if target and stack.target not in (None, target):
            continue
        missing = sorted(things - found) if stack.whole else ()
        held = tuple(locks.get(stack.name, ()))
        audits.append(
            StackAudit(stack.name, stack.updated, stack.resource_count, stack.interrupted, held, tuple(missing))
        )
    stray = sorted(thing for thing in found - explained if not may_stay(thing))
    return Audit(tuple(audits), tuple(stray), leftovers)
