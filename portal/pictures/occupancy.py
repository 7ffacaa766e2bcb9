"""The capacity calendar of one target: courses as bars, and what they hold of it on each day."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from flask_babel import gettext as _

from course_stack.sizes import Demand
from portal.capacity import CPU, MEMORY, STORAGE, Hold, use
from portal.courses.room import Held, Occupancy, figure_name
from portal.i18n import translate
from portal.pictures.calendar import Bar, Figure, Level, Picture, calendar_picture
from portal.show import COURSE, cores, gib
from portal.show import number as shown_number

MOST_BARS = 60


def amount(figure: str, value: float) -> str:
    """An amount of a figure in words of the request's language."""
    if figure in (MEMORY, STORAGE):
        return gib(value)
    return cores(value) if figure == CPU else shown_number(value)


def name(figure: str) -> str:
    """A figure's name in the request's language; a kind of GPU as it is."""
    text = translate(figure_name(figure))
    return text[:1].upper() + text[1:] if figure in (MEMORY, CPU, STORAGE) else text


def words(figure: str) -> str:
    """A figure's name within a sentence."""
    return translate(figure_name(figure))


def size(demand: Demand) -> str:
    """A course's size in short: memory, cores, storage and GPUs."""
    guarantee = demand.compute.guarantee
    parts = [
        gib(guarantee.memory_mib),
        cores(guarantee.cpu_millicores),
        _("%(size)s disk", size=gib(demand.storage_mib)),
    ]
    return " · ".join([*parts, *(f"{count} {kind}" for kind, count in demand.gpus.items())])


def picture(
    occupancy: Occupancy,
    first: dt.date,
    last: dt.date,
    *,
    url: Callable[[uuid.UUID], str | None],
    wanted: Sequence[Hold] = (),
    wanted_bars: Iterable[Bar] = (),
) -> Picture:
    """From `first` to `last`. `url` gives the address of a course that the reader may know of; others stay nameless.

    `wanted` is drawn on top of what is held: the course that is being decided on.
    """
    days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    shown = _shown(occupancy, first, last)[:MOST_BARS]
    bars = [_bar(held, url(held.id), last) for held in shown]
    held_steps = use((hold for one in occupancy.held for hold in one.holds), first, last)
    wanted_steps = use(wanted, first, last)
    figures = [
        Figure(
            name=name(figure),
            capacity=most,
            levels=levels(figure, held_steps, wanted_steps, last),
            show=partial(amount, figure),
        )
        for figure, most in occupancy.capacity.items()
    ]
    return calendar_picture(days, [*bars, *wanted_bars], figures, occupancy.today)


def hidden(occupancy: Occupancy, first: dt.date, last: dt.date) -> int:
    """How many courses of these days have no bar: more than `MOST_BARS` nobody could read."""
    return max(0, len(_shown(occupancy, first, last)) - MOST_BARS)


def _shown(occupancy: Occupancy, first: dt.date, last: dt.date) -> list[Held]:
    """The courses that hold something in these days; the largest first where there are more than can be drawn."""
    found = [
        held
        for held in occupancy.held
        if any(hold.first <= last and (hold.last is None or hold.last >= first) for hold in held.holds)
    ]
    if len(found) > MOST_BARS:
        found.sort(key=lambda held: (-held.demand.compute.guarantee.memory_mib, held.first_day))
    return found


def levels(
    figure: str,
    held: Mapping[dt.date, Mapping[str, int]],
    wanted: Mapping[dt.date, Mapping[str, int]],
    last: dt.date,
) -> list[Level]:
    """Steps of a figure until `last`; neighbours that are alike are one."""
    found: list[Level] = []
    used = more = 0
    days = sorted({*held, *wanted})
    for day, until in pairwise([*days, last + dt.timedelta(days=1)]):
        used = held[day].get(figure, 0) if day in held else used
        more = wanted[day].get(figure, 0) if day in wanted else more
        end = until - dt.timedelta(days=1)
        if found and (found[-1].used, found[-1].wanted) == (used, more):
            found[-1] = Level(found[-1].first, end, used, more)
        else:
            found.append(Level(day, end, used, more))
    return found


def _bar(held: Held, url: str | None, horizon: dt.date) -> Bar:
    look = COURSE[held.status]
    begins = min(hold.first for hold in held.holds)
    ends = max(hold.last or max(horizon, begins) for hold in held.holds)
    return Bar(
        title=held.title if url else _("Another course"),
        first=begins,
        last=ends,
        tone=look.tone,
        status=translate(look.text),
        url=url or "",
        detail=size(held.demand),
    )
