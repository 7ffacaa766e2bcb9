"""The portal on one machine, as `jhaas demo` starts it: real services, real processes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from sqlalchemy import select

from course_stack import identity
from course_stack.local.supervisor import Supervisor
from portal import local
from portal.config import PortalSettings
from portal.db import connect, sessions
from portal.models import CatalogueImage, TargetRecord
from tests.conftest import Machine
from tests.support.browser import Browser
from tests.support.portal import running_portal
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def running(machine: Machine) -> Iterator[PortalSettings]:
    """The portal's own processes beside the services; ended afterwards."""
    with running_portal(machine) as settings:
        yield settings


def test_everything_comes_by_itself_and_the_teacher_signs_in(machine: Machine, running: PortalSettings) -> None:
    with closing(identity.connect(machine.target, machine.layout.credentials)) as provider:
        local.ensure_people(provider, running, [machine.people["teacher"].subject], [])
    teacher = machine.people["teacher"]
    page = Browser().sign_in(f"{running.public_url}/profile/", teacher.login, teacher.password)
    assert page.status_code == 200, page.url
    assert "may ask for courses" in page.text
    assert "__Host-jhaas" not in page.text


def test_a_second_start_finds_everything_again(machine: Machine, running: PortalSettings) -> None:
    before = Supervisor(machine.layout).status()
    again = local.up(machine.layout, lambda *_: None)
    assert again == running
    after = Supervisor(machine.layout).status()
    assert {name: after[name].pid for name in local.PROGRAMS} == {name: before[name].pid for name in local.PROGRAMS}
    assert local.settings_in_force() == running


def test_this_machine_is_a_target_with_its_capacity_and_an_image(running: PortalSettings) -> None:
    engine = connect(running.database_url.get_secret_value())
    try:
        with sessions(engine)() as session:
            target = session.scalars(select(TargetRecord)).one()
            assert (target.name, target.is_open) == ("local", True)
            assert target.memory_mib >= 1024
            assert target.cpu_millicores >= 1000
            assert target.storage_mib > 0
            assert session.scalars(select(CatalogueImage.reference)).all() == [local.IMAGE]
    finally:
        engine.dispose()


def test_secrets_lie_in_files_of_this_account_alone(machine: Machine, running: PortalSettings) -> None:
    file = machine.layout.credentials / local.CREDENTIALS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = [*json.loads(file.read_text()).values(), running.database_url.get_secret_value()]
    states = Supervisor(machine.layout).status()
    for name in local.PROGRAMS:
        program = (machine.layout.supervisor / "programs" / f"{name}.conf").read_text()
        process = Path(f"/proc/{states[name].pid}")
        seen = program + (process / "cmdline").read_text() + (process / "environ").read_text()
        for secret in values:
            assert secret not in seen, name


def test_all_processes_run_and_the_scheduler_acts(machine: Machine, running: PortalSettings) -> None:
    def told(name: str) -> str:
        return (machine.layout.logs / f"{name}.log").read_text()

    wait_for(lambda: "this scheduler acts" in told("portal-scheduler"), "the scheduler acts")
    states = Supervisor(machine.layout).status()
    assert {name: states[name].state for name in local.PROGRAMS} == dict.fromkeys(local.PROGRAMS, "RUNNING")


def test_metrics_of_all_web_processes_are_added_up_behind_the_edge_for_nobody(
    machine: Machine, running: PortalSettings
) -> None:
    host, _, port = running.web_bind.partition(":")
    opener = build_opener(ProxyHandler({}))
    for _ in range(3):
        with opener.open(f"http://{host}:{port}/health/live", timeout=10):
            pass
    with opener.open(f"http://{host}:{port}/metrics", timeout=10) as response:
        told = response.read().decode()
    assert 'route="/health/live"' in told
    assert "jhaas_database_up 1.0" in told
    edge = Request(
        f"http://127.0.0.1:{os.environ['JHAAS_PORT']}/metrics",
        headers={"Host": running.public_url.removeprefix("http://")},
    )
    with pytest.raises(OSError, match="404"):
        opener.open(edge, timeout=10)


def test_the_books_of_courses_take_the_portals_own_parts_for_no_course(
    machine: Machine, running: PortalSettings
) -> None:
    from automation.reality import LocalReality

    found = {thing.name for thing in LocalReality(machine.layout, machine.target).found()}
    assert found.isdisjoint({local.CLIENT, running.teachers_group, running.governance_group})
