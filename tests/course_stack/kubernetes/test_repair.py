"""Interrupted releases are put right, and what holds a namespace is named before anything is taken away."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from course_stack.kubernetes import repair
from course_stack.kubernetes.api import Cluster
from course_stack.kubernetes.repair import Revision, plan, repair_release
from tests.support.fake_cluster import FakeCluster

SLUG, NAMESPACE = "the-course", "jhaas-the-course"


def _revisions(*statuses: str) -> list[Revision]:
    return [Revision(number, status, f"v{number}") for number, status in enumerate(statuses, 1)]


@pytest.mark.parametrize(
    ("statuses", "known", "deleted", "failed"),
    [
        ([], True, [], None),
        ([], False, [], None),
        (["deployed"], True, [], None),
        (["superseded", "failed"], True, [], None),
        # the run was killed in an upgrade: Helm goes on from the one before
        (["deployed", "pending-upgrade"], True, [2], None),
        (["superseded", "deployed", "pending-rollback"], True, [3], None),
        (["failed", "pending-upgrade", "pending-upgrade"], True, [2, 3], None),
        # nothing to go on from is left
        (["pending-install"], True, [], 1),
        # the stack forgot a release whose install was killed, or ended without us
        (["pending-install"], False, [1], None),
        (["deployed"], False, [1], None),
        (["superseded", "deployed", "pending-upgrade"], False, [1, 2, 3], None),
    ],
)
def test_what_puts_a_release_right_depends_on_what_the_stack_knows(
    statuses: list[str], known: bool, deleted: list[int], failed: int | None
) -> None:
    todo = plan(reversed(_revisions(*statuses)), known=known)
    assert [one.number for one in todo.delete] == deleted
    assert (todo.fail and todo.fail.number) == failed
    assert bool(todo) is bool(deleted or failed)


def _add_revision(fake: FakeCluster, number: int, status: str, release: str = NAMESPACE) -> dict[str, Any]:
    content = {"name": release, "version": number, "info": {"status": status}, "config": {"secret": "very secret"}}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
    labels = {"owner": "helm", "name": release, "status": status, "version": str(number)}
    return fake.add(
        "secrets",
        f"sh.helm.release.v1.{release}.v{number}",
        NAMESPACE,
        metadata={"labels": labels},
        type="helm.sh/release.v1",
        data={"release": packed},
    )


def test_the_interrupted_revision_goes_and_everything_else_stays(fake: FakeCluster, cluster: Cluster) -> None:
    for number, status in enumerate(("superseded", "deployed", "pending-upgrade"), 1):
        _add_revision(fake, number, status)
    _add_revision(fake, 1, "pending-install", "somebody-elses")
    fake.add("secrets", "hub", NAMESPACE, type="Opaque")
    assert repair_release(cluster, SLUG, known=True) == [
        "removed revision 3 (pending-upgrade) of Helm release jhaas-the-course: the run that made it was interrupted"
    ]
    left = {one["metadata"]["name"].removeprefix("sh.helm.release.v1.") for one in fake.of("secrets")}
    assert left == {"jhaas-the-course.v1", "jhaas-the-course.v2", "somebody-elses.v1", "hub"}
    assert repair_release(cluster, SLUG, known=True) == []


def test_the_only_revision_is_marked_as_failed_so_that_an_upgrade_finds_it(fake: FakeCluster, cluster: Cluster) -> None:
    secret = _add_revision(fake, 1, "pending-install")
    (told,) = repair_release(cluster, SLUG, known=True)
    assert told.startswith("marked revision 1 (pending-install) of Helm release jhaas-the-course as failed")
    assert secret["metadata"]["labels"]["status"] == "failed"
    content = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    assert content["info"]["status"] == "failed"
    assert content["config"] == {"secret": "very secret"}
    assert repair_release(cluster, SLUG, known=True) == []


GONE = {"deletionTimestamp": "2026-11-02T10:00:00Z"}


def _stuck(fake: FakeCluster) -> None:
    """A namespace on its way out, with what may hold it."""
    said = [{"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining"}]
    fake.add("namespaces", NAMESPACE, metadata=GONE, status={"phase": "Terminating", "conditions": said})
    protection = {"finalizers": ["kubernetes.io/pvc-protection"]}
    for name, meta in (
        ("home-used", {**GONE, **protection}),
        ("home-free", {**GONE, **protection}),
        ("home-not-deleted", protection),
        ("home-strange", {**GONE, "finalizers": ["kubernetes.io/pvc-protection", "example.org/backup"]}),
    ):
        fake.add("persistentvolumeclaims", name, NAMESPACE, metadata=meta)
    volume = {"name": "home", "persistentVolumeClaim": {"claimName": "home-used"}}
    fake.add("pods", "notebook", NAMESPACE, spec={"containers": [], "volumes": [volume]})
    fake.add(
        "services",
        "proxy-public",
        NAMESPACE,
        metadata={**GONE, "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]},
    )
    core = [
        {"name": name, "kind": kind, "namespaced": True, "verbs": ["list"]}
        for name, kind in (
            ("persistentvolumeclaims", "PersistentVolumeClaim"),
            ("services", "Service"),
            ("pods", "Pod"),
            ("pods/log", "Pod"),
        )
    ]
    fake.answers["/api/v1"] = {"resources": core}
    fake.answers["/apis"] = {"groups": [{"preferredVersion": {"groupVersion": "gone.example.org/v1"}}]}


def test_a_stuck_namespace_is_diagnosed_object_by_object(fake: FakeCluster, cluster: Cluster) -> None:
    _stuck(fake)
    found = repair.diagnose(cluster, NAMESPACE)
    assert found is not None
    assert found.going
    assert found.said == ("NamespaceContentRemaining: Some resources are remaining",)
    assert {(one.kind, one.name, one.finalizer.rsplit("/", 1)[-1], one.going) for one in found.holders} == {
        ("PersistentVolumeClaim", "home-used", "pvc-protection", True),
        ("PersistentVolumeClaim", "home-free", "pvc-protection", True),
        ("PersistentVolumeClaim", "home-not-deleted", "pvc-protection", False),
        ("PersistentVolumeClaim", "home-strange", "pvc-protection", True),
        ("PersistentVolumeClaim", "home-strange", "backup", True),
        ("Service", "proxy-public", "load-balancer-cleanup", True),
    }


def test_only_what_is_known_to_be_harmless_is_taken_away(fake: FakeCluster, cluster: Cluster) -> None:
    _stuck(fake)
    found = repair.diagnose(cluster, NAMESPACE)
    assert found is not None
    done = repair.release_holders(cluster, found)
    assert {one.name for one in done} == {"home-free", "home-strange"}
    left = {one["metadata"]["name"]: one["metadata"].get("finalizers") for one in fake.of("persistentvolumeclaims")}
    assert left == {
        "home-used": ["kubernetes.io/pvc-protection"],
        "home-free": [],
        "home-not-deleted": ["kubernetes.io/pvc-protection"],
        "home-strange": ["example.org/backup"],
    }
    assert fake.of("services")[0]["metadata"]["finalizers"] == ["service.kubernetes.io/load-balancer-cleanup"]


def test_nothing_is_taken_from_a_namespace_that_stays(fake: FakeCluster, cluster: Cluster) -> None:
    _stuck(fake)
    fake.objects["namespaces", "", NAMESPACE]["metadata"].pop("deletionTimestamp")
    found = repair.diagnose(cluster, NAMESPACE)
    assert found is not None
    assert repair.release_holders(cluster, found) == []
    assert not any(method == "PATCH" for method, _ in fake.asked)


def test_a_namespace_that_is_gone_needs_no_diagnosis(cluster: Cluster) -> None:
    assert repair.diagnose(cluster, NAMESPACE) is None
