"""`course_stack.prepare` for courses on clusters."""

from __future__ import annotations

from collections.abc import Callable

from course_stack.kubernetes import removal
from course_stack.kubernetes.api import connect
from course_stack.kubernetes.repair import repair_release
from course_stack.prepare import Prepared
from course_stack.target import Target

RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"
NAMESPACE_TYPE = "kubernetes:core/v1:Namespace"
"""Of the course's release and namespace in the stack's state."""


def prepare(target: Target, slug: str, state_has: Callable[[str], bool]) -> Prepared:
    """A namespace that goes is awaited; a release that an interrupted run left is put right."""
    with connect(target) as cluster:
        if removal.ended(cluster, slug):
            return Prepared(lost=state_has(NAMESPACE_TYPE))
        return Prepared(tuple(repair_release(cluster, slug, known=state_has(RELEASE_TYPE))))


def is_lost(target: Target, slug: str, state_has: Callable[[str], bool]) -> bool:
    """The namespace that the state has is not there, or goes."""
    if not state_has(NAMESPACE_TYPE):
        return False
    with connect(target) as cluster:
        return removal.standing(cluster, slug) != "stays"


def begin_removal(target: Target, slug: str, state_has: Callable[[str], bool]) -> None:
    """The namespace that the stack has made is told to go."""
    if state_has(NAMESPACE_TYPE):
        with connect(target) as cluster:
            removal.begin_removal(cluster, slug)
