"""One look of the scheduler at everything: courses that are due, attempts that are lost, operations to hand out."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Attempt, Course, Holiday, Operation, SiteState
from portal.operations.facts import Settled
from portal.operations.kinds import COPYING, ENGINE, TIME_TO_STOP
from portal.operations.outcomes import declare_lost
from portal.planning import Site
from portal.scheduler.due import POSTPONED, due_courses, look_at, set_due
from portal.texts import N_
from portal.worker.queue import deliver, is_queued

log = logging.getLogger(__name__)

BATCH = 100
"""Courses, attempts and operations of one tick; where there are more, the next tick follows at once."""

LOST = N_("The worker has ended, or lost its connection, in the middle of the work.")

REDELIVER = timedelta(seconds=30)
"""After how long an attempt that nobody claimed is looked for in the queue, and put there again if it is gone."""

FINAL = frozenset({Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED, Status.PURGED})
"""Statuses in which nothing is ever due."""


@dataclass(slots=True)
class Report:
    """What one tick did."""

    looked_at: int = 0
    failed: list[uuid.UUID] = field(default_factory=list)
    """Courses that could not be looked at; they are left alone for a moment."""
    lost: int = 0
    handed_out: int = 0
    delivered_again: int = 0
    more: bool = False
    """Whether the next tick should follow at once."""


def site_of(session: Session, clock: SiteClock, settings: PortalSettings) -> Site:
    """The site's rules as they are now."""
    return Site(clock, settings, frozenset(session.scalars(select(Holiday.day))))


def tick(make: Sessions, clock: SiteClock, settings: PortalSettings, settled: Settled) -> Report:
    """Look at everything that is due, once. A course that fails changes nothing for the others.

    Raises what the database raises when it is away.
    """
    report = Report()
    with transaction(make) as session:
        site = site_of(session, clock, settings)
        _notice_new_rules(session, site)
        courses = due_courses(session, site, BATCH)
    report.looked_at = _look_at(make, settings, site, settled, courses, report)
    report.lost = _declare_lost(make, clock, settings)
    report.handed_out = _hand_out(make, clock)
    report.delivered_again = _deliver_again(make)
    report.more = len(courses) == BATCH or report.handed_out == BATCH
    return report


def _look_at(
    make: Sessions, settings: PortalSettings, site: Site, settled: Settled, courses: list[uuid.UUID], report: Report
) -> int:
    """All of them in one transaction; where that fails, each in its own, and the one that fails is left alone for a
    while, so that it keeps no other waiting."""
    if not courses:
        return 0
    try:
        return look_at(make, settings, site, settled, courses)
    except Exception as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        if len(courses) > 1:
            return sum(_look_at(make, settings, site, settled, [one], report) for one in courses)
        log.exception("course %s could not be looked at", courses[0])
        report.failed += courses
        with transaction(make) as session:
            set_due(session, {courses[0]: site.clock.now() + POSTPONED})
        return 0


def _notice_new_rules(session: Session, site: Site) -> None:
    """Where a setting or holiday that due times follow from has changed, every course is looked at anew."""
    rules, clock = site.rules, site.clock
    facts = [rules.lead_working_days, rules.warn_days, rules.grace_days, rules.retention_days, str(clock.zone)]
    digest = hashlib.sha256(json.dumps([*facts, sorted(map(str, site.holidays))]).encode()).hexdigest()
    state = session.get(SiteState, 1)
    if state is None:
        state = SiteState(id=1)
        session.add(state)
    if state.settings_digest != digest:
        state.settings_digest = digest
        courses = Course.__table__
        session.execute(
            update(courses).where(courses.c.status.not_in(FINAL)).values(next_due_at=clock.now())  # type: ignore[arg-type]
        )


