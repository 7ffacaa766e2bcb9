"""How full a target is on each day, and whether something more has room. Pure functions of figures and days.

A figure is a name with a whole number: memory in MiB, processor time in thousandths of a core, storage in MiB, and one
count for each kind of GPU. Days are whole calendar days of the site: what is needed for a part of a day is held for
all of it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from course_stack.sizes import Demand
from portal.lifecycle import HOLDS_COMPUTE, HOLDS_STORAGE, Status

Figures = Mapping[str, int]
Steps = Mapping[dt.date, Figures]
"""Days in order → figures from that day on."""
MEMORY, CPU, STORAGE = "memory_mib", "cpu_millicores", "storage_mib"
"""Figures that every target has; beside them stand the kinds of GPU (`nvidia.com/gpu`)."""

STOPPING_DAYS = 1
"""After a course's last day: on the day that follows its servers are stopped."""
REMOVING_DAYS = 1
"""After the days of grace: on the day that follows the hub is destroyed and an independent look finds nothing."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hold:
    """Figures that are taken from `first` to `last`, both included; `last` is None where no end is known."""

    figures: Figures
    first: dt.date
    last: dt.date | None


@dataclass(frozen=True, slots=True)
class Stay:
    """What is to be known of a course to say when it holds its part of the target."""

    status: Status
    deploy_day: dt.date
    """On which it is planned to be deployed."""
    last_day: dt.date
    """Its last day, or the day on which it was ended early."""
    closed_on: dt.date | None = None
    """When its last server was verified to be stopped."""


@dataclass(frozen=True, slots=True)
class FigureFit:
    """One figure on its tightest day."""

    figure: str
    day: dt.date
    capacity: int
    held: int
    """By everything else."""
    wanted: int
    shortfall: int
    """What is missing; 0 where it has room, or where nothing is made worse."""

    @property
    def free(self) -> int:
        """Beside everything else; negative on a target that is overcommitted."""
        return self.capacity - self.held


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether something has room, figure by figure."""

    figures: tuple[FigureFit, ...]

    @property
    def fits(self) -> bool:
        return not self.short

    @property
    def short(self) -> tuple[FigureFit, ...]:
        """The figures of which there is too little."""
        return tuple(one for one in self.figures if one.shortfall)


def compute_figures(demand: Demand) -> Figures:
    """What is held only while servers may run: guarantees, and GPUs, which are never shared."""
    guarantee = demand.compute.guarantee
    return {MEMORY: guarantee.memory_mib, CPU: guarantee.cpu_millicores, **demand.gpus}


def storage_figures(demand: Demand) -> Figures:
    """What is held until everything is gone."""
    return {STORAGE: demand.storage_mib}


def holds(stay: Stay, demand: Demand, *, grace_days: int, today: dt.date) -> tuple[Hold, ...]:
    """What a course holds of its target, and when.

    Compute from the planned deploy until its servers are stopped, storage until the independent look. What is overdue
    has no known end: it is held until it is really gone. A course that holds nothing gives ().
    """
    found = []
    stopped = stay.closed_on or stay.last_day + STOPPING_DAYS * _DAY
    if stay.status in HOLDS_COMPUTE:
        found.append(_hold(compute_figures(demand), stay.deploy_day, stopped, today))
    if stay.status in HOLDS_STORAGE:
        gone = stopped + (grace_days + REMOVING_DAYS) * _DAY
        overdue = stay.status is Status.REMOVAL_FAILED
        found.append(_hold(storage_figures(demand), stay.deploy_day, None if overdue else gone, today))
    return tuple(found)


def planned(demand: Demand, deploy_day: dt.date, last_day: dt.date, *, grace_days: int) -> tuple[Hold, ...]:
    """What a course would hold if it were approved: as `holds` counts it once it is."""
    stay = Stay(Status.APPROVED, deploy_day, last_day)
    return holds(stay, demand, grace_days=grace_days, today=min(deploy_day, last_day))


def _hold(figures: Figures, first: dt.date, last: dt.date | None, today: dt.date) -> Hold:
    overdue = last is not None and last < today
    return Hold(figures, min(first, last or first), None if overdue else last)


