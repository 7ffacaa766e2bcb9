"""Why a use case was refused."""

from __future__ import annotations

from collections.abc import Sequence

from course_stack.spec import Problem
from portal.capacity import Fit
from portal.lifecycle import Refusal


class Refused(Exception):
    """The lifecycle or a rule of the portal says no; pages answer 409 with its text."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text % dict(refusal.values))
        self.refusal = refusal


class Stale(Exception):
    """Somebody else changed the course since the page was made; nothing was done. Pages answer 409."""


class Moved(Exception):
    """The figures are others than those that somebody decided on; nothing was done. Pages show both and ask again."""

    def __init__(self, fit: Fit) -> None:
        super().__init__("the figures have moved")
        self.fit = fit
        """As it is now."""


class Invalid(Exception):
    """What was typed breaks rules, field by field; nothing was saved. Pages answer 422 beside the fields."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)
