"""What an operator meets on a real cluster: what is stuck, what is left, and what the cluster lacks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course_stack.kubernetes import repair
from course_stack.kubernetes.api import Cluster, connect
from course_stack.kubernetes.check import checks, worst
from course_stack.kubernetes.look import ClusterLook
from course_stack.kubernetes.names import ClusterNames
from course_stack.kubernetes.objects import course_objects
from course_stack.kubernetes.prepull import fetch
from course_stack.kubernetes.repair import repair_release
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import Target
from tests.cluster import kube
from tests.course_stack.specs import course
from tests.support.waiting import wait_for

pytestmark = pytest.mark.cluster

SLUG = "cluster-operating"
NAMES = ClusterNames(SLUG)


@pytest.fixture(scope="module")
def target(cluster_target: dict[str, Any]) -> Target:
    """The given one; what stands behind it is not asked."""
    given = {name: value for name, value in cluster_target.items() if name in Target.model_fields}
    behind = {
        "identity": {"kind": "canaille", "url": "http://id.localhost"},
        "object_store": {"kind": "seaweedfs", "endpoint": "http://127.0.0.1:1"},
    }
    return Target.model_validate({"hub_domain": "localhost", **behind, **given})


@pytest.fixture(scope="module")
def cluster(target: Target) -> Iterator[Cluster]:
    with connect(target) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def spec(target: Target) -> CourseSpec:
    assert target.cluster is not None
    return load_spec(course(slug=SLUG, seats=2, image=target.cluster.images.helper))


@pytest.fixture
def namespace(target: Target, spec: CourseSpec) -> Iterator[str]:
    kube.kubectl("delete", "namespace", NAMES.namespace, "--ignore-not-found", "--timeout=180s")
    kube.apply(course_objects(spec, target))
    try:
        yield NAMES.namespace
    finally:
        kube.kubectl("delete", "namespace", NAMES.namespace, "--ignore-not-found", "--timeout=180s")


class Chart:
    """A chart of one pod, which starts or never does."""

    def __init__(self, folder: Path, namespace: str, image: str) -> None:
        self._folder, self._namespace = folder, namespace
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text("apiVersion: v2\nname: trial\nversion: 1.0.0\n")
        (folder / "values.yaml").write_text("ready: true\n")
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {
            "name": "it",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "600"],
            "readinessProbe": {"exec": {"command": ["READY"]}, "periodSeconds": 1},
            "securityContext": security,
        }
        spec = {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "it"},
            "spec": {
                "selector": {"matchLabels": {"app": "it"}},
                "template": {"metadata": {"labels": {"app": "it"}}, "spec": spec},
            },
        }
        ready = "{{ if .Values.ready }}true{{ else }}false{{ end }}"
        (folder / "templates/deployment.yaml").write_text(json.dumps(deployment).replace("READY", ready))

    def apply(self, action: str, *more: str) -> None:
        subprocess.run(self._command(action, *more), check=True, capture_output=True, text=True)

    def kill_in_the_middle(self, action: str) -> None:
        """Helm waits for a pod that never is ready, and is killed."""
        helm = subprocess.Popen(self._command(action, "--set", "ready=false"), stderr=subprocess.PIPE)
        try:
            wait_for(lambda: self.statuses()[-1:] == [f"pending-{action}"], f"a pending {action}", 60)
        finally:
            helm.kill()
            helm.communicate()

    def statuses(self) -> list[str]:
        """Of the revisions, oldest first."""
        found = kube.show("secrets", "-n", self._namespace, "-l", f"owner=helm,name={NAMES.release}")
        labels = [one["metadata"]["labels"] for one in found]
        return [one["status"] for one in sorted(labels, key=lambda one: int(one["version"]))]

    def _command(self, action: str, *more: str) -> list[str]:
        # Helm would keep the values of the revision that was interrupted
        more = (*more, "--reset-values") if action == "upgrade" else more
        place = (NAMES.release, str(self._folder), "-n", self._namespace, "--wait", "--timeout=120s")
        return ["helm", action, *place, *more]


@pytest.fixture
def chart(tmp_path: Path, namespace: str, target: Target) -> Chart:
    assert target.cluster is not None
    return Chart(tmp_path / "chart", namespace, target.cluster.images.helper)


def test_a_killed_install_that_the_stack_forgot_is_installed_again(chart: Chart, cluster: Cluster) -> None:
    chart.kill_in_the_middle("install")
    (told,) = repair_release(cluster, SLUG, known=False)
    assert "removed revision 1 (pending-install)" in told
    chart.apply("install")
    assert chart.statuses() == ["deployed"]
    assert repair_release(cluster, SLUG, known=True) == []


def test_a_killed_install_that_the_stack_knows_is_upgraded(chart: Chart, cluster: Cluster) -> None:
    chart.kill_in_the_middle("install")
    (told,) = repair_release(cluster, SLUG, known=True)
    assert "as failed" in told
    chart.apply("upgrade")
    assert chart.statuses()[-1] == "deployed"


def test_a_killed_upgrade_is_upgraded_again(chart: Chart, cluster: Cluster) -> None:
    chart.apply("install")
    chart.kill_in_the_middle("upgrade")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        chart.apply("upgrade")
    assert "another operation" in refused.value.stderr
    (told,) = repair_release(cluster, SLUG, known=True)
    assert "removed revision 2 (pending-upgrade)" in told
    chart.apply("upgrade")
    assert chart.statuses()[-1] == "deployed"


def test_what_holds_a_namespace_is_named_and_the_unknown_is_not_taken_away(namespace: str, cluster: Cluster) -> None:
    metadata = {"name": "held", "namespace": namespace, "finalizers": ["example.org/backup"]}
    kube.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}])
    try:
        kube.kubectl("delete", "namespace", namespace, "--wait=false")
        wait_for(lambda: _holders(cluster, namespace) == {"example.org/backup"}, "a stuck namespace")
        assert f"namespace {namespace} (being deleted since" in ClusterLook(cluster).traces(SLUG)[0]
        found = repair.diagnose(cluster, namespace)
        assert found is not None
        wait_for(lambda: "example.org/backup" in str(repair.diagnose(cluster, namespace)), "the cluster's own words")
        assert repair.release_holders(cluster, found) == []
        assert _holders(cluster, namespace) == {"example.org/backup"}
    finally:
        nothing = '{"metadata": {"finalizers": []}}'
        kube.kubectl("patch", "configmap", "held", "-n", namespace, "--type=merge", "-p", nothing)
    wait_for(lambda: repair.diagnose(cluster, namespace) is None, "the namespace to go", 120)


def _holders(cluster: Cluster, namespace: str) -> set[str]:
    """Finalizers of what is being deleted with the namespace."""
    found = repair.diagnose(cluster, namespace)
    assert found is not None
    return {one.finalizer for one in found.holders if found.going and one.going}


def test_a_course_is_found_with_everything_in_it_and_not_any_more(chart: Chart, cluster: Cluster) -> None:
    chart.apply("install")
    look = ClusterLook(cluster)
    assert look.things_of(SLUG) <= look.found()
    assert look.traces(SLUG)[:2] == [f"namespace {NAMES.namespace}", f"Helm release {NAMES.release}"]
    kube.kubectl("delete", "namespace", NAMES.namespace, "--timeout=180s")
    assert look.traces(SLUG) == []
    assert not look.things_of(SLUG) & look.found()


def test_images_are_brought_to_every_node_and_nothing_stays(
    namespace: str, cluster: Cluster, target: Target, spec: CourseSpec
) -> None:
    assert target.cluster is not None
    nodes = {one["metadata"]["name"] for one in kube.show("nodes")}
    fetched = list(fetch(cluster, target.cluster, spec))
    assert {one.node for one in fetched} <= nodes
    assert [one.trouble for one in fetched] == [None] * len(fetched)
    assert fetched[-1].done == fetched[-1].total == len(fetched)
    wait_for(lambda: kube.show("pods", "-n", namespace) == [], "no pod", 60)


def test_the_check_tries_a_course_in_a_namespace_that_is_gone_again(cluster: Cluster, target: Target) -> None:
    found = {one.about: one for one in checks(cluster, target)}
    for about in ("version", "rights", "nodes of notebooks", "storage of homes", "pod security", "helper image"):
        assert found[about].state == "ok", found[about]
    assert found["a home"].state == "ok", found["a home"]
    # what the cluster lacks is no failure of the check; a plugin may or may not enforce policies
    assert found["network policies"].state in ("ok", "warn"), found["network policies"]
    assert found["removal"].state == "ok"
    assert worst(found.values()) in ("ok", "warn", "fail")
    assert kube.show("namespaces", "--field-selector=metadata.name=jhaas-probe") == []
