"""Cases in which every two positions of every two switches occur together at least once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any


def pairwise(switches: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Greedy, and the same at every run: each case takes the positions that meet most pairs not seen yet."""
    names = list(switches)
    left = {
        (one, other, i, j)
        for one, other in itertools.combinations(names, 2)
        for i in range(len(switches[one]))
        for j in range(len(switches[other]))
    }
    cases = []
    while left:
        first = min(left)
        chosen = {first[0]: first[2], first[1]: first[3]}
        for name in names:
            if name not in chosen:
                chosen[name] = max(
                    range(len(switches[name])), key=lambda position: _met(left, names, {**chosen, name: position})
                )
        left -= set(_pairs(names, chosen))
        cases.append({name: switches[name][chosen[name]] for name in names})
    return cases


def _met(left: set[tuple[str, str, int, int]], names: list[str], chosen: dict[str, int]) -> int:
    return sum(pair in left for pair in _pairs(names, chosen))


def _pairs(names: list[str], chosen: dict[str, int]) -> list[tuple[str, str, int, int]]:
    there = [name for name in names if name in chosen]
    return [(one, other, chosen[one], chosen[other]) for one, other in itertools.combinations(there, 2)]
