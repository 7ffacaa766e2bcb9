"""A `Run` for tests of one kind of work: the attempt is ours until the test says otherwise."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from automation.events import Event, Warned
from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.life import lock
from portal.db import Sessions, transaction
from portal.models import Course
from portal.worker.run import Hub


def _nothing() -> None:
    """Goes on."""


@dataclass
class FakeRun:
    """What was told is in `steps` and `told`. `on_check` may raise what a real run would."""

    sessions: Sessions
    clock: SiteClock
    settings: PortalSettings
    course_id: uuid.UUID
    spec: CourseSpec
    target: Target
    hub: Hub | None = None
    closing: int = 1
    on_check: Callable[[], None] = _nothing
    operation: uuid.UUID = field(default_factory=uuid.uuid4)
    attempt: int = 1
    steps: list[str] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)

    @property
    def slug(self) -> str:
        return self.spec.slug

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.told if isinstance(event, Warned)]

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def step(self, text: str, **values: object) -> None:
        self.steps.append(text % values if values else text)

    def check(self) -> None:
        self.on_check()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with transaction(self.sessions) as session:
            yield session

    def course(self, session: Session) -> Course:
        return lock(session, self.course_id)
