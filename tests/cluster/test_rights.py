"""The account of examples/cluster/rights.yaml, on a real cluster: enough for a course, and for nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.kubernetes.api import connect
from course_stack.kubernetes.check import checks
from tests.cluster import kube
from tests.cluster.course import ClusterCourse
from tests.cluster.engines import ENGINES, Engine, skip_without
from tests.cluster.kube import CommandFailed, kubectl
from tests.cluster.trial import Trial
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.machine]

EXAMPLE = Path(__file__).parents[2] / "examples/cluster/rights.yaml"
HOME = "jhaas-lab-account"
"""Namespace of the account while it is tried; everything of the whole cluster is called so too."""


def documents() -> list[dict[str, Any]]:
    """The example under names of our own: the cluster may have the real one."""
    found: list[dict[str, Any]] = list(yaml.safe_load_all(EXAMPLE.read_text().replace("jhaas-system", HOME)))
    for one in found:
        if "namespace" not in one["metadata"]:
            one["metadata"]["name"] = HOME
        for reference in (one.get("roleRef", {}), one.get("spec", {})):
            for key in ("name", "policyName"):
                if key in reference:
                    reference[key] = HOME
    return found


@pytest.fixture(scope="module")
def account(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A kubeconfig of the account, as docs/kubernetes.md makes it; the account is gone afterwards."""
    shown = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "-o", "yaml"))
    try:
        kube.apply(documents())
        wait_for(lambda: "token" in kube.show("secrets", "-n", HOME)[0].get("data", {}), "a token for the account")
        token = kubectl("create", "token", "jhaas", "-n", HOME, "--duration", "1h")
        shown["users"] = [{"name": "jhaas", "user": {"token": token}}]
        shown["contexts"][0]["context"]["user"] = "jhaas"
        path = tmp_path_factory.mktemp("account") / "kubeconfig"
        path.write_text(yaml.safe_dump(shown))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(path))
            # the policy is in force some moments after it was made
            wait_for(lambda: "denied" in refusal("create", "configmap", "probe", "-n", "default"), "the policy")
            yield path
    finally:
        for one in documents()[::-1]:
            name = one["metadata"]["name"]
            kubectl("delete", one["kind"], name, "-n", HOME, "--ignore-not-found", "--timeout=120s")


def refusal(*arguments: str) -> str:
    """Why the account may not do this; nothing if it may. Nothing is really changed."""
    try:
        kubectl(*arguments, "--dry-run=server")
    except CommandFailed as failure:
        return str(failure)
    return ""


def shared_volumes(trial: Trial) -> list[dict[str, Any]]:
    """As many as the cluster can have."""
    assert trial.target.cluster is not None
    volume = {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 0.25}
    return [volume] if trial.target.cluster.shared_class else []


def test_a_course_comes_up_and_goes_with_the_rights_of_the_example(trial: Trial, account: Path) -> None:
    assert os.environ["KUBECONFIG"] == str(account)
    course = ClusterCourse.at(trial, "lab-rights", shared_volumes=shared_volumes(trial))
    try:
        course.deploy()
        assert f"namespace {course.cluster_names.namespace}" in course.traces()
        course.put(course.hub_keys())
    finally:
        course.remove()
    assert course.traces() == []


@pytest.mark.parametrize("engine", ENGINES)
def test_pulumi_brings_a_course_up_changes_and_removes_it_with_the_rights_of_the_example(
    trial: Trial, account: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without(engine)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    layout = trial.machine.layout
    stacks = CourseStacks(StateSettings.of_machine(layout), trial.target, layout, engine=engine)
    course = ClusterCourse.at(trial, f"lab-rights-{engine}", shared_volumes=shared_volumes(trial))
    try:
        stacks.deploy(course.spec)
        course.wait_until_answers()
        changed = stacks.update(course.spec.model_copy(update={"seats": course.spec.seats + 1}))
        assert {step.name for step in changed.steps if step.action == "update"} >= {"ResourceQuota/course", "release"}
        assert stacks.refresh(course.spec.slug) == []
    finally:
        result = stacks.destroy(course.spec.slug)
    assert "does not allow us" not in result.log.read_text()
    assert course.traces() == []


def test_the_check_of_a_cluster_finds_nothing_that_the_account_may_not(trial: Trial, account: Path) -> None:
    with connect(trial.target) as cluster:
        assert os.environ["KUBECONFIG"] == str(account)
        found = {one.about: one for one in checks(cluster, trial.target)}
    assert found["rights"].state == "ok", found["rights"]
    # whether the trial's cluster has an edge of its own is no question of rights
    assert [one for one in found.values() if one.state == "fail" and not one.about.startswith("edge")] == []
    assert "removal" in found


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "namespace", "somebody-elses"),
        ("create", "configmap", "x", "-n", "default"),
        ("create", "secret", "generic", "x", "-n", "kube-system"),
        ("label", "namespace", "default", "jhaas.io/course=x"),
        ("delete", "namespace", HOME),
        ("delete", "secret", "jhaas-token", "-n", HOME),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", f"--serviceaccount={HOME}:jhaas"),
        ("create", "clusterrole", "x", "--verb=get", "--resource=pods"),
        ("create", "rolebinding", "x", "-n", HOME, "--clusterrole=admin", f"--serviceaccount={HOME}:jhaas"),
        ("create", "token", "jhaas", "-n", HOME),
        ("annotate", "nodes", "--all", "mine=x"),
    ],
    ids=" ".join,
)
def test_nothing_outside_of_courses_is_changed(account: Path, arguments: tuple[str, ...]) -> None:
    if arguments[:2] == ("create", "token"):
        with pytest.raises(CommandFailed, match="forbidden"):
            kubectl(*arguments)
    else:
        assert any(word in refusal(*arguments) for word in ("forbidden", "denied"))