def _declare_lost(make: Sessions, clock: SiteClock, settings: PortalSettings) -> int:
    """Attempts whose worker has not renewed its lease, or whose time is long over whatever it says."""
    now = func.clock_timestamp()
    gone = or_(Attempt.lease_until < now, Attempt.deadline + 2 * TIME_TO_STOP < now)
    with transaction(make) as session:
        found = session.execute(
            select(Attempt.id, Operation.id, Operation.course_id)
            .join(Operation, Operation.id == Attempt.operation_id)
            .where(Attempt.result.is_(None), gone)
            .limit(BATCH)
        ).all()
    count = 0
    for attempt_id, operation_id, course_id in found:
        with transaction(make) as session:
            course = _locked(session, course_id)
            if course is None:
                continue
            operation = session.get_one(Operation, operation_id, with_for_update=True)
            # looked at again, now that the row is ours: it may have been renewed or finished meanwhile
            attempt = session.scalar(
                select(Attempt).where(Attempt.id == attempt_id, Attempt.result.is_(None), gone).with_for_update()
            )
            if attempt is None:
                continue
            declare_lost(session, clock, settings, course, operation, attempt, LOST)
            count += 1
    return count


_LANE = "CASE WHEN o.kind = ANY(:engine) THEN 'engine' WHEN o.kind = ANY(:copying) THEN 'copying' ELSE 'free' END"

_WAITING = text(
    f"""
    WITH live AS (
        SELECT c.target_name, {_LANE} AS lane, count(*) AS n
        FROM attempts a JOIN operations o ON o.id = a.operation_id JOIN courses c ON c.id = o.course_id
        WHERE a.result IS NULL
        GROUP BY c.target_name, lane
    ), waiting AS (
        SELECT o.id, o.course_id, o.not_before, o.number, c.target_name, {_LANE} AS lane, o.kind
        FROM operations o JOIN courses c ON c.id = o.course_id
        WHERE o.status = 'waiting' AND o.not_before <= :now
            AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.operation_id = o.id AND a.result IS NULL)
    ), placed AS (
        SELECT *, row_number() OVER (
            PARTITION BY target_name, lane ORDER BY kind = 'refresh', not_before, number
        ) AS place FROM waiting
    )
    SELECT w.id, w.course_id
    FROM placed w JOIN targets t ON t.name = w.target_name
        LEFT JOIN live l ON l.target_name = w.target_name AND l.lane = w.lane
    WHERE w.lane = 'free' OR w.place <= t.parallel_operations - coalesce(l.n, 0)
    ORDER BY w.not_before, w.number
    LIMIT :batch
    """  # noqa: S608 - both parts are ours
)
"""Operations whose time has come and that nobody works on, as many of each lane as each target may have at once. What
compares stacks only waits until nothing else does."""


def _hand_out(make: Sessions, clock: SiteClock) -> int:
    """Give each operation that waits for a worker its next attempt, and put that into the queue."""
    now = clock.now()
    with transaction(make) as session:
        found = session.execute(
            _WAITING, {"engine": sorted(ENGINE), "copying": sorted(COPYING), "now": now, "batch": BATCH}
        ).all()
    count = 0
    for operation_id, course_id in found:
        with transaction(make) as session:
            if _locked(session, course_id) is None:
                continue
            operation = session.get_one(Operation, operation_id, with_for_update=True)
            if operation.status != "waiting" or operation.not_before > now:
                continue
            last = session.scalar(select(func.max(Attempt.number)).where(Attempt.operation_id == operation_id))
            attempt = Attempt(operation_id=operation_id, number=(last or 0) + 1, queued_at=func.clock_timestamp())
            session.add(attempt)
            session.flush()
            deliver(session, operation_id, attempt.id)
            count += 1
    return count


def _deliver_again(make: Sessions) -> int:
    """A job can be lost between queue and claim; the attempt's row is what counts."""
    with transaction(make) as session:
        found = session.scalars(
            select(Attempt)
            .where(
                Attempt.result.is_(None),
                Attempt.claimed_at.is_(None),
                Attempt.queued_at < func.clock_timestamp() - REDELIVER,
            )
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        count = 0
        for attempt in found:
            if not is_queued(session, attempt.id):
                deliver(session, attempt.operation_id, attempt.id)
                count += 1
            attempt.queued_at = func.clock_timestamp()
        return count


def _locked(session: Session, course_id: uuid.UUID) -> Course | None:
    """The course with its row locked; None where somebody else has it: the next tick comes soon."""
    return session.scalar(select(Course).where(Course.id == course_id).with_for_update(skip_locked=True))
