from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from automation import processes
from automation.processes import OPERATION_ENV, ProcessMark
from tests.support.waiting import wait_for

# Starts a grandchild in a session of its own, as the Pulumi CLI does with plugins, and one that forks for ever.
TREE = """
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
subprocess.Popen(sleeper, start_new_session=True)
print("up", flush=True)
if "forking" in sys.argv:
    while True:
        subprocess.Popen(sleeper, start_new_session=True); time.sleep(0.01)
time.sleep(600)
"""


def tree(operation: str, *more: str) -> subprocess.Popen[bytes]:
    """A small process tree of an operation."""
    root = subprocess.Popen(
        [sys.executable, "-c", TREE, *more], env={**os.environ, OPERATION_ENV: operation}, stdout=subprocess.PIPE
    )
    assert root.stdout is not None
    assert root.stdout.readline() == b"up\n"
    root.stdout.close()
    return root


def test_the_whole_tree_is_killed_also_what_left_the_group() -> None:
    operation = f"tree-{os.getpid()}"
    root = tree(operation)
    assert len(processes.of_operation(operation)) == 2

    killed = processes.kill_operation(operation)

    assert len(killed) == 2
    assert processes.of_operation(operation) == []
    root.wait()


def test_a_tree_whose_root_is_dead_is_still_found() -> None:
    operation = f"orphan-{os.getpid()}"
    root = tree(operation)
    root.kill()
    root.wait()
    assert len(processes.of_operation(operation)) == 1

    processes.kill_operation(operation)

    assert processes.of_operation(operation) == []


def test_a_process_that_is_becoming_another_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = f"becoming-{os.getpid()}"
    root = tree(operation)
    read, looks = processes._read, Counter[tuple[int, str]]()

    def blank_at_first(pid: int, name: str) -> bytes:
        looks[pid, name] += 1
        return b"" if pid == root.pid and looks[pid, name] < 3 else read(pid, name)

    monkeypatch.setattr(processes, "_read", blank_at_first)
    try:
        assert root.pid in processes.of_operation(operation)
    finally:
        processes.kill_operation(operation)
        root.wait()


def test_a_tree_that_forks_while_it_is_killed_ends_too() -> None:
    operation = f"forking-{os.getpid()}"
    root = tree(operation, "forking")
    wait_for(lambda: len(processes.of_operation(operation)) > 5, "a growing tree")

    processes.kill_operation(operation)

    assert processes.of_operation(operation) == []
    root.wait()


def test_another_operation_whose_id_begins_alike_is_left_alone() -> None:
    shorter, longer = f"alike-{os.getpid()}", f"alike-{os.getpid()}-more"
    root = tree(longer)
    try:
        assert processes.kill_operation(shorter) == []
        assert len(processes.of_operation(longer)) == 2
    finally:
        processes.kill_operation(longer)
        root.wait()


def test_a_mark_knows_its_process_from_a_later_one_of_the_same_number() -> None:
    mark = ProcessMark.of(os.getpid())
    assert mark is not None
    assert mark.alive()
    assert not ProcessMark(mark.pid, mark.boot_id, mark.started - 1).alive()
    assert not ProcessMark(mark.pid, "another start of the machine", mark.started).alive()


def test_a_dead_process_has_no_mark_and_no_start() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert ProcessMark.of(ended.pid) is None
    assert processes.started_at(ended.pid) is None


def test_the_start_of_a_process_is_about_now() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = processes.started_at(child.pid)
        assert started is not None
        assert abs(started - datetime.now(UTC)) < timedelta(minutes=1)
    finally:
        child.communicate(b"\n")


def test_a_container_gives_its_account_a_number_and_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert processes.account() == str(os.getuid())
