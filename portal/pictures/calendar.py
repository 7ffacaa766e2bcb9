"""The capacity calendar as geometry: which course runs when, and how full the target is on each day.

Pure: days, courses and levels go in, positions in user units of an SVG come out. `macros/calendar.html` draws them and
sets the same facts as tables below, for everybody who does not look at pictures.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Zoom = Literal["week", "month", "term", "year"]

WIDTH = 1000.0
LANE = 30.0
BAR = 24.0
CHART = 72.0
GAP = 46.0
"""Above a chart, for its name."""
HEAD = 44.0
"""Above the lanes, for months and days."""
_LETTER = 7.4
"""Width of an average letter of a bar's text, estimated: the server does not know the browser's font."""
_PADDING = 7.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A course in the calendar. `first` and `last` are the days from and to which it holds the target's resources."""

    title: str
    first: dt.date
    last: dt.date
    tone: str
    """As in `portal.show.Look`."""
    status: str
    """In words of the reader's language."""
    url: str = ""
    detail: str = ""
    """Its size in words."""
    wanted: bool = False
    """The course that is being decided on."""


@dataclass(frozen=True, slots=True)
class Level:
    """Use between two days (both included); `wanted` is what the course that is being decided on would add."""

    first: dt.date
    last: dt.date
    used: float
    wanted: float = 0

    @property
    def total(self) -> float:
        return self.used + self.wanted


@dataclass(frozen=True, slots=True)
class Figure:
    """Memory, processor cores, storage or GPUs of the target: how much there is, and how much is used when.

    `levels` are in order and do not overlap; days that none covers use nothing. `show` writes an amount in words.
    """

    name: str
    capacity: float
    levels: Sequence[Level]
    show: Callable[[float], str] = "{:g}".format


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A vertical line at the beginning of a day, with the day it stands for."""

    x: float
    day: dt.date


@dataclass(frozen=True, slots=True)
class Shape:
    """A bar and where its text begins. `text` is the title, shortened where it would leave the picture."""

    bar: Bar
    box: Box
    text: str
    text_x: float
    text_y: float
    begins_before: bool
    ends_after: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A step chart as paths, with the line of the capacity."""

    figure: Figure
    top: float
    capacity_y: float
    used: str
    wanted: str
    over: str
    edge: str
    peak: Level | None
    """The fullest days that are shown."""

    @property
    def bottom(self) -> float:
        return self.top + CHART

    @property
    def is_over(self) -> bool:
        return self.peak is not None and self.peak.total > self.figure.capacity


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn, and the days and facts it was made from."""

    first: dt.date
    last: dt.date
    height: float
    weekends: tuple[Box, ...]
    months: tuple[Tick, ...]
    days: tuple[Tick, ...]
    """Days with a text of their own: each day, each Monday, or none."""
    each_day: bool
    today_x: float | None
    shapes: tuple[Shape, ...]
    charts: tuple[Chart, ...]
    width: float = WIDTH


def calendar_picture(
    days: Sequence[dt.date], bars: Sequence[Bar], figures: Sequence[Figure], today: dt.date | None = None
) -> Picture:
    """Place everything between the first and the last of `days`; bars lie in as few lanes as possible, in order."""
    first, last = days[0], days[-1]
    scale = _Scale(first, last)
    shapes, lanes = _lanes([bar for bar in bars if bar.last >= first and bar.first <= last], scale)
    lanes_end = HEAD + max(lanes, 1) * LANE + 6
    charts = tuple(
        _chart(figure, lanes_end + GAP + number * (CHART + GAP), scale) for number, figure in enumerate(figures)
    )
    height = charts[-1].bottom + 8 if charts else lanes_end
    count = len(scale)
    every = _each(first, last)
    labelled = [day for day in every if count <= 45 or (count <= 200 and day.weekday() == 0)]
    return Picture(
        first=first,
        last=last,
        height=height,
        weekends=tuple(
            Box(scale.x(day), HEAD - 20, scale.day, height - HEAD + 20)
            for day in (every if count <= 200 else ())
            if day.weekday() >= 5
        ),
        months=tuple(Tick(scale.x(day), day) for day in every if day.day == 1 or day == first),
        days=tuple(Tick(scale.x(day), day) for day in labelled),
        each_day=count <= 45,
        today_x=scale.x(today) if today is not None and first <= today <= last else None,
        shapes=tuple(shapes),
        charts=charts,
    )


def span(zoom: Zoom, day: dt.date) -> tuple[dt.date, dt.date]:
    """First and last day of the week, month, term (half-years from April and October) or year around a day."""
    match zoom:
        case "week":
            first = day - dt.timedelta(days=day.weekday())
            return first, first + dt.timedelta(days=6)
        case "month":
            return day.replace(day=1), _month(day, 1) - dt.timedelta(days=1)
        case "term":
            start = _month(day, -((day.month - 4) % 6))
            return start, _month(start, 6) - dt.timedelta(days=1)
        case "year":
            return dt.date(day.year, 1, 1), dt.date(day.year, 12, 31)


def neighbours(zoom: Zoom, day: dt.date) -> tuple[dt.date, dt.date]:
    """A day in the span before, and one in the span after."""
    first, last = span(zoom, day)
    return first - dt.timedelta(days=1), last + dt.timedelta(days=1)


class _Scale:
    """From days to positions."""

    def __init__(self, first: dt.date, last: dt.date) -> None:
        self._first, self._last = first, last
        self.day = WIDTH / len(self)

    def __len__(self) -> int:
        return (self._last - self._first).days + 1

    def x(self, day: dt.date) -> float:
        """Where a day begins, within the picture."""
        return round(min(max((day - self._first).days, 0), len(self)) * self.day, 2)

    def end(self, day: dt.date) -> float:
        """Where a day is over."""
        return self.x(day + dt.timedelta(days=1))


def _lanes(bars: Iterable[Bar], scale: _Scale) -> tuple[list[Shape], int]:
    """Each bar in the first lane where it, with its text, is in nobody's way; the lanes' number."""
    ends: list[float] = []
    shapes = []
    for bar in sorted(bars, key=lambda bar: (bar.first, bar.last, bar.title)):
        left, right = scale.x(bar.first), scale.end(bar.last)
        text, text_x, text_end = _text(bar.title, left, right)
        lane = next((number for number, end in enumerate(ends) if end <= left), len(ends))
        ends[lane : lane + 1] = [right if text_end <= right else text_end + 3]
        top = HEAD + lane * LANE + 3
        shapes.append(
            Shape(
                bar=bar,
                box=Box(left + 0.75, top, max(right - left - 1.5, 2), BAR),
                text=text,
                text_x=text_x,
                text_y=top + BAR / 2 + 4.5,
                begins_before=scale.x(bar.first) == 0 and bar.first < _day_at(scale, 0),
                ends_after=bar.last > _day_at(scale, len(scale) - 1),
            )
        )
    return shapes, len(ends)


def _text(title: str, left: float, right: float) -> tuple[str, float, float]:
    """A bar's text, where it begins and where it ends: in the bar, else beside it, else shortened."""
    width = len(title) * _LETTER
    if width + 2 * _PADDING <= right - left:
        return title, left + _PADDING, right
    if right + _PADDING + width <= WIDTH:
        return title, right + _PADDING, right + _PADDING + width
    room = int((right - left - 2 * _PADDING) / _LETTER)
    beside = int((WIDTH - right - _PADDING) / _LETTER)
    if beside > max(room, 3):
        return _short(title, beside), right + _PADDING, WIDTH
    return _short(title, room), left + _PADDING, right


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…" if letters > 1 else ""


