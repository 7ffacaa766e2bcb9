from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from automation.locks import why_alive
from automation.state import Lock

TAKEN = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


def lock(host: str = "here") -> Lock:
    return Lock(".pulumi/locks/organization/jhaas-course/physics/1.json", 4711, host, "root", TAKEN)


def test_no_such_process_is_a_dead_owner() -> None:
    assert why_alive(lock(), "here", lambda _: None) is None


def test_a_process_younger_than_the_lock_is_another_one_of_the_same_number() -> None:
    assert why_alive(lock(), "here", lambda _: TAKEN + timedelta(minutes=1)) is None


@pytest.mark.parametrize("before", [timedelta(seconds=-1), timedelta(), timedelta(days=3)])
def test_a_process_as_old_as_the_lock_may_be_its_owner(before: timedelta) -> None:
    assert why_alive(lock(), "here", lambda _: TAKEN - before) == "process 4711 lives"


def test_another_machine_proves_nothing_whatever_lives_here() -> None:
    reason = why_alive(lock("elsewhere"), "here", lambda _: None)

    assert reason is not None
    assert "another machine" in reason


def test_a_real_process_is_alive() -> None:
    mine = Lock("key", os.getpid(), os.uname().nodename, "root", datetime.now(UTC))

    assert why_alive(mine) == f"process {os.getpid()} lives"
