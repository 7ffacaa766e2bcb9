"""What is due for a course, and when: pure rules of the calendar and of what should exist.

Days are calendar days of the site, instants are aware UTC. `clock` gives the site's zone; the moment to judge by is
always an argument.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Protocol

from portal.clock import SiteClock
from portal.lifecycle import Action, Status
from portal.operations.kinds import FITS, OF_A_CLOSING, RANK, Kind

PAUSE = timedelta(hours=6)
"""After a closing or an archive failed for good and people were told: how long until it is tried again."""

NIGHT = (timedelta(hours=1), timedelta(hours=5))
"""When drift is looked for, from midnight at the site."""


class Rules(Protocol):
    """The settings that due times follow from (`portal.config.PortalSettings`)."""

    @property
    def lead_working_days(self) -> int: ...
    @property
    def warn_days(self) -> tuple[int, ...]: ...
    @property
    def grace_days(self) -> int: ...
    @property
    def retention_days(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Site:
    """Everything about the site that planning asks for."""

    clock: SiteClock
    rules: Rules
    holidays: frozenset[dt.date] = frozenset()


@dataclass(frozen=True, slots=True)
class LiveOperation:
    """The operation that waits or runs."""

    kind: Kind
    revision: int
    closing: int | None
    stopping: bool
    """It was asked to stop, and is awaited."""


@dataclass(frozen=True, slots=True)
class PastOperation:
    """An operation that succeeded or failed for good; superseded and cancelled ones say nothing."""

    kind: Kind
    revision: int
    closing: int | None
    succeeded: bool
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseFacts:
    """What planning knows of one course."""

    id: uuid.UUID
    status: Status
    first_day: dt.date
    last_day: dt.date
    ended_early: bool = False
    approved_revision: int = 1
    applied_revision: int | None = None
    checked_revision: int | None = None
    """With which a notebook was last proven to run."""
    approved_failed: bool = False
    """The last update to the approved revision, or the check after it, failed for good."""
    stack_may_exist: bool = False
    closing: int = 0
    closed_at: datetime | None = None
    archives_settled: bool = False
    drift_checked_at: datetime | None = None
    """When drift was last looked for, or since when it might be."""
    live: LiveOperation | None = None
    last: PastOperation | None = None
    """The last deploy, update or check."""
    last_applied: PastOperation | None = None
    """The last deploy or update."""
    last_of_closing: PastOperation | None = None
    """The last close or archive of the present closing."""


@dataclass(frozen=True, slots=True)
class Do:
    """A step of the course's life that is due."""

    action: Action


@dataclass(frozen=True, slots=True)
class Ask:
    """An operation that should exist."""

    kind: Kind
    revision: int


@dataclass(frozen=True, slots=True)
class Stop:
    """The live operation makes no sense any more."""


Decision = Do | Ask | Stop


@dataclass(frozen=True, slots=True, order=True)
class Warning_:  # noqa: N801 - Python has a Warning of its own
    """People are told that something ends `days` days from `at`, on `day`."""

    at: datetime
    kind: str = field(compare=False)
    """`ending_soon` or `destroy_soon`: the mail's event."""
    days: int = field(compare=False)
    day: dt.date = field(compare=False)

    def key(self, course_id: uuid.UUID) -> str:
        """Names the warning: the same course is not warned twice of the same day at the same distance."""
        return f"{course_id}:{self.kind}:{self.day}:{self.days}"


def deploy_at(
    course_id: uuid.UUID, first_day: dt.date, holidays: Collection[dt.date], settings: Rules, clock: SiteClock
) -> datetime:
    """When a course is deployed if all goes as planned.

    The lead window begins `lead_working_days` working days before the first day. Courses are spread over its working
    days by a hash of their id, so that not all of a term are deployed at midnight; its last working day is kept free
    for repairs where there is more than one, and leads have it to look around.
    """
    window = lead_window(first_day, holidays, settings.lead_working_days)
    if not window:
        return clock.begin(first_day)
    days = window[:-1] or window
    place = _fraction(course_id) * len(days)
    day = days[int(place)]
    begin, end = clock.begin(day), clock.end(day)
    return begin + (end - begin) * (place - int(place))


def lead_window(first_day: dt.date, holidays: Collection[dt.date], working_days: int) -> list[dt.date]:
    """The last `working_days` days before the first day that are neither Saturday, Sunday nor holiday, in order."""
    days: list[dt.date] = []
    day = first_day
    # a calendar that is all holidays must not be searched for ever
    for _ in range(working_days * 7 + 366):
        if len(days) == working_days:
            break
        day -= timedelta(days=1)
        if day.weekday() < 5 and day not in holidays:
            days.insert(0, day)
    return days


