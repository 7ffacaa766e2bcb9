"""People to try the product with."""

from __future__ import annotations

from dataclasses import dataclass, field

from course_stack.local.layout import Layout


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """An account at the identity provider. `subject` is what a course's list of people holds."""

    role: str
    subject: str
    login: str
    name: str
    password: str = field(repr=False)


def ensure_demo_people(layout: Layout) -> list[DemoPerson]:
    """A teacher, two students and a stranger; the same ones, with the same passwords, at every start."""
    raise NotImplementedError