def _chart(figure: Figure, top: float, scale: _Scale) -> Chart:
    shown = [level for level in figure.levels if level.last >= _day_at(scale, 0) and level.first <= scale._last]  # noqa: SLF001
    peak = max(shown, key=lambda level: level.total, default=None)
    most = max(figure.capacity, peak.total if peak else 0, 1e-9) * 1.04
    bottom = top + CHART

    def y(amount: float) -> float:
        return round(bottom - amount / most * CHART, 2)

    def area(between: Callable[[Level], tuple[float, float]]) -> str:
        return " ".join(
            f"M{scale.x(level.first):g} {y(low):g}V{y(high):g}H{scale.end(level.last):g}V{y(low):g}Z"
            for level in shown
            for low, high in [between(level)]
            if high > low
        )

    capacity = figure.capacity
    return Chart(
        figure=figure,
        top=top,
        capacity_y=y(capacity),
        used=area(lambda level: (0, min(level.used, capacity))),
        wanted=area(lambda level: (min(level.used, capacity), min(level.total, capacity))),
        over=area(lambda level: (min(level.total, capacity), level.total)),
        edge=_edge(shown, scale, y),
        peak=peak,
    )


def _edge(levels: Sequence[Level], scale: _Scale, y: Callable[[float], float]) -> str:
    """The line along the top of the steps."""
    path, before = [], None
    for level in levels:
        left, right, height = scale.x(level.first), scale.end(level.last), y(level.total)
        path.append(f"V{height:g}H{right:g}" if before == left else f"M{left:g} {height:g}H{right:g}")
        before = right
    return "".join(path)


def _day_at(scale: _Scale, number: int) -> dt.date:
    return scale._first + dt.timedelta(days=number)  # noqa: SLF001


def _each(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]


def _month(day: dt.date, later: int) -> dt.date:
    """The first day of the month that many months later."""
    number = day.year * 12 + day.month - 1 + later
    return dt.date(number // 12, number % 12 + 1, 1)


def steps(amounts: Sequence[tuple[dt.date, float, float]]) -> Iterator[Level]:
    """Levels from (day, used, wanted), one for each day in order: equal neighbours become one."""
    start = 0
    for number in range(1, len(amounts) + 1):
        if number == len(amounts) or amounts[number][1:] != amounts[start][1:]:
            first, used, wanted = amounts[start]
            yield Level(first, amounts[number - 1][0], used, wanted)
            start = number
