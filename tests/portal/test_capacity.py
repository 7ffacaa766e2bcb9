"""How full a target is, against a model that counts day by day."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_stack.sizes import Compute, Demand, Size
from portal.capacity import (
    CPU,
    MEMORY,
    STORAGE,
    FigureFit,
    Fit,
    Hold,
    Stay,
    fits,
    fits_within,
    holds,
    holds_together,
    profile,
    use,
)
from portal.lifecycle import Status

DAY = timedelta(days=1)
START = dt.date(2027, 3, 20)
"""Daylight saving begins in the days that follow; days are calendar days and must not care."""
GPU = "nvidia.com/gpu"
DEMAND = Demand(Size(Compute(1000, 500), Compute(4000, 2000)), 9000, {GPU: 2})


def planned(demand: Demand, first: dt.date, last: dt.date, *, grace_days: int) -> tuple[Hold, ...]:
    """What a course that is deployed on `first` holds from then on."""
    return holds(Stay(Status.APPROVED, first, last), demand, grace_days=grace_days, today=first)


days = st.integers(0, 30).map(lambda n: START + n * DAY)
figures = st.dictionaries(st.sampled_from([MEMORY, CPU, STORAGE, GPU]), st.integers(0, 20), max_size=4)


@st.composite
def some_holds(draw: st.DrawFn, most: int = 6) -> list[Hold]:
    return [
        Hold(draw(figures), first, draw(st.one_of(st.none(), st.integers(0, 12).map(lambda n: first + n * DAY))))  # noqa: B023
        for first in draw(st.lists(days, max_size=most))
    ]


def on(day: dt.date, held: list[Hold]) -> Counter[str]:
    """The brute force: everything that covers one day."""
    total: Counter[str] = Counter()
    for hold in held:
        if hold.first <= day and (hold.last is None or day <= hold.last):
            total.update(hold.figures)
    return total


@given(some_holds(), days, st.integers(0, 20))
def test_the_steps_say_for_each_day_what_is_held_on_it(held: list[Hold], first: dt.date, length: int) -> None:
    steps = use(held, first, first + length * DAY)
    assert min(steps) == first
    for n in range(length + 1):
        day = first + n * DAY
        step = steps[max(begin for begin in steps if begin <= day)]
        assert +Counter(step) == +on(day, held)


@given(figures, some_holds(), some_holds(2), some_holds(2))
def test_something_has_room_exactly_if_no_day_becomes_or_stays_overcommitted_by_it(
    capacity: dict[str, int], held: list[Hold], wanted: list[Hold], replaced: list[Hold]
) -> None:
    fit = fits(capacity, held, wanted, replaced)
    missing: Counter[str] = Counter()
    for n in range(60):
        day = START + n * DAY
        if not wanted or day < min(hold.first for hold in wanted):
            continue
        others, new, old = on(day, held), on(day, wanted), on(day, replaced)
        for figure in +new:
            most = max(capacity.get(figure, 0), others[figure] + old[figure])
            missing[figure] = max(missing[figure], others[figure] + new[figure] - most)
    assert {one.figure: one.shortfall for one in fit.short} == dict(+missing)
    assert fit.fits is not +missing


def plainly(capacity: dict[str, int], held: list[Hold], wanted: list[Hold], replaced: list[Hold]) -> set[FigureFit]:
    """The answer day by day: of each figure the first of its tightest days."""
    tightest: dict[str, tuple[tuple[int, int], FigureFit]] = {}
    for day in (START + n * DAY for n in range(60)):
        others, new, old = on(day, held), on(day, wanted), on(day, replaced)
        for figure, amount in (+new).items():
            there = capacity.get(figure, 0)
            shortfall = max(0, others[figure] + amount - max(there, others[figure] + old[figure]))
            key = (shortfall, others[figure] + amount - there)
            if figure not in tightest or key > tightest[figure][0]:
                tightest[figure] = key, FigureFit(figure, day, there, others[figure], amount, shortfall)
    return {one for _, one in tightest.values()}


@given(figures, some_holds(20), some_holds(2), some_holds(2), st.integers(0, 5))
def test_a_profile_made_once_answers_as_counting_day_by_day_does(
    capacity: dict[str, int], held: list[Hold], wanted: list[Hold], replaced: list[Hold], earlier: int
) -> None:
    used = profile([*held, *replaced], START - earlier * DAY)
    assert set(fits_within(capacity, used, wanted, replaced).figures) == plainly(capacity, held, wanted, replaced)


@given(figures, some_holds(), some_holds(2))
def test_each_figure_tells_of_its_tightest_day(capacity: dict[str, int], held: list[Hold], wanted: list[Hold]) -> None:
    for one in fits(capacity, held, wanted).figures:
        if one.shortfall:
            continue  # then it is the day on which most is missing, which the test above looks at
        assert one.held == on(one.day, held)[one.figure]
        assert one.wanted == on(one.day, wanted)[one.figure]
        for n in range(60):
            day = START + n * DAY
            if on(day, wanted)[one.figure] > 0:
                left = capacity.get(one.figure, 0) - on(day, held)[one.figure] - on(day, wanted)[one.figure]
                assert left >= one.free - one.wanted


@given(figures, some_holds(), some_holds(2))
def test_an_overcommitted_target_takes_less_and_as_much_but_never_more(
    capacity: dict[str, int], held: list[Hold], own: list[Hold]
) -> None:
    less = [Hold({name: amount // 2 for name, amount in hold.figures.items()}, hold.first, hold.last) for hold in own]
    assert fits(capacity, held, own, replaced=own).fits
    assert fits(capacity, held, less, replaced=own).fits
    more = [Hold({MEMORY: on(hold.first, own)[MEMORY] + 1}, hold.first, hold.first) for hold in own]
    full = {**capacity, MEMORY: 0}
    for hold in more:
        assert not fits(full, held, [hold], replaced=own).fits


def test_a_course_holds_compute_until_its_servers_are_stopped_and_storage_until_all_is_gone() -> None:
    compute, storage = planned(DEMAND, START, START + 10 * DAY, grace_days=14)
    assert compute == Hold({MEMORY: 1000, CPU: 500, GPU: 2}, START, START + 11 * DAY)
    assert storage == Hold({STORAGE: 9000}, START, START + 26 * DAY)


@pytest.mark.parametrize(
    "status", [Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE, Status.CLOSING]
)
def test_a_course_that_should_be_over_is_held_until_it_really_is(status: Status) -> None:
    stay = Stay(status, START, START + 10 * DAY)
    on_time = holds(stay, DEMAND, grace_days=14, today=START + 11 * DAY)
    assert [hold.last for hold in on_time] == [START + 11 * DAY, START + 26 * DAY]
    late = holds(stay, DEMAND, grace_days=14, today=START + 12 * DAY)
    assert [hold.last for hold in late] == [None, START + 26 * DAY]
    assert [hold.last for hold in holds(stay, DEMAND, grace_days=14, today=START + 27 * DAY)] == [None, None]


def test_a_closed_course_holds_storage_alone_counted_from_when_it_was_closed() -> None:
    stay = Stay(Status.CLOSED, START, START + 10 * DAY, closed_on=START + 13 * DAY)
    assert holds(stay, DEMAND, grace_days=14, today=START + 14 * DAY) == (
        Hold({STORAGE: 9000}, START, START + 28 * DAY),
    )


def test_a_failed_removal_has_no_known_end() -> None:
    stay = Stay(Status.REMOVAL_FAILED, START, START + 10 * DAY, closed_on=START + 10 * DAY)
    assert [hold.last for hold in holds(stay, DEMAND, grace_days=14, today=START + 11 * DAY)] == [None]


@pytest.mark.parametrize(
    "status",
    [Status.REQUESTED, Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED, Status.ARCHIVED, Status.PURGED],
)
def test_what_is_not_approved_or_is_gone_holds_nothing(status: Status) -> None:
    assert holds(Stay(status, START, START + 10 * DAY), DEMAND, grace_days=14, today=START) == ()


def test_a_kind_of_gpu_that_the_target_lacks_is_missing_whole() -> None:
    fit = fits({MEMORY: 2000, CPU: 2000, STORAGE: 9000}, [], planned(DEMAND, START, START, grace_days=0))
    assert [(one.figure, one.shortfall) for one in fit.short] == [(GPU, 2)]


def test_two_courses_that_follow_each_other_share_the_compute_and_not_the_storage() -> None:
    capacity = {MEMORY: 1000, CPU: 500, STORAGE: 9000, GPU: 2}
    before = planned(DEMAND, START, START + 10 * DAY, grace_days=14)
    after = planned(DEMAND, START + 12 * DAY, START + 20 * DAY, grace_days=14)
    fit = fits(capacity, before, after)
    assert [(one.figure, one.day, one.shortfall) for one in fit.short] == [(STORAGE, START + 12 * DAY, 9000)]


def test_the_highest_use_is_told_with_the_first_day_on_which_it_is_reached() -> None:
    used = profile([Hold({MEMORY: 1}, START, None), Hold({MEMORY: 4}, START + DAY, START + 2 * DAY)], START)
    assert used.highest(MEMORY, START, START + 5 * DAY) == (5, START + DAY)
    assert used.highest(MEMORY, START + 2 * DAY, START + 5 * DAY) == (5, START + 2 * DAY)
    assert used.highest(MEMORY, START + 3 * DAY, START + 5 * DAY) == (1, START + 3 * DAY)
    assert used.highest(STORAGE, START, START + 5 * DAY) == (0, START)


@pytest.mark.parametrize("status", list(Status))
def test_courses_of_the_same_days_hold_together_what_each_of_them_holds(status: Status) -> None:
    other = Demand(Size(Compute(70, 30), Compute(70, 30)), 100, {"amd.com/gpu": 1})
    stay = Stay(status, START, START + 10 * DAY)
    together = holds_together(stay, [DEMAND, other, other], grace_days=14, today=START)
    one_by_one = [hold for one in (DEMAND, other, other) for hold in holds(stay, one, grace_days=14, today=START)]
    assert profile(together, START) == profile(one_by_one, START)


def test_nothing_wanted_fits() -> None:
    assert fits({}, [], []) == Fit(())
