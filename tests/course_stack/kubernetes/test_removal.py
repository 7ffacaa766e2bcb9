"""A removal begins with what takes long, and nobody builds where one is under way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from course_stack.kubernetes import prepare as prepare_of_clusters
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.prepare import NAMESPACE_TYPE, RELEASE_TYPE
from course_stack.kubernetes.removal import PATIENCE_SECONDS, begin_removal, ended
from course_stack.prepare import Prepared, is_lost
from course_stack.prepare import begin_removal as begin_anywhere
from course_stack.prepare import prepare as prepare_anywhere
from tests.automation.conftest import TARGET as MACHINE
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster

SLUG, NAMESPACE = "the-course", "jhaas-the-course"
GONE = {"deletionTimestamp": "2026-11-02T10:00:00Z"}
HERE = {NAMESPACE_TYPE, RELEASE_TYPE}


@pytest.fixture
def connected(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Every target that is a cluster is this one."""
    monkeypatch.setattr(prepare_of_clusters, "connect", lambda _target: nullcontext(cluster))
    return cluster


def add_course(fake: FakeCluster, slug: str = SLUG, **metadata: str) -> None:
    fake.add("namespaces", f"jhaas-{slug}", metadata=metadata)
    for pod in ("hub", "proxy", "jupyter-anna"):
        fake.add("pods", pod, f"jhaas-{slug}")
    fake.add("persistentvolumeclaims", "home-anna", f"jhaas-{slug}")


def names(fake: FakeCluster, plural: str) -> set[tuple[str, str]]:
    return {(one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in fake.of(plural)}


def test_the_namespace_is_told_first_then_pods_and_claims_and_no_other_course_is_touched(
    fake: FakeCluster, cluster: Cluster
) -> None:
    add_course(fake)
    add_course(fake, "other")
    begin_removal(cluster, SLUG)
    told = [path for method, path in fake.asked if method == "DELETE"]
    place = f"/api/v1/namespaces/{NAMESPACE}"
    assert told[0] == place
    pods = {f"{place}/pods/{name}" for name in ("hub", "proxy", "jupyter-anna")}
    assert set(told[1:]) == {*pods, f"{place}/persistentvolumeclaims/home-anna"}
    assert {place for place, _ in names(fake, "pods") | names(fake, "persistentvolumeclaims")} == {"jhaas-other"}


def test_where_there_is_no_namespace_nothing_more_is_asked(fake: FakeCluster, cluster: Cluster) -> None:
    begin_removal(cluster, SLUG)
    assert fake.asked == [("DELETE", f"/api/v1/namespaces/{NAMESPACE}")]


def test_a_namespace_that_goes_is_awaited(fake: FakeCluster, cluster: Cluster) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            fake.objects.clear()

    add_course(fake)
    assert ended(cluster, SLUG, sleep=sleep) is False
    assert slept == []
    add_course(fake, **GONE)
    assert ended(cluster, SLUG, sleep=sleep) is True
    assert len(slept) == 3
    assert ended(cluster, SLUG, sleep=sleep) is True


def test_a_namespace_that_does_not_go_is_told_with_what_to_do(fake: FakeCluster, cluster: Cluster) -> None:
    add_course(fake, **GONE)
    seconds = iter([0.0, PATIENCE_SECONDS, PATIENCE_SECONDS + 1])
    with pytest.raises(ClusterError, match=f"`jhaas cluster repair {NAMESPACE}` says why"):
        ended(cluster, SLUG, sleep=lambda _seconds: None, monotonic=lambda: next(seconds))


def nothing(_kind: str) -> bool:
    return False


@pytest.mark.parametrize(("state_has", "lost"), [(HERE.__contains__, True), (nothing, False)])
def test_a_course_is_lost_when_only_the_state_has_it(
    connected: Cluster, state_has: Callable[[str], bool], lost: bool
) -> None:
    assert prepare_anywhere(cluster_target(), SLUG, state_has) == Prepared(lost=lost)
    assert is_lost(cluster_target(), SLUG, state_has) == lost


def test_a_course_that_goes_is_lost_and_a_look_waits_for_nothing(fake: FakeCluster, connected: Cluster) -> None:
    add_course(fake)
    assert not is_lost(cluster_target(), SLUG, HERE.__contains__)
    add_course(fake, **GONE)
    assert is_lost(cluster_target(), SLUG, HERE.__contains__)
    assert not is_lost(MACHINE, SLUG, HERE.__contains__)


def test_where_the_namespace_is_interrupted_releases_are_put_right(fake: FakeCluster, connected: Cluster) -> None:
    add_course(fake)
    labels = {"owner": "helm", "name": NAMESPACE, "status": "pending-install", "version": "1"}
    fake.add("secrets", "v1", NAMESPACE, metadata={"labels": labels}, type="helm.sh/release.v1")
    found = prepare_anywhere(cluster_target(), SLUG, lambda kind: kind == NAMESPACE_TYPE)
    assert (len(found.told), found.lost) == (1, False)
    assert fake.of("secrets") == []


def test_only_what_the_stack_has_made_is_told_to_go(fake: FakeCluster, connected: Cluster) -> None:
    add_course(fake)
    begin_anywhere(cluster_target(), SLUG, nothing)
    begin_anywhere(MACHINE, SLUG, HERE.__contains__)
    assert fake.asked == []
    begin_anywhere(cluster_target(), SLUG, HERE.__contains__)
    assert fake.of("namespaces") == []
