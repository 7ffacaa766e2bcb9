"""How a server is planned: where its home lies, what it may use, and how it is found again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from course_stack.local.homes import ensure_shared_volumes
from course_stack.local.isolation import Isolation
from course_stack.local.layout import Layout
from course_stack.local.processes import start_time
from course_stack.local.sandbox import Plan
from course_stack.local.spawner import CourseSpawner
from course_stack.spec import load_spec
from tests.course_stack.specs import course

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to other accounts")

VOLUMES = [
    {"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 1},
    {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 1},
]


def _spawner(folder: Path, isolation: Isolation, person: str = "anna") -> CourseSpawner:
    spec = load_spec(course(leads=["teacher"], shared_volumes=VOLUMES, environment={"COLOUR": "green"}))
    spawner = CourseSpawner(spec=spec, data_folder=str(folder), issuer="http://id", isolation=isolation)
    spawner.user = SimpleNamespace(name=person)
    spawner.mem_limit, spawner.cpu_limit = 2**30, 1.5
    layout = Layout(folder)
    layout.hub(spec.slug).mkdir(parents=True, exist_ok=True)
    ensure_shared_volumes(layout, spec, None)
    return spawner


def _plan(spawner: CourseSpawner, environment: dict[str, str] | None = None) -> Plan:
    return spawner._plan(environment or {}, ["server"])


@needs_root
def test_with_a_private_view_the_home_is_where_images_have_it_and_volumes_at_their_paths(tmp_path: Path) -> None:
    plan = _plan(_spawner(tmp_path, Isolation.PRIVATE))
    assert plan.private
    assert (plan.home.target, plan.environment["HOME"]) == ("/home/jovyan", "/home/jovyan")
    assert {volume.target: volume.read_only for volume in plan.volumes} == {"/mnt/material": True, "/mnt/share": False}
    assert plan.uid == plan.gid
    assert plan.uid
    assert plan.limits.memory == 2**30
    assert plan.limits.processors == 2


@needs_root
def test_leads_write_to_the_material_and_have_the_group_that_owns_it(tmp_path: Path) -> None:
    lead, participant = (_plan(_spawner(tmp_path, Isolation.PRIVATE, one)) for one in ("teacher", "anna"))
    assert not any(volume.read_only for volume in lead.volumes)
    assert set(lead.groups) - set(participant.groups)
    assert lead.uid != participant.uid


@pytest.mark.parametrize("isolation", [pytest.param(Isolation.ACCOUNT, marks=needs_root), Isolation.NONE])
def test_without_a_private_view_links_in_the_home_lead_to_the_volumes(tmp_path: Path, isolation: Isolation) -> None:
    plan = _plan(_spawner(tmp_path, isolation))
    home = Path(plan.home.source)
    assert not plan.private
    assert plan.environment["HOME"] == str(home)
    assert (plan.uid is None) == (isolation is Isolation.NONE)
    assert (home / "share").resolve() == Layout(tmp_path).shared("python-intro") / "share"
    (home / "material").unlink()
    (home / "material").write_text("mine")
    _plan(_spawner(tmp_path, isolation))
    assert (home / "material").read_text() == "mine"


def test_the_hubs_own_variables_win_over_what_a_course_sets(tmp_path: Path) -> None:
    plan = _plan(_spawner(tmp_path, Isolation.NONE), {"HOME": "/elsewhere", "COLOUR": "green"})
    assert plan.environment["HOME"] == plan.home.source
    assert plan.environment["COLOUR"] == "green"


def test_a_number_that_another_process_got_after_a_reboot_is_not_taken_for_the_server(tmp_path: Path) -> None:
    spawner = _spawner(tmp_path, Isolation.NONE)
    with subprocess.Popen(["/bin/sleep", "600"]) as somebody:
        try:
            began = start_time(somebody.pid)
            assert began is not None

            def found(started: int) -> Any:
                spawner.load_state({"pid": somebody.pid, "started": started})
                return asyncio.run(spawner.poll())

            assert found(began) is None
            assert spawner.get_state()["started"] == began
            assert found(began - 1) == 0
            assert spawner.pid == 0
        finally:
            somebody.kill()
