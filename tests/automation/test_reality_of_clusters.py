"""What there is of courses on a cluster: the cluster's part and that of the services behind it, as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from automation import reality
from automation.audit import Thing
from automation.reality import ClusterReality, reality_of
from course_stack.kubernetes import api
from course_stack.kubernetes.names import ClusterNames
from course_stack.local.layout import Layout
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster


class Names:
    """An identity provider or object store that has these, whatever kind is asked for."""

    def __init__(self, **names: set[str]) -> None:
        self._names = names

    def __getattr__(self, method: str) -> Any:
        return lambda prefix: frozenset(
            one for one in self._names.get(method.removesuffix("_names"), ()) if one.startswith(prefix)
        )


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr(api, "connect", lambda target, _folder=None: fake.connect(target, tmp_path))
    provider = Names(client={"jhaas-one"}, group={"jhaas-one", "jhaas-one-leads", "jhaas-lost", "jhaas-platform"})
    store = Names(bucket={"jhaas-one", "jhaas-kept"}, user={"jhaas-one", "jhaas-one--archives"})
    monkeypatch.setattr(reality.identity, "connect", lambda *_: provider)
    monkeypatch.setattr(reality.object_store, "connect", lambda *_: store)
    names = ClusterNames("one")
    fake.add("namespaces", names.namespace, metadata={"labels": names.labels})
    labels = {"owner": "helm", "name": names.release, "status": "deployed", "version": "1"}
    fake.add(
        "secrets",
        "sh.helm.release.v1.jhaas-one.v1",
        names.namespace,
        metadata={"labels": labels},
        type="helm.sh/release.v1",
    )
    return fake


def test_a_whole_course_lacks_nothing_and_what_belongs_to_none_is_left_over(fake: FakeCluster, tmp_path: Path) -> None:
    look = reality_of(cluster_target(), Layout(tmp_path))
    assert isinstance(look, ClusterReality)
    assert look.things_of("one") <= look.found()
    assert look.found() - look.things_of("one") == {Thing("group", "jhaas-lost"), Thing("bucket", "jhaas-kept")}


def test_after_a_removal_every_part_is_asked(fake: FakeCluster, tmp_path: Path) -> None:
    look = reality_of(cluster_target(), Layout(tmp_path))
    assert look.traces("one") == [
        "namespace jhaas-one",
        "Helm release jhaas-one",
        "OIDC client jhaas-one",
        "bucket jhaas-one",
        "group jhaas-one",
        "group jhaas-one-leads",
        "object store user jhaas-one",
        # of an archive Job that was killed
        "object store user jhaas-one--archives",
    ]
    assert look.traces("lost") == ["group jhaas-lost"]
    assert look.traces("never-was") == []


def test_a_bucket_that_the_target_keeps_is_no_trace(fake: FakeCluster, tmp_path: Path) -> None:
    target = cluster_target()
    keeping = target.model_copy(update={"object_store": target.object_store.model_copy(update={"keep_buckets": True})})
    look = reality_of(keeping, Layout(tmp_path))
    assert look.traces("kept") == []
    assert look.may_stay(Thing("bucket", "jhaas-kept"))
    assert not look.may_stay(Thing("namespace", "jhaas-kept"))
