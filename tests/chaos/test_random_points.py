"""Killed at any moment: the operation, what is killed, and the request at which, are drawn from a printed seed.

`CHAOS_SEED` repeats a run, `CHAOS_ROUNDS` sets its length (default 50).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.chaos.conftest import Arena, Victim
from tests.support.proxy import Request

pytestmark = [pytest.mark.machine, pytest.mark.long, pytest.mark.timeout(3 * 3600)]

SLUG = "chaos-random"
VICTIMS: tuple[Victim, ...] = ("tree", "child", "starter")
NEXT = {
    "deploy": ("deploy", "deploy", "destroy"),
    "update": ("update", "deploy", "destroy"),
    "destroy": ("destroy", "destroy", "deploy"),
}
"""What may follow a killed operation."""


@dataclass
class Round:
    """One row of the table."""

    number: int
    kind: str
    victim: Victim
    moment: Literal["before", "after"]
    request: int
    place: str = ""
    next_kind: str = ""
    seconds: float = 0.0

    HEADING = f"{'#':>3}  {'operation':<9} {'killed':<8} {'at request':<58} {'next run':<9} {'seconds':>7}"

    def __str__(self) -> str:
        place = f"{self.moment} {self.request}: {self.place}"[:58]
        return f"{self.number:>3}  {self.kind:<9} {self.victim:<8} {place:<58} {self.next_kind:<9} {self.seconds:>7.1f}"


def test_every_next_run_converges(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    rounds = int(os.environ.get("CHAOS_ROUNDS", "50"))
    draw = random.Random(seed)
    lengths = measure(arena)
    there = False
    with capsys.disabled():
        print(f"\nseed {seed}; requests of an undisturbed run: {lengths}\n{Round.HEADING}")
        number = 1
        while number <= rounds:
            kind = draw.choice(("update", "update", "destroy", "deploy")) if there else "deploy"
            row = Round(
                number, kind, draw.choice(VICTIMS), draw.choice(("before", "after")), draw.randint(1, lengths[kind])
            )
            row.next_kind = draw.choice(NEXT[kind])
            if play(arena, row):
                print(row, flush=True)
                number += 1
            else:
                # It had fewer requests to make than when it was measured: another draw.
                row.next_kind = kind
            there = row.next_kind != "destroy"
        arena.stacks().destroy(SLUG)
    arena.assert_gone(SLUG)
    arena.assert_bystander_untouched()


def play(arena: Arena, row: Round) -> bool:
    """One round; False if the operation was over before the request at which to kill it."""
    begun = time.monotonic()
    title = f"Chaos, round {row.number}"
    counter = itertools.count(1)

    def at(request: Request) -> bool:
        hit = next(counter) == row.request
        if hit:
            row.place = f"{request.method} {request.path}"
        return hit

    if not arena.kill(arena.start(row.kind, SLUG, title), row.victim, "any", row.moment, at):
        return False
    if row.next_kind == "destroy":
        arena.stacks().destroy(SLUG)
        arena.assert_gone(SLUG)
    else:
        # An update needs a stack, and the deploy or destroy before it may have been killed on either side of it.
        kind = "update" if row.next_kind == "update" and SLUG in arena.stacks().names() else "deploy"
        getattr(arena.stacks(), kind)(arena.spec(SLUG, title))
        arena.assert_whole(SLUG)
    arena.assert_bystander_untouched()
    row.seconds = time.monotonic() - begun
    return True


def measure(arena: Arena) -> dict[str, int]:
    """How many requests an undisturbed deploy, update and destroy make, less a margin: every draw is reached."""
    lengths = {}
    for kind in ("deploy", "update", "destroy"):
        for proxy in arena.proxies.values():
            proxy.requests.clear()
        if kind == "destroy":
            arena.stacks().destroy(SLUG)
        else:
            getattr(arena.stacks(), kind)(arena.spec(SLUG, f"Measured {kind}"))
        made = sum(len(proxy.requests) for proxy in arena.proxies.values())
        lengths[kind] = made * 9 // 10
    return lengths
