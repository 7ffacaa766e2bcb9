"""What a place of hubs does by itself before the engine works on a course there: it puts right what interrupted runs
left and the engine would stumble over, and begins a removal with what takes longest."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from course_stack.target import Target

_BY_KIND = {"kubernetes": "course_stack.kubernetes.prepare"}
"""Modules with functions of these names and forms; other kinds of targets have nothing to do."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`told`: what was put right, in sentences. `lost`: the course is gone from the place, though the state has it."""

    told: tuple[str, ...] = ()
    lost: bool = False


def prepare(target: Target, slug: str, state_has: Callable[[str], bool]) -> Prepared:
    """Put right what a deploy or an update would stumble over.

    `state_has` says whether the stack's state holds a resource of a type. The stack's lease must be held.
    """
    module = _module(target)
    return module.prepare(target, slug, state_has) if module else Prepared()


def is_lost(target: Target, slug: str, state_has: Callable[[str], bool]) -> bool:
    """Whether the course is gone from the place, or goes, though the state has it. A look that changes nothing."""
    module = _module(target)
    return module.is_lost(target, slug, state_has) if module else False


def begin_removal(target: Target, slug: str, state_has: Callable[[str], bool]) -> None:
    """Begin with what takes longest to go, of what the state has; it may still be going afterwards."""
    if module := _module(target):
        module.begin_removal(target, slug, state_has)


def _module(target: Target) -> ModuleType | None:
    name = _BY_KIND.get(target.kind)
    return None if name is None else importlib.import_module(name)
