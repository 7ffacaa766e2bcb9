"""The parent of services and hubs: what it starts, keeps, and brings back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course_stack.local.layout import Layout
from course_stack.local.supervisor import Program, Supervisor, SupervisorError
from tests.support.waiting import wait_for


@pytest.fixture
def layout() -> Iterator[Layout]:
    # unix sockets allow short paths only: pytest's own folders can be too long
    home = Path(tempfile.mkdtemp(prefix="jhaas-", dir="/var/tmp"))
    yield Layout(home)
    Supervisor(Layout(home)).stop()
    shutil.rmtree(home)


@pytest.fixture
def supervisor(layout: Layout) -> Supervisor:
    return Supervisor(layout)


def sleeper(layout: Layout, *, after: str = "", env: dict[str, str] | None = None) -> Program:
    command = ("/bin/sh", "-c", f"{after}\nexec sleep 1000".strip().replace("\n", "; "))
    return Program(command=command, cwd=layout.home, log=layout.logs / "sleeper.log", env=env or {})


def pid_of(supervisor: Supervisor, name: str) -> int:
    """The program's process, once it is no longer supervisord's own copy."""
    pid = wait_for(lambda: (one := supervisor.status().get(name)) and one.pid, f"{name} runs") or 0
    wait_for(lambda: b"supervisor" not in Path(f"/proc/{pid}/cmdline").read_bytes(), f"{name} became its command")
    return pid


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def supervisord_pid(layout: Layout) -> int:
    return int((layout.supervisor / "supervisord.pid").read_text())


def test_nothing_runs_before_the_first_program(supervisor: Supervisor) -> None:
    assert not supervisor.running()
    assert supervisor.status() == {}
    supervisor.stop()
    supervisor.remove_program("absent")


def test_a_program_runs_and_a_repeated_set_leaves_it_alone(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    first = pid_of(supervisor, "one")
    supervisor.set_program("one", sleeper(layout))
    assert pid_of(supervisor, "one") == first
    assert supervisor.program_names() == {"one"}


def test_a_changed_program_is_restarted_and_its_neighbour_is_not(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    supervisor.set_program("two", sleeper(layout))
    one, two = pid_of(supervisor, "one"), pid_of(supervisor, "two")
    supervisor.set_program("one", sleeper(layout, env={"NEW": "yes"}))
    assert pid_of(supervisor, "one") != one
    assert not alive(one)
    assert pid_of(supervisor, "two") == two


def test_a_program_is_restarted_when_what_it_reads_at_start_changed(supervisor: Supervisor, layout: Layout) -> None:
    command = Program(("/bin/sleep", "1000"), cwd=layout.home, log=layout.logs / "one.log", configuration="a")
    supervisor.set_program("one", command)
    first = pid_of(supervisor, "one")
    supervisor.set_program("one", Program(command.command, cwd=command.cwd, log=command.log, configuration="b"))
    assert pid_of(supervisor, "one") != first


def test_a_program_that_dies_comes_back(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    wait_for(lambda: supervisor.status()["one"].state == "RUNNING", "one runs")
    first = pid_of(supervisor, "one")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervisor.status()["one"].pid not in (None, first), "one is back")


def test_nothing_of_the_caller_reaches_a_program(
    supervisor: Supervisor, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JHAAS_OPERATION_ID", "some-operation")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    marker = layout.home / "a-lock-of-the-caller"
    with marker.open("w") as handle:
        os.set_inheritable(handle.fileno(), True)
        supervisor.set_program("one", sleeper(layout, env={"GIVEN": "yes"}))
        for pid in (supervisord_pid(layout), pid_of(supervisor, "one")):
            found = environment(pid)
            assert "JHAAS_OPERATION_ID" not in found
            assert "AWS_SECRET_ACCESS_KEY" not in found
            held = {link.name: str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
            assert str(marker) not in held.values()
            assert held["0"].startswith(("/dev/null", "pipe:"))
        assert environment(pid_of(supervisor, "one"))["GIVEN"] == "yes"


def test_values_arrive_as_they_were_given(supervisor: Supervisor, layout: Layout) -> None:
    odd = 'x;y, %(there)s 100% "q" \\ ö'
    output = layout.home / "with 50% and 'quotes'"
    program = Program(
        command=("/bin/sh", "-c", 'printf %s "$ODD" > "$1.new"; mv "$1.new" "$1"; exec sleep 1000', "sh", str(output)),
        cwd=layout.home,
        log=layout.logs / "50%.log",
        env={"ODD": odd},
    )
    supervisor.set_program("one", program)
    wait_for(output.exists, "the program wrote its file")
    assert output.read_text() == odd


@pytest.mark.parametrize("word", ["two\nlines", "a ; comment", "a # comment", "%(here)s"])
def test_what_the_configuration_cannot_hold_is_refused_and_changes_nothing(
    supervisor: Supervisor, layout: Layout, word: str
) -> None:
    program = Program(("/bin/echo", word), cwd=layout.home, log=layout.logs / "one.log")
    with pytest.raises(SupervisorError, match="Program one: command holds"):
        supervisor.set_program("one", program)
    assert supervisor.program_names() == frozenset()


def test_removing_ends_the_whole_group_and_succeeds_twice(supervisor: Supervisor, layout: Layout) -> None:
    children = layout.home / "children"
    supervisor.set_program("one", sleeper(layout, after=f"sleep 1000 & echo $! > {children}"))
    wait_for(lambda: children.exists() and children.read_text().strip(), "the child runs")
    parent, child = pid_of(supervisor, "one"), int(children.read_text())
    supervisor.remove_program("one")
    assert not alive(parent)
    wait_for(lambda: not alive(child), "the child is gone")
    assert supervisor.status() == {}
    assert supervisor.program_names() == frozenset()
    supervisor.remove_program("one")


def test_a_program_that_died_and_comes_back_while_it_is_removed_is_removed(
    layout: Layout,
) -> None:
    class Restarting(Supervisor):
        """A supervisord that restarts a dead program between the stop, which finds nothing to stop, and the removal."""

        restarts = 1

        def _call(self, method: str, *arguments: Any) -> Any:
            if method == "removeProcessGroup" and self.restarts:
                self.restarts -= 1
                super()._call("startProcess", arguments[0], True)
            return super()._call(method, *arguments)

    supervisor = Restarting(layout)
    supervisor.set_program("sleeper", sleeper(layout))
    pid_of(supervisor, "sleeper")

    supervisor.remove_program("sleeper")

    assert supervisor.restarts == 0
    assert supervisor.status() == {}
    supervisor.stop()


def test_after_a_crash_everything_comes_back_once(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    orphan = pid_of(supervisor, "one")
    crashed = supervisord_pid(layout)
    os.kill(crashed, signal.SIGKILL)
    wait_for(lambda: not alive(crashed), "supervisord is gone")
    assert not supervisor.running()
    assert supervisor.status() == {}
    supervisor.start()
    assert pid_of(supervisor, "one") != orphan
    assert not alive(orphan)


def test_a_program_of_a_dead_supervisor_can_be_removed(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    orphan = pid_of(supervisor, "one")
    os.kill(supervisord_pid(layout), signal.SIGKILL)
    wait_for(lambda: not supervisor.running(), "supervisord is gone")
    supervisor.remove_program("one")
    assert not alive(orphan)


def test_a_pid_file_of_another_process_does_not_confuse_it(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.start()
    supervisor.stop()
    (layout.supervisor / "supervisord.pid").write_text(f"{os.getpid()}\n")
    (layout.supervisor / "supervisord.sock").touch()
    supervisor.start()
    assert supervisor.running()
    assert supervisord_pid(layout) != os.getpid()


def test_stopping_ends_programs_and_supervisord(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    pids = [supervisord_pid(layout), pid_of(supervisor, "one")]
    supervisor.stop()
    assert not any(alive(pid) for pid in pids)
    assert not supervisor.running()
    supervisor.stop()


def test_restart_makes_a_new_process_and_wants_a_known_name(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.set_program("one", sleeper(layout))
    wait_for(lambda: supervisor.status()["one"].state == "RUNNING", "one runs")
    first = pid_of(supervisor, "one")
    supervisor.restart("one")
    assert pid_of(supervisor, "one") != first
    with pytest.raises(SupervisorError, match="two is not a program"):
        supervisor.restart("two")


def test_two_processes_may_start_it_at_once(layout: Layout) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from course_stack.local.layout import Layout\n"
        "from course_stack.local.supervisor import Program, Supervisor\n"
        "layout = Layout(Path(sys.argv[1]))\n"
        "program = Program(('/bin/sleep', '1000'), cwd=layout.home, log=layout.logs / 'x.log')\n"
        "Supervisor(layout).set_program(sys.argv[2], program)\n"
    )
    names = ["one", "two", "three"]
    starters = [subprocess.Popen([sys.executable, "-c", code, str(layout.home), name]) for name in names]
    assert [starter.wait(timeout=60) for starter in starters] == [0, 0, 0]
    states = Supervisor(layout).status()
    assert set(states) == set(names)
    marker = os.fsencode(layout.supervisor / "supervisord.conf")
    daemons = [
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and marker in ((entry / "cmdline").read_bytes() if (entry / "cmdline").exists() else b"")
    ]
    assert len(daemons) == 1


def test_only_this_account_can_reach_it(supervisor: Supervisor, layout: Layout) -> None:
    supervisor.start()
    assert layout.supervisor.stat().st_mode & 0o777 == 0o700
    assert (layout.supervisor / "supervisord.sock").stat().st_mode & 0o777 == 0o700
    pid = supervisord_pid(layout)
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    inodes = {name[len("socket:[") : -1] for name in sockets if name.startswith("socket:[")}
    listening = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
    assert not inodes & {line.split()[9] for line in listening.splitlines() if "inode" not in line}


def test_a_path_too_long_for_sockets_is_named(layout: Layout) -> None:
    deep = Layout(layout.home / ("x" * 100))
    with pytest.raises(SupervisorError, match="too long for unix sockets"):
        Supervisor(deep).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a program another account")
def test_a_program_runs_under_another_account(supervisor: Supervisor, layout: Layout) -> None:
    program = Program(("/bin/sleep", "1000"), cwd=Path("/"), log=layout.logs / "one.log", uid=61123)
    supervisor.set_program("one", program)
    pid = pid_of(supervisor, "one")
    wait_for(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0], "it became the command")
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    ids = {line.split(":")[0]: line.split()[1:] for line in status if line.startswith(("Uid", "Gid", "Groups"))}
    assert ids == {"Uid": ["61123"] * 4, "Gid": ["61123"] * 4, "Groups": []}
