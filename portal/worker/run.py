"""What the work of an operation is given: one claimed attempt, and the only ways to tell and to write."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.orm import Session

from automation.events import Event
from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.models import Course


class AttemptLost(Exception):
    """The attempt is no longer ours: another worker may work on the course. Nothing more may be done or written."""


@dataclass(frozen=True, slots=True)
class Hub:
    """How the portal speaks with a course's hub."""

    url: str
    """Public address, with a trailing slash."""
    api_url: str
    api_token: str = field(repr=False)


class Run(Protocol):
    """One attempt that this worker has claimed."""

    @property
    def operation(self) -> uuid.UUID: ...
    @property
    def attempt(self) -> int: ...
    @property
    def course_id(self) -> uuid.UUID: ...
    @property
    def slug(self) -> str: ...
    @property
    def closing(self) -> int:
        """Number of the closing that the operation belongs to; 0 for none."""
        ...

    @property
    def spec(self) -> CourseSpec:
        """Of the operation's revision, with the people of now."""
        ...

    @property
    def target(self) -> Target: ...
    @property
    def hub(self) -> Hub | None:
        """None where the course has none."""
        ...

    @property
    def clock(self) -> SiteClock: ...
    @property
    def settings(self) -> PortalSettings: ...

    def tell(self, event: Event) -> None:
        """Store an event of this attempt; watchers see it at once. Raises `AttemptLost`."""
        ...

    def step(self, text: str, **values: object) -> None:
        """Tell in one sentence what happens now: a text for translators, with what fills its places. Raises
        `AttemptLost`."""
        ...

    def check(self) -> None:
        """Call between steps. Raises `automation.failures.Cancelled`, `DeadlinePassed`, or `AttemptLost`."""
        ...

    def transaction(self) -> AbstractContextManager[Session]:
        """A transaction that commits only while the attempt is ours: its row is locked and looked at first.

        Raises `AttemptLost`."""
        ...

    def course(self, session: Session) -> Course:
        """The course with its row locked, in a session of `transaction`."""
        ...


class Work(Protocol):
    """What carries out one kind of operation. Returns what goes into the attempt's `details`.

    Raises `automation.failures.OperationFailed` for a failure that may be tried again."""

    def __call__(self, run: Run) -> dict[str, Any]: ...
