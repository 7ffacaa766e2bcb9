"""What a benchmark returns: a figure beside the bound that was promised."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise, measured. `samples` in `unit`; the median is held against `bound` (None: only a fact)."""

    name: str
    unit: str
    samples: tuple[float, ...]
    bound: float | None = None
    note: str = ""
    detail: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """Median over bound: at most 1 where the promise holds."""
        return None if self.bound is None else self.median / self.bound


def seconds(action: Callable[[], object], times: int = 1) -> tuple[float, ...]:
    """Wall-clock seconds of `action`, `times` times one after the other."""
    samples = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        samples.append(time.perf_counter() - start)
    return tuple(samples)
