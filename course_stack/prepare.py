"""What a place of hubs puts right by itself before the engine works on a course there: remains of interrupted runs that
the engine would stumble over."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from course_stack.target import Target

_BY_KIND = {"kubernetes": "course_stack.kubernetes.repair"}
"""Modules with a function `prepare` of the same form; other kinds of targets have nothing to put right."""


def prepare(target: Target, slug: str, state_has: Callable[[str], bool]) -> list[str]:
    """Put right what the next run would stumble over; what was done, in sentences.

    `state_has` says whether the stack's state holds a resource of a type. The stack's lease must be held.
    """
    module = _BY_KIND.get(target.kind)
    if module is None:
        return []
    told: list[str] = importlib.import_module(module).prepare(target, slug, state_has)
    return told
