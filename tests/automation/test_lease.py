from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from automation.lease import Busy, FileLeases

HOLD = """
import sys, time
from pathlib import Path
from automation.lease import FileLeases
lease = FileLeases(Path(sys.argv[1])).acquire("physics", "deploy", sys.argv[2])
print("held", flush=True)
sys.stdin.read()
if "release" in sys.argv: lease.release()
"""


def hold(folder: Path, operation: str) -> subprocess.Popen[bytes]:
    """Another process that holds the lease of course physics until it is killed or its stdin closes."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), operation], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_second_one_is_refused_at_once_and_told_who_holds_it(tmp_path: Path) -> None:
    leases = FileLeases(tmp_path)
    leases.acquire("physics", "deploy", "first-operation")

    with pytest.raises(Busy, match=r"first-operation \(deploy\)") as refusal:
        FileLeases(tmp_path).acquire("physics", "destroy", "second-operation")

    assert refusal.value.holder is not None
    assert refusal.value.holder.process.pid == os.getpid()
    assert str(os.getpid()) in str(refusal.value)
    assert leases.acquire("chemistry", "deploy", "other").holder.slug == "chemistry"


def test_a_released_lease_leaves_nothing_behind(tmp_path: Path) -> None:
    lease = FileLeases(tmp_path).acquire("physics", "deploy", "one")
    lease.release()
    lease.release()

    assert list(tmp_path.iterdir()) == []
    assert FileLeases(tmp_path).holder("physics") is None
    assert FileLeases(tmp_path).acquire("physics", "deploy", "two").predecessors == ()


def test_another_process_sees_the_holder(tmp_path: Path) -> None:
    holder = hold(tmp_path, "abroad")
    try:
        seen = FileLeases(tmp_path).holder("physics")
        assert seen is not None
        assert (seen.operation, seen.kind, seen.process.pid) == ("abroad", "deploy", holder.pid)
    finally:
        holder.kill()
        holder.communicate()


def test_who_follows_a_killed_holder_learns_its_operation_until_that_is_settled(tmp_path: Path) -> None:
    holder = hold(tmp_path, "killed")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    follower = FileLeases(tmp_path).acquire("physics", "update", "second")
    assert follower.predecessors == ("killed",)
    follower.release()  # without having settled it

    third = FileLeases(tmp_path).acquire("physics", "update", "third")
    assert third.predecessors == ("killed",)
    third.settle()
    third.release()
    assert FileLeases(tmp_path).acquire("physics", "update", "fourth").predecessors == ()


def test_of_many_at_once_exactly_one_has_it(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    held, refused = [], []

    def attempt(number: int) -> None:
        start.wait()
        try:
            held.append(FileLeases(tmp_path).acquire("physics", "deploy", f"operation-{number}"))
        except Busy as refusal:
            refused.append(refusal)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(held) == 1
    assert {refusal.holder.operation for refusal in refused if refusal.holder} == {held[0].holder.operation}


def test_taking_and_releasing_in_turn_never_gives_it_to_two(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for round_ in range(50):
            try:
                lease = FileLeases(tmp_path).acquire("physics", "deploy", f"{number}-{round_}")
            except Busy:
                continue
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)
            lease.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
