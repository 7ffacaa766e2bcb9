"""The capacity calendar's geometry: everything is where its days are, and nothing leaves the picture."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.pictures.calendar import (
    CHART,
    HEAD,
    WIDTH,
    Bar,
    Figure,
    Level,
    Zoom,
    calendar_picture,
    neighbours,
    span,
    steps,
)

MONDAY = dt.date(2027, 3, 1)
WEEK = [MONDAY + dt.timedelta(days=number) for number in range(7)]
DAY = WIDTH / 7


def bar(first: int, last: int, title: str = "Course") -> Bar:
    return Bar(title, MONDAY + dt.timedelta(days=first), MONDAY + dt.timedelta(days=last), "good", "active")


def level(first: int, last: int, used: float, wanted: float = 0) -> Level:
    return Level(MONDAY + dt.timedelta(days=first), MONDAY + dt.timedelta(days=last), used, wanted)


def test_a_bar_begins_with_its_first_day_and_ends_with_its_last() -> None:
    (shape,) = calendar_picture(WEEK, [bar(1, 2)], []).shapes
    assert shape.box.x == pytest.approx(DAY, abs=1)
    assert shape.box.width == pytest.approx(2 * DAY, abs=2)


def test_bars_of_other_days_are_not_drawn_and_long_ones_are_cut() -> None:
    picture = calendar_picture(WEEK, [bar(-9, -1), bar(7, 20), bar(-5, 30, "Long")], [])
    (shape,) = picture.shapes
    assert (shape.bar.title, shape.begins_before, shape.ends_after) == ("Long", True, True)
    assert shape.box.x >= 0
    assert shape.box.x + shape.box.width <= WIDTH


def test_courses_after_each_other_share_a_lane_and_courses_at_once_do_not() -> None:
    picture = calendar_picture(WEEK, [bar(0, 1, "A"), bar(2, 3, "B"), bar(3, 6, "C")], [])
    lanes = {shape.bar.title: shape.box.y for shape in picture.shapes}
    assert lanes["A"] == lanes["B"] != lanes["C"]


@given(st.lists(st.tuples(st.integers(-5, 9), st.integers(0, 9), st.text(max_size=60)), max_size=12))
def test_no_two_bars_of_a_lane_are_in_each_others_way(courses: list[tuple[int, int, str]]) -> None:
    picture = calendar_picture(WEEK, [bar(first, first + length, title) for first, length, title in courses], [])
    for one in picture.shapes:
        assert one.box.x >= 0
        assert one.box.x + one.box.width <= WIDTH
        assert one.box.y + one.box.height <= picture.height
        for other in picture.shapes:
            if one is not other and one.box.y == other.box.y:
                assert one.box.x + one.box.width <= other.box.x or other.box.x + other.box.width <= one.box.x


def test_a_title_that_does_not_fit_stands_beside_its_bar_or_is_shortened() -> None:
    picture = calendar_picture(WEEK, [bar(0, 0, "A title that is longer than one day"), bar(6, 6, "x" * 200)], [])
    beside, cut = picture.shapes
    assert beside.text == "A title that is longer than one day"
    assert beside.text_x > beside.box.x + beside.box.width
    assert cut.text.endswith("…")


def test_use_is_drawn_up_to_the_capacity_and_hatched_above_it() -> None:
    figure = Figure("Memory", 10, [level(0, 1, 5), level(2, 3, 8, 4), level(4, 6, 10)])
    (chart,) = calendar_picture(WEEK, [], [figure]).charts
    assert chart.is_over
    assert chart.peak == level(2, 3, 8, 4)
    assert chart.over.count("M") == 1
    assert chart.wanted.count("M") == 1
    assert chart.used.count("M") == 3
    assert chart.top < chart.capacity_y < chart.top + CHART


def test_a_target_without_anything_is_an_empty_picture() -> None:
    picture = calendar_picture(WEEK, [], [Figure("Memory", 0, [])])
    assert picture.shapes == ()
    assert picture.charts[0].peak is None
    assert not picture.charts[0].is_over
    assert picture.height > HEAD


def test_today_is_marked_only_where_it_is() -> None:
    assert calendar_picture(WEEK, [], [], MONDAY + dt.timedelta(days=2)).today_x == pytest.approx(2 * DAY, abs=0.01)
    assert calendar_picture(WEEK, [], [], MONDAY - dt.timedelta(days=1)).today_x is None


def test_weekends_are_saturdays_and_sundays() -> None:
    picture = calendar_picture(WEEK, [], [])
    assert [round(box.x / DAY) for box in picture.weekends] == [5, 6]


@pytest.mark.parametrize(
    ("zoom", "day", "first", "last"),
    [
        ("week", "2027-03-07", "2027-03-01", "2027-03-07"),
        ("month", "2028-02-29", "2028-02-01", "2028-02-29"),
        ("term", "2027-01-15", "2026-10-01", "2027-03-31"),
        ("term", "2027-04-01", "2027-04-01", "2027-09-30"),
        ("term", "2026-10-01", "2026-10-01", "2027-03-31"),
        ("year", "2027-12-31", "2027-01-01", "2027-12-31"),
    ],
)
def test_what_a_zoom_shows(zoom: Zoom, day: str, first: str, last: str) -> None:
    assert span(zoom, dt.date.fromisoformat(day)) == (dt.date.fromisoformat(first), dt.date.fromisoformat(last))


@given(st.sampled_from(["week", "month", "term", "year"]), st.dates(dt.date(2000, 1, 1), dt.date(2100, 1, 1)))
def test_neighbours_lie_beside(zoom: Zoom, day: dt.date) -> None:
    first, last = span(zoom, day)
    before, after = neighbours(zoom, day)
    assert first <= day <= last
    assert span(zoom, before)[1] + dt.timedelta(days=1) == first
    assert span(zoom, after)[0] - dt.timedelta(days=1) == last


def test_equal_days_are_one_step() -> None:
    amounts = [(day, float(number // 3), 0.0) for number, day in enumerate(WEEK)]
    assert list(steps(amounts)) == [level(0, 2, 0), level(3, 5, 1), level(6, 6, 2)]
    assert list(steps([])) == []
