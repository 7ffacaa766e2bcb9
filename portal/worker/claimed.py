"""The run of one claimed attempt: what its work is given (see `portal.worker.run.Run`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from automation.events import Event
from course_stack.spec import CourseSpec
from course_stack.target import Target
from portal import db
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.life import lock
from portal.courses.specs import spec_of
from portal.db import Sessions
from portal.groups.access import as_let_in
from portal.models import Course, TargetRecord
from portal.operations.attempts import Claim, guard
from portal.operations.events import EventWriter
from portal.operations.leases import AttemptLeases, engine_id
from portal.sealing import Sealer, Unsealable
from portal.worker.keeper import Keeper
from portal.worker.run import Hub

log = logging.getLogger(__name__)


class ClaimedRun:
    """One attempt of ours. Everything that it writes, it writes only while the attempt is ours."""

    def __init__(
        self,
        sessions: Sessions,
        clock: SiteClock,
        settings: PortalSettings,
        sealer: Sealer,
        claim: Claim,
        keeper: Keeper,
        events: EventWriter,
    ) -> None:
        self.claim = claim
        self.operation = claim.operation_id
        self.attempt = claim.number
        self.course_id = claim.course_id
        self.closing = claim.closing
        self.revision = claim.revision
        self.clock = clock
        self.settings = settings
        self.sealer = sealer
        self.keeper = keeper
        self._sessions = sessions
        self._events = events
        with db.transaction(sessions) as session:
            course = session.get_one(Course, claim.course_id)
            record = session.get_one(TargetRecord, course.target_name)
            self.slug: str = course.slug
            spec = spec_of(session, course, claim.revision)
            self.spec: CourseSpec = as_let_in(spec, course.status, clock.today())
            self.target: Target = Target.model_validate(record.target)
            self.hub: Hub | None = _hub(course, sealer)
        self.leases = AttemptLeases(sessions, claim, self.slug, settings.lease_seconds, keeper.renewed_at)
        self.engine_id = engine_id(self.slug, claim.kind, claim.attempt_id)

    def tell(self, event: Event) -> None:
        self._events.tell(event)

    def step(self, text: str, **values: object) -> None:
        self._events.step(text, **values)

    def check(self) -> None:
        self.keeper.check()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with db.transaction(self._sessions) as session:
            # the course first, as everybody does: two that lock in the same order never wait for each other
            lock(session, self.course_id)
            guard(session, self.claim)
            yield session

    def course(self, session: Session) -> Course:
        return lock(session, self.course_id)

    def write(self, deed: Callable[[Session, Course], None]) -> None:
        """Do something to the course in a transaction, again and again while the database is away. For what must not
        be forgotten because the database was, such as the address of a hub that was just made. Raises `AttemptLost`."""

        def once() -> None:
            with self.transaction() as session:
                deed(session, self.course(session))

        patiently(once)


def patiently(deed: Callable[[], None], seconds: float = 600, sleep: Callable[[float], object] = time.sleep) -> None:
    """Do it, however often the database is away meanwhile; after so many seconds its failure is raised."""
    until = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            return deed()
        except DBAPIError:
            if time.monotonic() > until:
                raise
        sleep(pause)
        pause = min(pause * 2, 5)


def _hub(course: Course, sealer: Sealer) -> Hub | None:
    if course.hub_url is None or course.api_url is None or course.api_token is None:
        return None
    try:
        return Hub(course.hub_url, course.api_url, sealer.open(course.api_token))
    except Unsealable:
        # a deploy makes a new token; what needs the old one says that there is no hub to speak with
        log.warning("the token of course %s cannot be opened: was JHAAS_SECRET_KEY changed?", course.id)
        return None