def use(held: Iterable[Hold], first: dt.date, last: dt.date) -> Steps:
    """The use of a target from `first` to `last` as steps: each day on which it changes → figures from that day on.

    In order of days; the first step is `first` itself. Grows with the number of holds, not of days.
    """
    changes: dict[dt.date, dict[str, int]] = {first: {}}

    def change(day: dt.date, figures: Figures, sign: int) -> None:
        there = changes.setdefault(day, {})
        for name, amount in figures.items():
            there[name] = there.get(name, 0) + sign * amount

    for hold in held:
        begin = max(hold.first, first)
        if begin > last or (hold.last is not None and hold.last < begin):
            continue
        change(begin, hold.figures, 1)
        if hold.last is not None and hold.last < last:
            change(hold.last + _DAY, hold.figures, -1)
    steps: dict[dt.date, dict[str, int]] = {}
    now: dict[str, int] = {}
    for day in sorted(changes):
        now = {**now, **{name: now.get(name, 0) + amount for name, amount in changes[day].items()}}
        steps[day] = now
    return steps


def horizon(every: Iterable[Hold], after: dt.date) -> dt.date:
    """A day from which on nothing changes any more; not before `after`."""
    ends = ((hold.last or hold.first) + _DAY for hold in every)
    return max(itertools.chain([after], ends))


def fits(capacity: Figures, held: Iterable[Hold], wanted: Sequence[Hold], replaced: Sequence[Hold] = ()) -> Fit:
    """Whether `wanted` has room beside what others have `held`, from its first day to its last.

    `replaced` is what the same course holds already and would give up for it; it is not in `held`. Where a target is
    overcommitted, a course may take less or as much as it has, and never more. Each figure is told of its tightest
    day: the one on which most is missing, or least is left.
    """
    if not wanted:
        return Fit(())
    everything = [*held, *replaced]
    first = min(hold.first for hold in wanted)
    return fits_within(capacity, use(everything, first, horizon([*everything, *wanted], first)), wanted, replaced)


def fits_within(capacity: Figures, used: Steps, wanted: Sequence[Hold], replaced: Sequence[Hold] = ()) -> Fit:
    """As `fits`, where `used` are the steps of all that is held, `replaced` included: made once, asked often.

    `used` begins with the first day of `wanted`, or before, and lasts for ever with its last step.
    """
    if not wanted:
        return Fit(())
    first = min(hold.first for hold in wanted)
    if any(hold.last is None for hold in wanted):
        last = max(horizon([*wanted, *replaced], first), *used)
    else:
        last = max(hold.last or hold.first for hold in wanted)
    days = list(used)
    begin, end = bisect_right(days, first), bisect_right(days, last)
    lines = [used, use(wanted, first, last), use(replaced, first, last)]
    now: list[Figures] = [used[days[begin - 1]] if begin else {}, {}, {}]
    tightest: dict[str, FigureFit] = {}
    for day in sorted({*days[begin:end], *lines[1], *lines[2]}):
        now = [line.get(day, before) for line, before in zip(lines, now, strict=True)]
        by_all, by_this, until_now = now
        for figure, amount in by_this.items():
            if amount <= 0:
                continue
            there, used_by_all = capacity.get(figure, 0), by_all.get(figure, 0)
            by_others = used_by_all - until_now.get(figure, 0)
            shortfall = max(0, by_others + amount - max(there, used_by_all))
            one = FigureFit(figure, day, there, by_others, amount, shortfall)
            if figure not in tightest or _tightness(one) > _tightness(tightest[figure]):
                tightest[figure] = one
    return Fit(tuple(tightest[figure] for figure in _ordered(tightest)))


def peak(steps: Mapping[dt.date, Figures], figure: str) -> tuple[int, dt.date]:
    """The highest use of a figure, and the first day on which it is reached."""
    return max(
        ((step.get(figure, 0), day) for day, step in steps.items()), key=lambda one: (one[0], -one[1].toordinal())
    )


def _tightness(one: FigureFit) -> tuple[int, int]:
    return one.shortfall, one.wanted - one.free


def _ordered(figures: Iterable[str]) -> list[str]:
    own = (MEMORY, CPU, STORAGE)
    return sorted(figures, key=lambda name: (own.index(name) if name in own else len(own), name))
