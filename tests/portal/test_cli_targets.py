"""Targets on the command line, as a person types it: a mistake is told before anything happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.portal.test_cli import jhaas

ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "examples/courses/python-intro.yaml")


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    return {"JHAAS_HOME": str(tmp_path / "home"), "JHAAS_TARGETS_DIR": str(ROOT / "examples/targets")}


def test_manifests_are_printed_without_a_machine_a_cluster_or_a_key(surroundings: dict[str, str]) -> None:
    whole = jhaas("course", "manifests", SPEC, "--target", "cluster", **surroundings)
    assert whole.returncode == 0, whole.stderr
    *objects, release = yaml.safe_load_all(whole.stdout)
    assert objects[0]["kind"] == "Namespace"
    assert release["release"]["name"] == "jhaas-python-intro"
    only_objects = jhaas("course", "manifests", SPEC, "--target", "cluster", "--objects", **surroundings)
    assert list(yaml.safe_load_all(only_objects.stdout)) == objects
    only_values = jhaas("course", "manifests", SPEC, "--target", "cluster", "--values", **surroundings)
    assert yaml.safe_load(only_values.stdout) == release["values"]
    assert not Path(surroundings["JHAAS_HOME"]).exists()


@pytest.mark.parametrize(
    "command",
    [
        ("course", "deploy", SPEC),
        ("course", "preview", SPEC),
        ("course", "manifests", SPEC),
        ("course", "destroy", "python-intro"),
        ("course", "show", "python-intro"),
        ("course", "refresh", "python-intro"),
        ("course", "list"),
        ("audit",),
    ],
)
def test_a_target_that_is_not_there_is_bad_input_and_those_that_are_are_named(
    command: tuple[str, ...], surroundings: dict[str, str]
) -> None:
    outcome = jhaas(*command, "--target", "clustre", **surroundings)
    assert outcome.returncode == 2, outcome.stderr
    assert "did you mean cluster? there are local, cluster" in outcome.stderr
    assert not Path(surroundings["JHAAS_HOME"]).exists()


def test_what_the_target_cannot_give_is_bad_input_for_every_command_that_takes_a_spec(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    target = yaml.safe_load((ROOT / "examples/targets/cluster.yaml").read_text())
    target["cluster"]["shared_class"] = None
    (tmp_path / "poor.yaml").write_text(yaml.safe_dump(target))
    volume = {"name": "data", "kind": "material", "mount_path": "/data", "size": 1}
    spec = tmp_path / "course.yaml"
    spec.write_text(yaml.safe_dump({**yaml.safe_load(Path(SPEC).read_text()), "shared_volumes": [volume]}))
    for command in ("deploy", "preview", "manifests"):
        outcome = jhaas(
            "course", command, str(spec), "--target", "poor", **{**surroundings, "JHAAS_TARGETS_DIR": str(tmp_path)}
        )
        assert outcome.returncode == 2, outcome.stderr
        assert "shared volumes (shared_volumes): poor has no disks" in outcome.stderr
    assert not Path(surroundings["JHAAS_HOME"]).exists()


def test_what_needs_no_cluster_loads_nothing_of_one() -> None:
    """Its libraries take seconds and tens of megabytes: pages, scheduler and this machine's courses go without."""
    program = (
        "import sys, portal.cli, portal.app, portal.targets, portal.scheduler.main, automation.stacks, automation.work,"
        "course_stack.program, course_stack.targets; "
        "print(sorted({'pulumi_kubernetes', 'lightkube', 'kubernetes_asyncio', 'kubernetes'} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert outcome.stdout.strip() == "[]", outcome.stderr


def test_this_machine_has_no_manifests(surroundings: dict[str, str]) -> None:
    outcome = jhaas("course", "manifests", SPEC, "--target", "local", **surroundings)
    assert outcome.returncode == 2
    assert "name a cluster" in outcome.stderr
