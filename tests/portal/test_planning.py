"""When something is due, and what: pure rules, against simple models of them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import planning
from portal.clock import SiteClock
from portal.lifecycle import Action, Status
from portal.operations.kinds import FITS, OF_A_CLOSING, Kind
from portal.planning import Ask, CourseFacts, Do, LiveOperation, PastOperation, Site, Stop

BERLIN = SiteClock(ZoneInfo("Europe/Berlin"))
MONDAY = dt.date(2027, 3, 8)
COURSE = uuid.UUID(int=7)


@dataclass(frozen=True)
class Rules:
    lead_working_days: int = 2
    warn_days: tuple[int, ...] = (14, 7, 1)
    grace_days: int = 14
    retention_days: int = 180


SITE = Site(BERLIN, Rules())


def facts(status: Status = Status.APPROVED, **changes: object) -> CourseFacts:
    given = {"id": COURSE, "status": status, "first_day": MONDAY, "last_day": MONDAY + timedelta(days=27)}
    return CourseFacts(**(given | changes))  # type: ignore[arg-type]


def at(day: dt.date, hour: int = 0, clock: SiteClock = BERLIN) -> datetime:
    return clock.begin(day) + timedelta(hours=hour)


# --- deploys


def test_the_lead_window_jumps_over_weekends_and_holidays() -> None:
    thursday, friday = MONDAY - timedelta(days=4), MONDAY - timedelta(days=3)
    assert planning.lead_window(MONDAY, (), 2) == [thursday, friday]
    assert planning.lead_window(MONDAY, {friday}, 2) == [thursday - timedelta(days=1), thursday]
    assert planning.lead_window(MONDAY, (), 0) == []


@given(
    st.uuids(),
    st.dates(dt.date(2026, 1, 1), dt.date(2030, 12, 31)),
    st.integers(0, 10),
    st.sets(st.integers(1, 30), max_size=15),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_a_deploy_lies_in_its_lead_window_on_a_working_day(
    course: uuid.UUID, first_day: dt.date, days: int, before: set[int], zone: str
) -> None:
    holidays = {first_day - timedelta(days=n) for n in before}
    clock = SiteClock(ZoneInfo(zone))
    planned = planning.deploy_at(course, first_day, holidays, Rules(lead_working_days=days), clock)
    window = planning.lead_window(first_day, holidays, days)
    assert planned.tzinfo is not None
    if days == 0:
        assert planned == clock.begin(first_day)
        return
    assert len(window) == days
    assert clock.begin(window[0]) <= planned < clock.begin(first_day)
    day = clock.day_of(planned)
    assert day.weekday() < 5
    assert day not in holidays
    if days > 1:
        assert day != window[-1], "the last working day is for repairs"


def test_deploys_are_spread_evenly_over_the_window() -> None:
    rules = Rules(lead_working_days=3)
    planned = [planning.deploy_at(uuid.UUID(int=n), MONDAY, (), rules, BERLIN) for n in range(2000)]
    start = BERLIN.begin(MONDAY - timedelta(days=5))
    by_quarter = [sum((one - start) // timedelta(hours=6) == n for one in planned) for n in range(8)]
    assert sum(by_quarter) == 2000
    assert all(180 < count < 320 for count in by_quarter)


def test_a_calendar_of_holidays_alone_ends_the_search() -> None:
    everything = {MONDAY - timedelta(days=n) for n in range(2000)}
    assert planning.deploy_at(COURSE, MONDAY, everything, Rules(), BERLIN) == BERLIN.begin(MONDAY)


def test_approved_later_means_at_once_and_approved_too_late_means_never() -> None:
    late = facts(first_day=MONDAY - timedelta(days=30))
    assert planning.wanted(late, SITE, at(MONDAY)) == [Do(Action.DEPLOY), Ask(Kind.DEPLOY, 1)]
    gone = facts(first_day=MONDAY - timedelta(days=30), last_day=MONDAY - timedelta(days=1))
    assert planning.wanted(gone, SITE, at(MONDAY)) == [Do(Action.EXPIRE)]


# --- the end of days


@pytest.mark.parametrize(
    ("last_day", "hours"),
    [(dt.date(2027, 3, 28), 23), (dt.date(2027, 10, 31), 25), (dt.date(2027, 6, 1), 24)],
    ids=["spring forward", "fall back", "plain"],
)
def test_the_last_day_counts_to_midnight_at_the_site_on_days_of_any_length(last_day: dt.date, hours: int) -> None:
    course = facts(Status.ACTIVE, last_day=last_day, drift_checked_at=BERLIN.begin(last_day) + timedelta(hours=6))
    end = BERLIN.begin(last_day) + timedelta(hours=hours)
    assert planning.wanted(course, SITE, end - timedelta(seconds=1)) == []
    assert planning.wanted(course, SITE, end) == [Do(Action.CLOSE), Ask(Kind.CLOSE, 1)]
    assert planning.next_due(course, SITE, end - timedelta(seconds=1)) == end


def test_the_days_of_grace_are_calendar_days_over_a_change_of_clocks() -> None:
    closed = datetime(2027, 3, 20, 11, 30, tzinfo=UTC)  # 12:30 at the site
    assert planning.destroy_at(closed, Rules(), BERLIN) == datetime(2027, 4, 3, 10, 30, tzinfo=UTC)
    assert planning.destroy_at(closed, Rules(grace_days=0), BERLIN) == closed
    assert planning.purge_at(closed, Rules(retention_days=1), BERLIN) == closed + timedelta(days=1)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), st.integers(0, 60))  # noqa: DTZ001
def test_grace_is_never_shorter_than_its_days_but_for_the_change_of_clocks(closed: datetime, days: int) -> None:
    destroyed = planning.destroy_at(closed, Rules(grace_days=days), BERLIN)
    assert abs(destroyed - closed - timedelta(days=days)) <= timedelta(hours=1)


# --- warnings


def test_warnings_lie_before_the_end_and_after_the_beginning() -> None:
    course = facts(Status.ACTIVE, last_day=MONDAY + timedelta(days=9))
    found = planning.warnings(course, SITE)
    assert [(one.days, BERLIN.day_of(one.at)) for one in found] == [
        (7, MONDAY + timedelta(days=2)), (1, MONDAY + timedelta(days=8)),
    ]  # fmt: skip
    assert len({one.key(COURSE) for one in found}) == 2


def test_of_several_missed_warnings_the_nearest_is_due() -> None:
    course = facts(Status.ACTIVE)
    last = course.last_day
    assert planning.warning_due(course, SITE, at(last - timedelta(days=15))) is None
    for passed, days in ((14, 14), (8, 14), (7, 7), (2, 7), (1, 1), (0, 1)):
        due = planning.warning_due(course, SITE, at(last - timedelta(days=passed), 1))
        assert due is not None
        assert due.days == days
    assert planning.warning_due(course, SITE, BERLIN.end(last)) is None, "it is over: that is another mail"


def test_an_extension_brings_warnings_of_its_own() -> None:
    course = facts(Status.ACTIVE)
    longer = replace(course, last_day=course.last_day + timedelta(days=30))
    keys = {one.key(COURSE) for one in planning.warnings(course, SITE)}
    assert keys.isdisjoint(one.key(COURSE) for one in planning.warnings(longer, SITE))


# --- what should exist


def test_a_deployed_course_is_checked_and_only_then_left_alone() -> None:
    now = at(MONDAY, 8)
    course = facts(Status.DEPLOYING)
    assert planning.wanted(course, SITE, now) == [Ask(Kind.DEPLOY, 1)]
    done = PastOperation(Kind.DEPLOY, 1, None, succeeded=True, finished_at=now)
    course = replace(course, last=done, last_applied=done, applied_revision=1)
    assert planning.wanted(course, SITE, now) == [Ask(Kind.CHECK, 1)]
    failed = PastOperation(Kind.CHECK, 1, None, succeeded=False, finished_at=now)
    assert planning.wanted(replace(course, last=failed), SITE, now) == [Ask(Kind.DEPLOY, 1)], "after RETRY: all of it"
    assert planning.wanted(replace(course, approved_revision=2), SITE, now) == [Ask(Kind.DEPLOY, 2)]


def test_a_change_that_did_harm_is_taken_back_once() -> None:
    now = at(MONDAY, 8)
    updated = PastOperation(Kind.UPDATE, 2, None, succeeded=True, finished_at=now)
    course = facts(Status.ACTIVE, approved_revision=2, applied_revision=2, checked_revision=1, drift_checked_at=now,
                   last=updated, last_applied=updated)  # fmt: skip
    assert planning.wanted(course, SITE, now) == [Ask(Kind.CHECK, 2)]
    harm = PastOperation(Kind.CHECK, 2, None, succeeded=False, finished_at=now)
    course = replace(course, last=harm, approved_failed=True)
    assert planning.wanted(course, SITE, now) == [Ask(Kind.UPDATE, 1)]
    for succeeded in (True, False):
        back = replace(updated, revision=1, succeeded=succeeded)
        course = replace(course, last=back, last_applied=back, applied_revision=1 if succeeded else 2)
        assert planning.wanted(course, SITE, now) == ([Ask(Kind.CHECK, 1)] if succeeded else [])
        checked = PastOperation(Kind.CHECK, 1, None, succeeded=False, finished_at=now)
        assert planning.wanted(replace(course, last=checked), SITE, now) == [], "there is nothing else to go back to"


def test_a_check_that_fails_without_a_change_takes_nothing_back() -> None:
    now = at(MONDAY, 8)
    updated = PastOperation(Kind.UPDATE, 1, None, succeeded=True, finished_at=now)
    failed = PastOperation(Kind.CHECK, 1, None, succeeded=False, finished_at=now)
    course = facts(Status.ACTIVE, applied_revision=1, checked_revision=1, drift_checked_at=now, last=failed,
                   last_applied=updated, approved_failed=True)  # fmt: skip
    assert planning.wanted(course, SITE, now) == []


def test_what_does_not_fit_the_status_is_stopped_once() -> None:
    now = at(MONDAY, 8)
    archive = LiveOperation(Kind.ARCHIVE, 1, 1, stopping=False)
    course = facts(Status.ACTIVE, applied_revision=1, live=archive, drift_checked_at=now)
    assert planning.wanted(course, SITE, now) == [Stop()]
    assert planning.wanted(replace(course, live=replace(archive, stopping=True)), SITE, now) == []


def test_a_failed_closing_pauses_and_is_tried_again() -> None:
    now = at(MONDAY, 8)
    failed = PastOperation(Kind.CLOSE, 1, 1, succeeded=False, finished_at=now)
    course = facts(Status.CLOSING, closing=1, last_of_closing=failed)
    assert planning.wanted(course, SITE, now) == []
    assert planning.next_due(course, SITE, now) == now + planning.PAUSE
    assert planning.wanted(course, SITE, now + planning.PAUSE) == [Ask(Kind.CLOSE, 1)]


def test_a_closed_course_is_removed_after_its_grace_and_not_without_archives() -> None:
    closed = at(MONDAY)
    course = facts(Status.CLOSED, closing=1, closed_at=closed, archives_settled=True)
    end = planning.destroy_at(closed, Rules(), BERLIN)
    assert planning.wanted(course, SITE, end - timedelta(seconds=1)) == []
    assert planning.wanted(course, SITE, end) == [Do(Action.REMOVE), Ask(Kind.DESTROY, 1)]
    assert planning.wanted(replace(course, archives_settled=False), SITE, end) == [Ask(Kind.ARCHIVE, 1)]


instants = st.datetimes(datetime(2027, 2, 1), datetime(2027, 6, 1), timezones=st.just(UTC))  # noqa: DTZ001
pasts = st.none() | st.builds(
    PastOperation,
    st.sampled_from([Kind.DEPLOY, Kind.UPDATE, Kind.CHECK]),
    st.integers(1, 3),
    st.none(),
    st.booleans(),
    instants,
)


@st.composite
def any_facts(draw: st.DrawFn) -> CourseFacts:
    status = draw(st.sampled_from(Status))
    first = MONDAY + timedelta(days=draw(st.integers(0, 40)))
    kind = draw(st.none() | st.sampled_from(Kind))
    closing = draw(st.integers(0, 2))
    live = None
    if kind is not None:
        number = draw(st.integers(0, 2)) if kind in OF_A_CLOSING else None
        live = LiveOperation(kind, draw(st.integers(1, 3)), number, draw(st.booleans()))
    last_of_closing = draw(
        st.none()
        | st.builds(
            PastOperation,
            st.sampled_from([Kind.CLOSE, Kind.ARCHIVE]),
            st.just(1),
            st.just(closing),
            st.booleans(),
            instants,
        )
    )
    return CourseFacts(
        id=draw(st.uuids()),
        status=status,
        first_day=first,
        last_day=first + timedelta(days=draw(st.integers(0, 40))),
        ended_early=draw(st.booleans()),
        approved_revision=draw(st.integers(1, 3)),
        applied_revision=draw(st.none() | st.integers(1, 3)),
        checked_revision=draw(st.none() | st.integers(1, 3)),
        approved_failed=draw(st.booleans()),
        stack_may_exist=draw(st.booleans()),
        closing=closing,
        closed_at=draw(st.none() | instants),
        archives_settled=draw(st.booleans()),
        drift_checked_at=draw(st.none() | instants),
        live=live,
        last=draw(pasts),
        last_applied=draw(pasts),
        last_of_closing=last_of_closing,
    )


@given(any_facts(), instants, st.floats(0, 1, exclude_max=True))
def test_between_two_due_instants_nothing_new_is_wanted(course: CourseFacts, now: datetime, share: float) -> None:
    """What makes an index of due times enough: nobody has to look at a course before it is due."""
    due = planning.next_due(course, SITE, now)
    until = due or now + timedelta(days=400)
    later = min(now + (until - now) * share, until - timedelta(microseconds=1))
    assert planning.wanted(course, SITE, later) == planning.wanted(course, SITE, now)
    before, after = (planning.warning_due(course, SITE, one) for one in (now, later))
    assert before == after
    assert due is None or due > now


@given(any_facts(), instants)
def test_an_operation_that_is_asked_for_fits_the_status_that_the_course_has_then(
    course: CourseFacts, now: datetime
) -> None:
    status = course.status
    for decision in planning.wanted(course, SITE, now):
        match decision:
            case Do(Action.DEPLOY):
                status = Status.DEPLOYING
                assert BERLIN.begin(MONDAY - timedelta(days=14)) <= now < BERLIN.end(course.last_day)
            case Do(Action.CLOSE):
                status = Status.CLOSING
            case Do(Action.REMOVE):
                assert course.status is not Status.CLOSED or course.archives_settled
                status = Status.REMOVING
            case Ask(kind):
                assert kind in FITS[status]
                assert course.live is None or not course.live.stopping


@given(any_facts(), instants)
def test_asking_for_what_is_wanted_leaves_nothing_to_want(course: CourseFacts, now: datetime) -> None:
    """The reconciler comes to rest: what it asks for is what it then finds."""
    course = replace(course, live=None)
    decisions = planning.wanted(course, SITE, now)
    asked = [one for one in decisions if isinstance(one, Ask)]
    if len(decisions) != 1 or not asked:
        return
    closing = course.closing if asked[0].kind in OF_A_CLOSING else None
    there = replace(course, live=LiveOperation(asked[0].kind, asked[0].revision, closing, stopping=False))
    assert planning.wanted(there, SITE, now) == []
