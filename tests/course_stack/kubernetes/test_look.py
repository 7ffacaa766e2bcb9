"""What a cluster holds of courses is found in the cluster, whatever a state says."""

from __future__ import annotations

from typing import Any

import pytest

from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.look import RELEASE_NAMESPACE, ClusterLook
from course_stack.kubernetes.names import ClusterNames
from tests.support.fake_cluster import FakeCluster


def _course(fake: FakeCluster, slug: str) -> None:
    names = ClusterNames(slug)
    fake.add("namespaces", names.namespace, metadata={"labels": names.labels})
    for number in (1, 2):
        labels = {"owner": "helm", "name": names.release, "status": "deployed", "version": str(number)}
        fake.add(
            "secrets",
            f"sh.helm.release.v1.{names.release}.v{number}",
            names.namespace,
            metadata={"labels": labels},
            type="helm.sh/release.v1",
        )
    fake.add("persistentvolumeclaims", "home-anna", names.namespace)
    _volume(fake, f"pvc-{slug}", names.namespace, "Bound")


def _volume(fake: FakeCluster, name: str, namespace: str, phase: str, **spec: Any) -> None:
    claim = {"namespace": namespace, "name": "home-anna"}
    fake.add("persistentvolumes", name, spec={"claimRef": claim, **spec}, status={"phase": phase})


def test_a_whole_course_is_its_namespace_and_its_release(fake: FakeCluster, cluster: Cluster) -> None:
    _course(fake, "one")
    _course(fake, "one-more")
    fake.add("namespaces", "jhaas-platform")
    fake.add("namespaces", "elsewhere")
    look = ClusterLook(cluster)
    assert look.found() == look.things_of("one") | look.things_of("one-more")


def test_what_outlives_a_namespace_is_found(fake: FakeCluster, cluster: Cluster) -> None:
    _course(fake, "one")
    _volume(fake, "pvc-left", "jhaas-gone", "Released", persistentVolumeReclaimPolicy="Retain")
    _volume(fake, "pvc-elsewhere", "elsewhere", "Released")
    for plural in ("clusterroles", "clusterrolebindings", "priorityclasses"):
        fake.add(plural, "jhaas-gone-user-scheduler", metadata={"annotations": {RELEASE_NAMESPACE: "jhaas-gone"}})
        fake.add(plural, "jhaas-one-user-scheduler", metadata={"annotations": {RELEASE_NAMESPACE: "jhaas-one"}})
        fake.add(plural, "cluster-admin")
    look = ClusterLook(cluster)
    assert sorted(look.found() - look.things_of("one")) == [
        ("ClusterRole", "jhaas-gone-user-scheduler of jhaas-gone"),
        ("ClusterRoleBinding", "jhaas-gone-user-scheduler of jhaas-gone"),
        ("PriorityClass", "jhaas-gone-user-scheduler of jhaas-gone"),
        ("volume (released, kept by its storage class)", "pvc-left of jhaas-gone"),
    ]
    assert look.traces("gone") == [
        "volume (released, kept by its storage class) pvc-left",
        "ClusterRole jhaas-gone-user-scheduler",
        "ClusterRoleBinding jhaas-gone-user-scheduler",
        "PriorityClass jhaas-gone-user-scheduler",
    ]


def test_everything_of_one_course_is_told_in_words_and_nothing_of_another(fake: FakeCluster, cluster: Cluster) -> None:
    _course(fake, "one")
    _course(fake, "one-more")
    meta = fake.objects["namespaces", "", "jhaas-one"]["metadata"]
    meta["deletionTimestamp"] = "2026-11-02T10:00:00Z"
    fake.add("pods", "jupyter-anna", "jhaas-one", spec={"containers": []})
    fake.add("pods", "jupyter-ben", "jhaas-one", spec={"containers": []})
    fake.add("services", "proxy-public", "jhaas-one", spec={"type": "LoadBalancer"})
    fake.add("services", "hub", "jhaas-one", spec={"type": "ClusterIP"})
    look = ClusterLook(cluster)
    assert look.traces("one") == [
        "namespace jhaas-one (being deleted since 2026-11-02 10:00 UTC)",
        "Helm release jhaas-one",
        "claim home-anna",
        "pod jupyter-anna and 1 more",
        "load balancer proxy-public",
        "volume (bound) pvc-one",
    ]
    assert look.traces("never-was") == []


def test_what_may_not_be_seen_is_no_sign_that_nothing_is_there(fake: FakeCluster, cluster: Cluster) -> None:
    fake.refuse = lambda _method, path: 403 if path.endswith(("secrets", "clusterroles")) else None
    with pytest.raises(ClusterError, match="does not allow us to list"):
        ClusterLook(cluster).found()
    with pytest.raises(ClusterError, match="does not allow us to list"):
        ClusterLook(cluster).traces("one")


def test_contents_of_secrets_stay_at_the_cluster(fake: FakeCluster, cluster: Cluster) -> None:
    """A release's secret holds all values of its hub: names and labels are asked for, nothing else."""
    accepted: list[str] = []
    client = cluster.client._client._client
    client.event_hooks["request"].append(
        lambda request: accepted.append(request.headers["accept"]) if "secrets" in request.url.path else None
    )
    _course(fake, "one")
    ClusterLook(cluster).found()
    assert accepted
    assert all("PartialObjectMetadataList" in one for one in accepted)