def destroy_at(closed_at: datetime, settings: Rules, clock: SiteClock) -> datetime:
    """When a closed course's hub is removed: `grace_days` calendar days after the actual close, at the same time."""
    return _days_later(closed_at, settings.grace_days, clock)


def purge_at(archive_ready_at: datetime, settings: Rules, clock: SiteClock) -> datetime:
    """When archives are deleted: `retention_days` calendar days after people were told that they are there."""
    return _days_later(archive_ready_at, settings.retention_days, clock)


def refresh_at(course_id: uuid.UUID, day: dt.date, clock: SiteClock) -> datetime:
    """When drift is looked for in the night before a day's work: courses are spread over `NIGHT`."""
    begin, end = NIGHT
    return clock.begin(day) + begin + (end - begin) * _fraction(course_id)


def is_over(facts: CourseFacts, now: datetime, clock: SiteClock) -> bool:
    """Its last day has passed at the site, or it was ended early."""
    return facts.ended_early or now >= clock.end(facts.last_day)


def warnings(facts: CourseFacts, site: Site) -> list[Warning_]:
    """All warnings of the course as it stands, in order of time.

    They are sent at the beginning of the day that lies so many days before the last one, never when the
    course begins or is closed, or before: a course of three days does not end in a fortnight.
    """
    clock = site.clock
    match facts.status:
        case Status.ACTIVE if not facts.ended_early:
            kind, last, since = "ending_soon", facts.last_day, clock.begin(facts.first_day)
        case Status.CLOSED if facts.closed_at is not None:
            kind, last = "destroy_soon", clock.day_of(destroy_at(facts.closed_at, site.rules, clock))
            since = facts.closed_at
        case _:
            return []
    found = [Warning_(clock.begin(last - timedelta(days=days)), kind, days, last) for days in set(site.rules.warn_days)]
    return sorted(one for one in found if one.at > since)


def warning_due(facts: CourseFacts, site: Site, now: datetime) -> Warning_ | None:
    """The one warning to send now, if it was not sent yet: after a downtime only the nearest of those missed."""
    if is_over(facts, now, site.clock) and facts.status is Status.ACTIVE:
        return None
    return max((one for one in warnings(facts, site) if one.at <= now), default=None)


def wanted(facts: CourseFacts, site: Site, now: datetime) -> list[Decision]:
    """What should happen now, in this order; empty where everything is as it should be."""
    steps, status = _steps(facts, site, now)
    return [*steps, *_operation(facts, status, _desired(facts, status, site, now))]


def next_due(facts: CourseFacts, site: Site, now: datetime) -> datetime | None:
    """The next instant after `now` at which `wanted` or `warning_due` may say something new; None: not by itself."""
    return min((instant for instant in _instants(facts, site, now) if instant > now), default=None)


def _steps(facts: CourseFacts, site: Site, now: datetime) -> tuple[list[Decision], Status]:
    """The step of its life that is due, and the status after it."""
    over = is_over(facts, now, site.clock)
    match facts.status:
        case Status.REQUESTED | Status.APPROVED if over:
            return [Do(Action.EXPIRE)], Status.EXPIRED
        case Status.DEPLOYING | Status.DEPLOY_FAILED if over and facts.stack_may_exist:
            return [Do(Action.REMOVE)], Status.REMOVING
        case Status.DEPLOYING | Status.DEPLOY_FAILED if over:
            return [Do(Action.EXPIRE)], Status.EXPIRED
        case Status.APPROVED if now >= _deploy_at(facts, site):
            return [Do(Action.DEPLOY)], Status.DEPLOYING
        case Status.ACTIVE if over:
            return [Do(Action.CLOSE)], Status.CLOSING
        case Status.CLOSED if facts.archives_settled and now >= _destroy_at(facts, site):
            return [Do(Action.REMOVE)], Status.REMOVING
    return [], facts.status


