"""The local services: up finds everything again, a taken port is one clear error, a crash or a new port is survived."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from course_stack import identity, object_store
from course_stack.local import services
from course_stack.local.layout import Layout
from course_stack.local.machine import MachineSettings, local_target
from course_stack.local.services.demo import ensure_demo_people
from course_stack.local.supervisor import Supervisor
from tests.conftest import Machine, free_port
from tests.course_stack.object_store.clients import s3_of
from tests.support.waiting import wait_for

NAMES = ["postgres", "seaweedfs", "traefik", "canaille"]


@pytest.fixture
def layout(short_home: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A data folder of its own, since these tests break what they start."""
    monkeypatch.setenv("JHAAS_PORT", str(free_port()))
    yield short_home
    services.down(short_home)


def states(layout: Layout) -> dict[str, str]:
    return {one.name: one.state for one in services.status(layout)}


def pids(layout: Layout) -> dict[str, int | None]:
    return {one.name: one.pid for one in services.status(layout)}


@pytest.mark.machine
def test_a_second_up_finds_everything_again(machine: Machine) -> None:
    before, people = pids(machine.layout), ensure_demo_people(machine.layout)
    files = {path: path.read_text() for path in machine.layout.credentials.iterdir()}
    said: list[tuple[str, str]] = []
    services.up(machine.layout, lambda name, state: said.append((name, state)))
    assert pids(machine.layout) == before
    assert {path: path.read_text() for path in machine.layout.credentials.iterdir()} == files
    assert ensure_demo_people(machine.layout) == people
    assert sorted(name for name, state in said if state == "ready") == sorted(NAMES)


@pytest.mark.machine
def test_status_says_that_all_answer(machine: Machine) -> None:
    found = services.status(machine.layout)
    assert {one.name: one.state for one in found} == dict.fromkeys(NAMES, "ready")
    assert all(one.pid for one in found)


def test_status_and_down_before_any_start_are_quiet(tmp_path: Path) -> None:
    assert services.status(Layout(tmp_path / "nothing")) == []
    services.down(Layout(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


@pytest.mark.machine
def test_a_taken_port_is_named_with_its_holder_before_anything_starts(layout: Layout) -> None:
    port = int(os.environ["JHAAS_PORT"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        me = psutil.Process()
        with pytest.raises(services.ServiceError) as refused:
            services.up(layout)
    message = str(refused.value)
    assert message.startswith(f"Port {port}, which traefik needs, is taken by {me.name()} (pid {me.pid})")
    assert "JHAAS_PORT" in message
    assert not Supervisor(layout).running()


@pytest.mark.machine
def test_life_of_a_machine(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """One machine through stop, start, crash and a new port: what it holds is there every time."""
    services.up(layout)
    people = ensure_demo_people(layout)
    store = object_store.connect(local_target(layout), layout.credentials)
    store.ensure_bucket("jhaas-life")
    key = store.ensure_key("jhaas-life", ("jhaas-life",))
    s3_of(local_target(layout).object_store, key).put_object(Bucket="jhaas-life", Key="kept", Body=b"text")
    identity.connect(local_target(layout), layout.credentials).ensure_group("jhaas-life", ["student"])

    def everything_is_there() -> None:
        assert states(layout) == dict.fromkeys(NAMES, "ready")
        assert ensure_demo_people(layout) == people
        client = s3_of(local_target(layout).object_store, key)
        assert client.get_object(Bucket="jhaas-life", Key="kept")["Body"].read() == b"text"
        provider = identity.connect(local_target(layout), layout.credentials)
        assert provider.group_members("jhaas-life") == {"student"}

    everything_is_there()

    # an orderly stop leaves no process and no port, and loses nothing
    settings = MachineSettings.stored(layout)
    services.down(layout)
    assert states(layout) == dict.fromkeys(NAMES, "stopped")
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if str(layout.home) in " ".join(one.info["cmdline"] or [])
    ]
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{settings.ports.filer_grpc}.sock"))
    services.up(layout)
    everything_is_there()

    # a service that is killed comes back by itself
    before = pids(layout)
    for name in NAMES:
        os.kill(before[name] or 0, signal.SIGKILL)
    wait_for(lambda: states(layout) == dict.fromkeys(NAMES, "ready") and pids(layout) != before, "all are back")
    everything_is_there()

    # supervisord killed: the next up ends what it left behind, and starts anew
    before = pids(layout)
    os.kill(int((layout.supervisor / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_for(lambda: not Supervisor(layout).running(), "supervisord is gone")
    services.up(layout)
    assert not set(before.values()) & set(pids(layout).values())
    everything_is_there()

    # a new port of the edge restarts those that know it, and only those
    before = pids(layout)
    monkeypatch.setenv("JHAAS_PORT", str(free_port()))
    services.up(layout)
    changed = {name for name, pid in pids(layout).items() if pid != before[name]}
    assert changed == {"traefik", "canaille"}
    everything_is_there()


@pytest.mark.machine
def test_a_service_that_cannot_start_is_named_with_its_log(layout: Layout) -> None:
    postgres = layout.services / "postgres" / "data"
    postgres.mkdir(parents=True)
    with pytest.raises(services.ServiceError, match=r"postgres does not start: see its log \(.*postgres\.log\)"):
        services.up(layout)
    postgres.rmdir()
    services.up(layout)
    assert states(layout) == dict.fromkeys(NAMES, "ready")
