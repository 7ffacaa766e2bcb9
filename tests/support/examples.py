"""The example course that the repository comes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from course_stack.spec import CourseSpec, load_spec

PYTHON_INTRO = Path(__file__).parents[2] / "examples/courses/python-intro.yaml"


def example(slug: str, **fields: Any) -> CourseSpec:
    """It under another name, with other fields."""
    return load_spec({**load_spec(PYTHON_INTRO).model_dump(mode="json"), "slug": slug, **fields})