def _desired(facts: CourseFacts, status: Status, site: Site, now: datetime) -> Ask | None:
    """The operation that a course of this status needs."""
    approved = facts.approved_revision
    match status:
        case Status.DEPLOYING:
            done = facts.last
            if done and done.kind is Kind.DEPLOY and done.succeeded and done.revision == approved:
                return Ask(Kind.CHECK, approved)
            return Ask(Kind.DEPLOY, approved)
        case Status.ACTIVE:
            return _desired_of_active(facts, site, now)
        case Status.CLOSING if facts.status is Status.ACTIVE or not _pausing(facts, Kind.CLOSE, now):
            return Ask(Kind.CLOSE, approved)
        case Status.CLOSED if not facts.archives_settled and not _pausing(facts, Kind.ARCHIVE, now):
            return Ask(Kind.ARCHIVE, approved)
        case Status.REMOVING:
            return Ask(Kind.DESTROY, approved)
    return None


def _desired_of_active(facts: CourseFacts, site: Site, now: datetime) -> Ask | None:
    approved, applied = facts.approved_revision, facts.applied_revision
    if not facts.approved_failed:
        if applied is not None and applied != approved:
            return Ask(Kind.UPDATE, approved)
    elif facts.last_applied and facts.last_applied.revision == approved:
        # it may be half there, or be there without a notebook that starts: what ran before is applied again, once
        good = facts.checked_revision or applied
        if good is not None and good != approved:
            return Ask(Kind.UPDATE, good)
    if facts.last and facts.last.kind is Kind.UPDATE and facts.last.succeeded:
        return Ask(Kind.CHECK, facts.last.revision)
    if now >= _next_refresh(facts, site, now):
        return Ask(Kind.REFRESH, applied or approved)
    return None


def _operation(facts: CourseFacts, status: Status, desired: Ask | None) -> list[Decision]:
    """What to do so that the live operation becomes the desired one."""
    live = facts.live
    if live is None:
        return [] if desired is None else [desired]
    if live.stopping:
        return []
    if live.kind not in FITS.get(status, frozenset()) and (desired is None or RANK[desired.kind] <= RANK[live.kind]):
        return [Stop()]
    if desired is None or (live.kind, live.revision) == (desired.kind, desired.revision):
        # one of a closing that was extended away is not the one of this closing
        stale = live.kind in OF_A_CLOSING and live.closing != facts.closing and status is facts.status
        return [Stop()] if stale else []
    newer = live.kind is desired.kind or RANK[desired.kind] > RANK[live.kind]
    return [desired] if newer else []


def _instants(facts: CourseFacts, site: Site, now: datetime) -> Iterator[datetime]:
    clock = site.clock
    over = clock.end(facts.last_day)
    match facts.status:
        case Status.REQUESTED | Status.DEPLOYING | Status.DEPLOY_FAILED:
            yield over
        case Status.APPROVED:
            yield over
            yield _deploy_at(facts, site)
        case Status.ACTIVE:
            yield over
            yield clock.begin(facts.first_day)  # participants are let in
            yield _next_refresh(facts, site, now)
        case Status.CLOSED:
            yield _destroy_at(facts, site)
    if facts.status in (Status.CLOSING, Status.CLOSED) and facts.last_of_closing is not None:
        yield facts.last_of_closing.finished_at + PAUSE
    yield from (one.at for one in warnings(facts, site))


def _pausing(facts: CourseFacts, kind: Kind, now: datetime) -> bool:
    last = facts.last_of_closing
    return last is not None and last.kind is kind and not last.succeeded and now < last.finished_at + PAUSE


def _deploy_at(facts: CourseFacts, site: Site) -> datetime:
    return deploy_at(facts.id, facts.first_day, site.holidays, site.rules, site.clock)


def _destroy_at(facts: CourseFacts, site: Site) -> datetime:
    if facts.closed_at is None:
        return datetime.max.replace(tzinfo=UTC)
    return destroy_at(facts.closed_at, site.rules, site.clock)


def _next_refresh(facts: CourseFacts, site: Site, now: datetime) -> datetime:
    """The first of its nightly instants since drift was last looked for; without a look, the next one."""
    clock = site.clock
    since = facts.drift_checked_at or now
    day = clock.day_of(since)
    return next(
        at for at in (refresh_at(facts.id, day + timedelta(days=days), clock) for days in range(3)) if at > since
    )


def _days_later(instant: datetime, days: int, clock: SiteClock) -> datetime:
    """The same time at the site's clocks, so many days later (UTC)."""
    local = instant.astimezone(clock.zone).replace(tzinfo=None) + timedelta(days=days)
    return local.replace(tzinfo=clock.zone).astimezone(UTC)


def _fraction(course_id: uuid.UUID) -> float:
    """Between 0 (with) and 1 (without), the same for the same course, even over courses."""
    return int.from_bytes(sha256(course_id.bytes).digest()[:6]) / 2**48
