"""A fleet with a portal, which owns all operations: each update is asked for like any other, done by its workers, and
followed by the check that a notebook still runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal.actor import SYSTEM
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.life import lock
from portal.courses.specs import spec_of
from portal.db import Sessions, transaction
from portal.fleet.of_stacks import Result, plan_of
from portal.fleet.rollout import Member, Outcome, Plan
from portal.groups.access import as_let_in
from portal.lifecycle import STATUS_NAMES, Status
from portal.models import Course, Operation, TargetRecord
from portal.operations.ask import ask
from portal.operations.kinds import Kind

Preview = Callable[[Target, CourseSpec], Result]


@dataclass(slots=True)
class _Asked:
    """An update of this fleet's: its operation, once there is one."""

    course_id: uuid.UUID
    operation: uuid.UUID | None = None


class FleetOfPortal:
    """The active courses of a target. `sleep` waits for a moment between two looks at how operations go."""

    def __init__(
        self,
        sessions: Sessions,
        clock: SiteClock,
        settings: PortalSettings,
        target: str,
        preview: Preview,
        sleep: Callable[[], object],
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._preview = preview
        self._sleep = sleep
        with sessions() as session:
            query = select(Course.slug, Course.id, Course.seats).where(
                Course.target_name == target, Course.status == Status.ACTIVE
            )
            rows = session.execute(query.order_by(Course.slug)).all()
        self._seats = {row.slug: row.seats for row in rows}
        self._ids = {row.slug: row.id for row in rows}

    def members(self) -> Sequence[Member]:
        return [Member(slug, seats) for slug, seats in self._seats.items()]

    def plan(self, slug: str) -> Plan:
        with self._sessions() as session:
            course = session.get_one(Course, self._ids[slug])
            target = Target.model_validate(session.get_one(TargetRecord, course.target_name).target)
            spec = as_let_in(spec_of(session, course), Status(course.status), self._clock.today())
        return plan_of(lambda: self._preview(target, spec))

    def update(self, slugs: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        asked = {slug: _Asked(self._ids[slug]) for slug in slugs}
        while asked:
            for slug in list(asked):
                with transaction(self._sessions) as session:
                    outcome = self._step(session, asked[slug])
                if outcome is not None:
                    del asked[slug]
                    yield slug, outcome
            if asked:
                self._sleep()

    def _step(self, session: Session, asked: _Asked) -> Outcome | None:
        """Ask, or look how it goes; None while that is open."""
        course = lock(session, asked.course_id)
        done = None if asked.operation is None else session.get_one(Operation, asked.operation)
        if done is not None and done.status == "failed":
            return Outcome("failed", done.failure)
        if done is not None and done.status == "succeeded":
            return _checked(session, course, done)
        if course.status != Status.ACTIVE:
            return Outcome("left out", f"the course is {STATUS_NAMES[Status(course.status)]} by now")
        if done is None or done.status in ("superseded", "cancelled"):
            self._ask(session, course, asked)
        return None

    def _ask(self, session: Session, course: Course, asked: _Asked) -> None:
        """What runs or goes before stays; then it is asked for again at the next look."""
        tries = self._settings.max_tries
        there = ask(session, self._clock, SYSTEM, course, Kind.UPDATE, max_tries=tries)
        if there.kind == Kind.UPDATE and there.cancel_asked_at is None:
            session.flush()
            asked.operation = there.id


def _checked(session: Session, course: Course, update: Operation) -> Outcome | None:
    """What the first check after an update said; None while it is open. Who closes meanwhile is not checked."""
    check = session.scalar(
        select(Operation)
        .where(Operation.course_id == course.id, Operation.kind == Kind.CHECK, Operation.number > update.number)
        .where(Operation.status.in_(("succeeded", "failed")))
        .order_by(Operation.number)
        .limit(1)
    )
    if check is not None and check.status == "succeeded":
        return Outcome("updated", "and a notebook ran")
    if check is not None and check.status == "failed":
        return Outcome("failed", f"The update was done, but the check after it failed: {check.failure}")
    return None if course.status == Status.ACTIVE else Outcome("updated", "unchecked: the course closes")
