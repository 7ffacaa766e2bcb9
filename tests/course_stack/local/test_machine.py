"""Settings of this machine: chosen once, kept, and refused in one sentence."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from course_stack.local.layout import Layout
from course_stack.local.machine import (
    MachineError,
    MachineSettings,
    credential,
    ensure_passphrase,
    local_target,
    state_url,
    store_credential,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "data")


def test_ports_are_chosen_once(layout: Layout) -> None:
    first = MachineSettings.for_start(layout, {})
    assert first.edge_port == 8000
    assert first.bind == "127.0.0.1"
    assert len(set(first.ports.model_dump().values())) == len(first.ports.model_dump())
    assert MachineSettings.for_start(layout, {}) == first
    assert MachineSettings.stored(layout) == first


def test_the_edge_port_of_the_last_start_is_kept_until_another_is_given(layout: Layout) -> None:
    MachineSettings.for_start(layout, {"JHAAS_PORT": "8123"})
    assert MachineSettings.for_start(layout, {}).edge_port == 8123
    changed = MachineSettings.for_start(layout, {"JHAAS_PORT": "8124"})
    assert changed.edge_port == 8124
    assert changed.ports == MachineSettings.stored(layout).ports


def test_a_taken_port_is_not_chosen(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("course_stack.local.machine._INTERNAL_PORTS", range(port, port + 40))
        assert port not in MachineSettings.for_start(layout, {}).ports.model_dump().values()


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "80 ", "\u0661\u0662"])
def test_an_impossible_port_is_refused(layout: Layout, port: str) -> None:
    with pytest.raises(MachineError, match=r"JHAAS_PORT is .*between 1 and 65535"):
        MachineSettings.for_start(layout, {"JHAAS_PORT": port})
    assert not layout.settings.exists()


def test_beyond_loopback_needs_a_second_word(layout: Layout) -> None:
    with pytest.raises(MachineError, match="JHAAS_BIND_BEYOND_LOOPBACK=yes"):
        MachineSettings.for_start(layout, {"JHAAS_BIND": "0.0.0.0"})
    allowed = {"JHAAS_BIND": "0.0.0.0", "JHAAS_BIND_BEYOND_LOOPBACK": "yes"}
    assert MachineSettings.for_start(layout, allowed).bind == "0.0.0.0"
    with pytest.raises(MachineError, match="JHAAS_BIND_BEYOND_LOOPBACK=yes"):
        MachineSettings.for_start(layout, {})


def test_an_address_that_is_none_is_refused(layout: Layout) -> None:
    with pytest.raises(MachineError, match="JHAAS_BIND is 'localhost'"):
        MachineSettings.for_start(layout, {"JHAAS_BIND": "localhost"})


def test_without_a_start_there_is_no_target(layout: Layout) -> None:
    with pytest.raises(MachineError, match="jhaas services up"):
        local_target(layout)


@pytest.mark.parametrize("text", ["", "{}", '{"edge_port": 1}', '{"edge_port": "x", "bind": "127.0.0.1", "ports": {}}'])
def test_broken_settings_are_named(layout: Layout, text: str) -> None:
    layout.home.mkdir()
    layout.settings.write_text(text)
    with pytest.raises(MachineError, match=r"settings\.json cannot be used"):
        local_target(layout)


def test_the_target_says_where_everything_is(layout: Layout) -> None:
    settings = MachineSettings.for_start(layout, {"JHAAS_PORT": "8123"})
    target = local_target(layout)
    assert target.hub_url("python-intro") == "http://python-intro.localhost:8123/"
    assert target.identity.url == "http://id.localhost:8123"
    assert target.identity.internal_url == f"http://127.0.0.1:{settings.ports.canaille}"
    assert target.object_store.endpoint == f"http://127.0.0.1:{settings.ports.s3}"
    assert target.home == layout.home


def test_the_state_is_at_the_machines_own_store(layout: Layout) -> None:
    settings = MachineSettings.for_start(layout, {})
    s3 = f"http://127.0.0.1:{settings.ports.s3}"
    assert state_url(settings) == f"s3://jhaas-state?endpoint={s3}&use_path_style=true&region=us-east-1"


def test_credentials_are_private_and_the_passphrase_stays(layout: Layout) -> None:
    ensure_passphrase(layout)
    path = layout.credentials / "state-passphrase"
    first = path.read_text()
    ensure_passphrase(layout)
    assert path.read_text() == first
    assert len(first.strip()) >= 32
    store_credential(layout, "some.json", {"key": "value"})
    assert credential(layout, "some.json") == {"key": "value"}
    assert credential(layout, "absent.json") == {}
    assert layout.credentials.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in layout.credentials.iterdir()} == {0o600}


def test_settings_hold_no_secret(layout: Layout) -> None:
    MachineSettings.for_start(layout, {})
    assert set(json.loads(layout.settings.read_text())) == {"edge_port", "bind", "ports"}
