"""`jhaas cluster` as a person types it, on a cluster in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from course_stack.kubernetes import api
from course_stack.kubernetes import check as checking
from course_stack.kubernetes.check import Finding
from course_stack.target import CREDENTIALS_ENV
from course_stack.targets import TARGETS_ENV
from portal.cli import app
from portal.cli.screen import out
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster

NAMESPACE = "jhaas-the-course"
GONE = {"deletionTimestamp": "2026-11-02T10:00:00Z"}
Type = Callable[..., tuple[int, str]]


@pytest.fixture
def type_(fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Runs a command; exit code, and what it printed."""
    content = cluster_target().model_dump(mode="json", exclude={"name", "kind", "home"})
    content["capacity"] = {"memory": 10, "cpu": 4, "storage": 100}
    (tmp_path / "campus.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(content))))
    monkeypatch.setenv(TARGETS_ENV, str(tmp_path))
    monkeypatch.setenv(CREDENTIALS_ENV, str(tmp_path))
    monkeypatch.setenv("JHAAS_HOME", str(tmp_path / "home"))
    # a console measures its width when the first command is imported
    monkeypatch.setattr(out, "width", 200)
    monkeypatch.setattr(api, "connect", lambda target: fake.connect(target, tmp_path))

    def run(*arguments: str, answer: str = "") -> tuple[int, str]:
        found = CliRunner().invoke(app, ["cluster", *arguments], input=answer)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found.exit_code, found.output

    return run


@pytest.mark.parametrize(
    ("state", "code", "end"),
    [
        ("ok", 0, "Courses can run there."),
        ("warn", 0, "Courses can run there, with what is said above."),
        ("fail", 1, "Courses cannot run there yet."),
    ],
)
def test_the_exit_code_says_whether_courses_can_run(
    type_: Type, monkeypatch: pytest.MonkeyPatch, state: str, code: int, end: str
) -> None:
    found = [Finding("version", "ok", "Kubernetes 1.34"), Finding("edge", state, "How it is", "What to do")]  # type: ignore[arg-type]
    monkeypatch.setattr(checking, "checks", lambda *_args, **_kwargs: iter(found))
    exit_code, said = type_("check", "campus")
    assert exit_code == code
    assert said.splitlines()[-1] == end
    assert f"{state:<4} edge: How it is" in said
    assert ("What to do" in said) is (state != "ok")


def test_a_target_that_is_not_on_a_cluster_is_refused(type_: Type) -> None:
    exit_code, said = type_("repair", NAMESPACE, "--target", "local")
    assert exit_code == 2
    assert "is not on a cluster" in said


def _stuck(fake: FakeCluster, *finalizers: str) -> None:
    fake.add("namespaces", NAMESPACE, metadata=GONE, status={"phase": "Terminating"})
    fake.add("persistentvolumeclaims", "home-anna", NAMESPACE, metadata={**GONE, "finalizers": list(finalizers)})
    claims = {
        "name": "persistentvolumeclaims",
        "kind": "PersistentVolumeClaim",
        "namespaced": True,
        "verbs": ["list"],
    }
    fake.answers["/api/v1"] = {"resources": [claims]}
    fake.answers["/apis"] = {"groups": []}


def _left(fake: FakeCluster) -> list[str]:
    found: list[str] = fake.of("persistentvolumeclaims")[0]["metadata"]["finalizers"]
    return found


def test_nothing_is_taken_away_without_a_yes(type_: Type, fake: FakeCluster) -> None:
    _stuck(fake, "kubernetes.io/pvc-protection")
    exit_code, said = type_("repair", NAMESPACE, "--target", "campus", answer="n\n")
    assert exit_code == 0
    assert "PersistentVolumeClaim home-anna" in said
    assert "holds a claim while a pod uses it" in said
    assert _left(fake) == ["kubernetes.io/pvc-protection"]
    exit_code, said = type_("repair", NAMESPACE, "--target", "campus", "--yes")
    assert "Finalizers that were taken away: 1." in said
    assert _left(fake) == []


def test_the_unknown_is_shown_and_stays_whatever_is_said(type_: Type, fake: FakeCluster) -> None:
    _stuck(fake, "example.org/backup")
    exit_code, said = type_("repair", NAMESPACE, "--target", "campus", "--yes")
    assert exit_code == 1
    assert "unknown to us: ask whoever set it" in said
    assert _left(fake) == ["example.org/backup"]


def test_a_namespace_that_is_not_there_or_stays_needs_no_repair(type_: Type, fake: FakeCluster) -> None:
    assert type_("repair", "jhaas-nothing", "--target", "campus") == (0, "There is no namespace jhaas-nothing.\n")
    _stuck(fake, "kubernetes.io/pvc-protection")
    fake.objects["namespaces", "", NAMESPACE]["metadata"].pop("deletionTimestamp")
    exit_code, said = type_("repair", NAMESPACE, "--target", "campus", "--yes")
    assert exit_code == 0
    assert f"Nobody is deleting {NAMESPACE}" in said
    assert _left(fake) == ["kubernetes.io/pvc-protection"]
