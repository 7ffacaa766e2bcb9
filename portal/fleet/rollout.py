"""In which order a fleet is updated, and when that stops: pure, but for the fleet that is asked to do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

State = Literal["same", "waiting", "updated", "failed", "left out"]
"""same: nothing would change. waiting: not begun. left out: it was closed meanwhile, or is worked on otherwise."""


@dataclass(frozen=True, slots=True)
class Member:
    """One running course of the fleet."""

    slug: str
    seats: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update would do to one course: resources by Pulumi's words (update, create, …), or why nobody knows."""

    changes: Mapping[str, int]
    problem: str = ""

    @property
    def same(self) -> bool:
        return not self.changes and not self.problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one course; `text` is the reason, or what was done."""

    state: State
    text: str = ""


class Fleet(Protocol):
    """Where running courses are updated."""

    def members(self) -> Sequence[Member]:
        """All running courses of the target."""
        ...

    def plan(self, slug: str) -> Plan:
        """What would be done; changes nothing. May be called from several threads."""
        ...

    def update(self, slugs: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        """Update these at the same time; each one's outcome as soon as it is known."""
        ...


def waves(members: Sequence[Member], canary: str | None, size: int) -> list[list[str]]:
    """The slugs in waves of at most `size`, after a first wave of one: the canary, or without one the course with the
    fewest seats, where least people notice.

    Raises `ValueError` for a size below 1. A canary that is not among the members needs nothing any more: another
    course goes first then.
    """
    if size < 1:
        raise ValueError(f"a wave has at least one course, not {size}")
    order = sorted(members, key=lambda one: (one.slug != canary, one.seats, one.slug))
    slugs = [one.slug for one in order]
    return [slugs[:1], *(slugs[start : start + size] for start in range(1, len(slugs), size))] if slugs else []


def roll_out(
    fleet: Fleet, plan: Sequence[Sequence[str]], tell: Callable[[str, Outcome], object] = lambda *_: None
) -> dict[str, Outcome]:
    """Update wave after wave, and begin no other after one in which a course failed; the outcome of every course.

    The courses of a wave that has begun are all brought to their end. One that was left out stops nothing.
    """
    found = {slug: Outcome("waiting") for wave in plan for slug in wave}
    for wave in plan:
        for slug, outcome in fleet.update(wave):
            found[slug] = outcome
            tell(slug, outcome)
        if any(found[slug].state == "failed" for slug in wave):
            break
    return found
