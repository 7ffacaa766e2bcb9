"""The command line as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from automation.reality import LocalReality
from portal.cli.demo import EXAMPLE
from tests.conftest import Machine


def jhaas(*arguments: str, answer: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **variables}
    command = [sys.executable, "-c", "from portal.cli import main; main()", *arguments]
    return subprocess.run(
        command, env=environment, input=answer, capture_output=True, text=True, timeout=300, check=False
    )


def spec_file(folder: Path, **changes: str) -> Path:
    """The example course with other values of some fields."""
    lines = EXAMPLE.read_text().splitlines()
    for field, value in changes.items():
        lines = [f"{field}: {value}" if line.startswith(f"{field}:") else line for line in lines]
    path = folder / "course.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_bad_course_spec_is_refused_with_field_and_bound_before_anything_happens(tmp_path: Path) -> None:
    home = tmp_path / "home"
    outcome = jhaas("course", "deploy", str(spec_file(tmp_path, seats="0", slug="Bad_Slug")), JHAAS_HOME=str(home))
    assert outcome.returncode == 2
    assert "2 problems" in outcome.stderr
    assert "seats" in outcome.stderr
    assert "at least 1" in outcome.stderr
    assert "slug" in outcome.stderr
    assert not home.exists()


def test_a_missing_spec_file_is_bad_input(tmp_path: Path) -> None:
    outcome = jhaas("course", "deploy", str(tmp_path / "nowhere.yaml"), JHAAS_HOME=str(tmp_path / "home"))
    assert outcome.returncode == 2
    assert "nowhere.yaml" in outcome.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("course", "deploy"), "Missing argument 'SPEC'"),
        (("course", "deploy", "a", "b"), "unexpected extra argument"),
        (("course", "deploi"), "No such command 'deploi'"),
        (("course", "list", "--tarket", "x"), "No such option: --tarket"),
    ],
)
def test_a_command_that_is_not_understood_is_bad_input_and_says_how_it_is_used(
    command: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    outcome = jhaas(*command, JHAAS_HOME=str(tmp_path / "home"))
    assert outcome.returncode == 2
    assert said in outcome.stderr
    assert "Usage: " in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_an_unknown_setting_stops_the_start_and_names_the_nearest(tmp_path: Path) -> None:
    outcome = jhaas("services", "up", JHAAS_HOME=str(tmp_path / "home"), JHAAS_PASSFRASE="x")
    assert outcome.returncode == 2
    assert "JHAAS_PASSFRASE" in outcome.stderr


@pytest.mark.parametrize(
    ("setting", "value", "command"),
    [("JHAAS_PORT", "eighty", ("services", "up")), ("JHAAS_PULUMI", "terraform", ("course", "list"))],
)
def test_a_setting_out_of_its_bounds_is_bad_input(
    tmp_path: Path, setting: str, value: str, command: tuple[str, ...]
) -> None:
    outcome = jhaas(*command, JHAAS_HOME=str(tmp_path / "h"), **{setting: value})
    assert outcome.returncode == 2, outcome.stderr
    assert setting in outcome.stderr
    assert value in outcome.stderr


def test_a_machine_without_services_says_what_to_do(tmp_path: Path) -> None:
    outcome = jhaas("course", "list", JHAAS_HOME=str(tmp_path))
    assert outcome.returncode == 2
    assert "jhaas services up" in outcome.stderr


def test_the_schema_on_the_screen_is_the_one_in_the_documents() -> None:
    outcome = jhaas("schema")
    assert outcome.returncode == 0
    published = Path(__file__).parents[2] / "docs" / "course-spec.schema.json"
    assert json.loads(outcome.stdout) == json.loads(published.read_text())


@pytest.mark.machine
def test_the_services_tell_how_they_are(machine: Machine) -> None:
    outcome = jhaas("services", "status")
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()[1:]
    assert sorted(line.split()[0] for line in lines) == ["canaille", "postgres", "seaweedfs", "traefik"]
    assert all("ready" in line for line in lines)


@pytest.mark.machine
def test_a_course_from_its_file_to_nothing(machine: Machine, tmp_path: Path) -> None:
    spec = str(spec_file(tmp_path, slug="typed-by-hand"))
    reality = LocalReality(machine.layout, machine.target)

    outcome = jhaas("course", "preview", spec)
    assert outcome.returncode == 0, outcome.stderr
    assert "create" in outcome.stdout
    assert reality.traces("typed-by-hand") == []

    outcome = jhaas("course", "deploy", spec)
    assert outcome.returncode == 0, outcome.stderr
    assert machine.target.hub_url("typed-by-hand") in outcome.stdout

    assert "typed-by-hand" in jhaas("course", "list").stdout
    shown = jhaas("course", "show", "typed-by-hand")
    assert "hub_url" in shown.stdout
    assert "secret, not shown" in shown.stdout
    log = jhaas("course", "logs", "typed-by-hand").stdout
    assert "deploy of typed-by-hand" in log
    assert "done in" in log
    assert jhaas("course", "refresh", "typed-by-hand").returncode == 0

    for answer, arguments in (("", ["--dry-run"]), ("n\n", [])):
        outcome = jhaas("course", "destroy", "typed-by-hand", *arguments, answer=answer)
        assert "bucket jhaas-typed-by-hand" in outcome.stdout
        assert "Nothing was deleted" in outcome.stdout
    assert reality.traces("typed-by-hand")

    outcome = jhaas("course", "destroy", "typed-by-hand", "--yes")
    assert outcome.returncode == 0, outcome.stderr
    assert reality.traces("typed-by-hand") == []
    assert jhaas("course", "show", "typed-by-hand").returncode == 1


@pytest.mark.machine
def test_the_audit_fails_for_what_has_no_stack(machine: Machine) -> None:
    from course_stack import identity

    provider = identity.connect(machine.target)
    provider.ensure_group("jhaas-astray", [])
    try:
        outcome = jhaas("audit")
        assert outcome.returncode == 1
        assert "without a stack" in outcome.stdout
        assert "jhaas-astray" in outcome.stdout
    finally:
        provider.delete_group("jhaas-astray")
    assert "jhaas-astray" not in jhaas("audit").stdout
