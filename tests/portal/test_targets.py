"""Targets' files in the portal: taken over whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from course_stack.spec import CourseDesign
from course_stack.target import Target
from course_stack.targets import TARGETS_ENV, TargetError
from portal import local
from portal.cli import portal
from portal.config import PortalSettings
from portal.courses.requests import target_problems
from portal.db import Sessions, transaction
from portal.models import TargetRecord
from tests.course_stack.kubernetes.targets import cluster_target
from tests.course_stack.specs import course
from tests.portal.makers import make_target

EXAMPLE = Path(__file__).parents[2] / "examples/targets/cluster.yaml"


@pytest.fixture
def folder(tmp_path: Path, settings: PortalSettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of targets' files, beside the portal's database."""
    monkeypatch.setenv(TARGETS_ENV, str(tmp_path))
    monkeypatch.setattr(local, "settings_in_force", lambda: settings)
    return tmp_path


def write(folder: Path, name: str, **changes: Any) -> None:
    content = {**yaml.safe_load(EXAMPLE.read_text()), **changes}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


def stored(session_factory: Sessions) -> dict[str, TargetRecord]:
    with session_factory() as session:
        return {one.name: one for one in session.scalars(select(TargetRecord))}


def test_a_target_s_file_becomes_what_the_portal_knows_of_it(
    folder: Path, session_factory: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "campus")
    portal.targets()
    assert "campus: new" in capsys.readouterr().out

    record = stored(session_factory)["campus"]
    assert (record.memory_mib, record.cpu_millicores, record.storage_mib) == (512 * 1024, 128_000, 5000 * 1024)
    assert (record.gpus, record.parallel_operations, record.is_open) == ({"nvidia.com/gpu": 4}, 4, True)
    target = Target.model_validate(record.target)
    assert (target.name, target.kind) == ("campus", "kubernetes")
    assert record.defaults == yaml.safe_load(EXAMPLE.read_text())["defaults"]

    portal.targets()
    assert "campus: as it was" in capsys.readouterr().out


def test_a_changed_file_changes_its_target_and_no_other(
    folder: Path, session_factory: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "campus")
    write(folder, "city")
    with transaction(session_factory) as session:
        make_target(session, "local")
    portal.targets()
    write(folder, "campus", open=False, capacity={"memory": 10, "cpu": 2, "storage": 20})
    (folder / "city.yaml").unlink()
    capsys.readouterr()

    portal.targets()

    assert capsys.readouterr().out.split() == ["campus:", "changed"]
    found = stored(session_factory)
    assert (found["campus"].memory_mib, found["campus"].gpus, found["campus"].is_open) == (10240, {}, False)
    assert found["city"].is_open
    assert set(found) == {"campus", "city", "local"}


def test_one_wrong_file_changes_nothing(folder: Path, session_factory: Sessions) -> None:
    write(folder, "campus")
    write(folder, "city", hub_domain="https://hubs.example.org")
    with pytest.raises(TargetError, match=r"city\.yaml: hub domain \(hub_domain\)"):
        portal.targets()
    assert stored(session_factory) == {}


def test_a_dry_run_shows_and_changes_nothing(
    folder: Path, session_factory: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "campus")
    portal.targets(dry_run=True)
    assert "Nothing was changed" in capsys.readouterr().out
    assert stored(session_factory) == {}


def test_a_folder_without_files_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    portal.targets()
    assert "There is no NAME.yaml" in capsys.readouterr().out


def test_a_course_with_shared_volumes_is_refused_for_a_target_without_disks_for_them() -> None:
    volume = {"name": "data", "kind": "material", "mount_path": "/data", "size": 1}
    facts = {name: value for name, value in course(shared_volumes=[volume]).items() if name != "leads"}
    wanted = CourseDesign.model_validate(facts)
    room: dict[str, Any] = {"memory_mib": 2**20, "cpu_millicores": 10**6, "storage_mib": 2**24, "gpus": {}}

    def problems(shared_class: str | None) -> list[str]:
        target = cluster_target(shared_class=shared_class).model_dump(mode="json")
        record = TargetRecord(name="campus", target=target, is_open=True, **room)
        return [problem.field for problem in target_problems(wanted, record)]

    assert problems(None) == ["shared_volumes"]
    assert problems("nfs") == []
