"""What a target cannot give a course, however much is free on it."""

from __future__ import annotations

from course_stack.spec import CourseDesign, Problem, SpecError, no_shared_volumes
from course_stack.target import Target


def misfits(design: CourseDesign, target: Target) -> list[Problem]:
    """Each thing that the design asks for and the target does not have."""
    without = target.cluster is not None and target.cluster.shared_class is None
    return [no_shared_volumes(target.name)] if design.shared_volumes and without else []


def ensure_fits(design: CourseDesign, target: Target) -> None:
    """Raises `SpecError` with all `misfits`."""
    if problems := misfits(design, target):
        raise SpecError(problems)
