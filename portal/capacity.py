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


@dataclass(frozen=True, slots=True)
class Profile:
    """The use of a target from a first day on, and for ever with its last step: made once, asked often."""

    days: Sequence[dt.date]
    """On which the use changes, in order; the first one is where it begins."""
    columns: Mapping[str, Sequence[int]]
    """Figure → its use from each of these days on."""

    def highest(self, figure: str, first: dt.date, last: dt.date) -> tuple[int, dt.date]:
        """The highest use of a figure from `first` to `last`, and the first day on which it is reached."""
        if figure not in self.columns:
            return 0, first
        begin, end = bisect_right(self.days, first) - 1, bisect_right(self.days, last)
        window = self.columns[figure][begin:end]
        most = max(window)
        return most, max(first, self.days[begin + window.index(most)])


def profile(held: Iterable[Hold], first: dt.date) -> Profile:
    """The use by all that is held, from a day on."""
    every = list(held)
    steps = use(every, first, horizon(every, first))
    figures = {figure for step in steps.values() for figure in step}
    return Profile(list(steps), {figure: [step.get(figure, 0) for step in steps.values()] for figure in figures})


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
    return holds_together(stay, [demand], grace_days=grace_days, today=today)


def holds_together(stay: Stay, demands: Iterable[Demand], *, grace_days: int, today: dt.date) -> tuple[Hold, ...]:
    """As `holds`, for all courses that are in the same status on the same days: they hold as one large course would."""
    every = list(demands)
    found = []
    stopped = stay.closed_on or stay.last_day + STOPPING_DAYS * _DAY
    if stay.status in HOLDS_COMPUTE:
        found.append(_hold(_sum(map(compute_figures, every)), stay.deploy_day, stopped, today))
    if stay.status in HOLDS_STORAGE:
        gone = stopped + (grace_days + REMOVING_DAYS) * _DAY
        overdue = stay.status is Status.REMOVAL_FAILED
        figures = _sum(map(storage_figures, every))
        found.append(_hold(figures, stay.deploy_day, None if overdue else gone, today))
    return tuple(found)


def _hold(figures: Figures, first: dt.date, last: dt.date | None, today: dt.date) -> Hold:
    overdue = last is not None and last < today
    return Hold(figures, min(first, last or first), None if overdue else last)


def _sum(every: Iterable[Figures]) -> Figures:
    total: dict[str, int] = {}
    for figures in every:
        for name, amount in figures.items():
            total[name] = total.get(name, 0) + amount
    return total


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
    first = min(hold.first for hold in wanted)
    return fits_within(capacity, profile([*held, *replaced], first), wanted, replaced)


def fits_within(capacity: Figures, used: Profile, wanted: Sequence[Hold], replaced: Sequence[Hold] = ()) -> Fit:
    """As `fits`, where `used` is the use by all that is held, `replaced` included. It begins with the first day of
    `wanted`, or before.

    Between two days on which `wanted` or `replaced` change, the tightest day is the first one of the highest use: this
    looks at a few spans, however many courses the others are.
    """
    if not wanted:
        return Fit(())
    first = min(hold.first for hold in wanted)
    if any(hold.last is None for hold in wanted):
        last = max(horizon([*wanted, *replaced], first), used.days[-1])
    else:
        last = max(hold.last or hold.first for hold in wanted)
    new, old = use(wanted, first, last), use(replaced, first, last)
    by_this: Figures = {}
    until_now: Figures = {}
    tightest: dict[str, FigureFit] = {}
    for begin, end in itertools.pairwise([*sorted({*new, *old}), last + _DAY]):
        by_this, until_now = new.get(begin, by_this), old.get(begin, until_now)
        for figure, amount in by_this.items():
            if amount <= 0:
                continue
            by_all, day = used.highest(figure, begin, end - _DAY)
            by_others = by_all - until_now.get(figure, 0)
            there = capacity.get(figure, 0)
            shortfall = max(0, by_others + amount - max(there, by_all))
            one = FigureFit(figure, day, there, by_others, amount, shortfall)
            if figure not in tightest or _tightness(one) > _tightness(tightest[figure]):
                tightest[figure] = one
    return Fit(tuple(tightest[figure] for figure in _ordered(tightest)))


def _tightness(one: FigureFit) -> tuple[int, int]:
    return one.shortfall, one.wanted - one.free


def _ordered(figures: Iterable[str]) -> list[str]:
    own = (MEMORY, CPU, STORAGE)
    return sorted(figures, key=lambda name: (own.index(name) if name in own else len(own), name))
