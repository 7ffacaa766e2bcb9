"""A course's namespace: nothing without bounds, and bounds that hold what the hub may start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from course_stack.kubernetes.manifests import placeholders
from course_stack.kubernetes.objects import JOB, JOBS_AT_ONCE, course_objects
from course_stack.kubernetes.values import hub_values
from course_stack.sizes import HUB, PROXY, SPARE_SERVERS, largest_notebook, mib
from course_stack.spec import CourseSpec, SpecError, load_spec
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import HELPER, cluster_target, targets
from tests.course_stack.specs import course, specs
from tests.support import schemas

VOLUMES = [
    {"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 5},
    {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 0.25},
]


def objects(target: Target | None = None, **changes: Any) -> dict[str, dict[str, Any]]:
    made = course_objects(load_spec(course(**changes)), target or cluster_target())
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made}


@settings(max_examples=40)
@given(specs(), targets())
def test_every_object_is_one_that_kubernetes_takes(spec: CourseSpec, target: Target) -> None:
    target = target.model_copy(update={"cluster": target.cluster.model_copy(update={"shared_class": "nfs"})})  # type: ignore[union-attr]
    assert [problem for one in course_objects(spec, target) for problem in schemas.problems(one)] == []


def test_the_namespace_comes_first_and_claims_last() -> None:
    kinds = [key.partition("/")[0] for key in objects(shared_volumes=VOLUMES)]
    assert kinds == [
        "Namespace",
        "ResourceQuota",
        "LimitRange",
        *["NetworkPolicy"] * 6,
        "ServiceAccount",
        "PersistentVolumeClaim",
        "PersistentVolumeClaim",
    ]


def test_the_namespace_takes_restricted_pods_only() -> None:
    labels = objects()["Namespace/jhaas-python-intro"]["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "v1.34"


@given(specs())
def test_the_quota_holds_all_that_may_run_at_once_and_the_limits_each_of_it(spec: CourseSpec) -> None:
    made = {one["kind"]: one for one in course_objects(spec, cluster_target())}
    hard = made["ResourceQuota"]["spec"]["hard"]
    servers = spec.active_servers + SPARE_SERVERS
    running = largest_notebook(spec) * servers + HUB + PROXY + JOB * JOBS_AT_ONCE
    assert _mib(hard["requests.memory"]) >= running.guarantee.memory_mib
    assert _mib(hard["limits.memory"]) >= running.limit.memory_mib
    assert _millicores(hard["requests.cpu"]) >= running.guarantee.cpu_millicores
    assert _millicores(hard["limits.cpu"]) >= running.limit.cpu_millicores
    assert int(hard["pods"]) >= servers + 2 + JOBS_AT_ONCE
    homes = 2 * spec.seats + len(spec.leads) + SPARE_SERVERS
    assert int(hard["persistentvolumeclaims"]) >= homes + len(spec.shared_volumes) + 1
    assert _mib(hard["requests.storage"]) >= homes * mib(spec.home_size)

    container, claim = made["LimitRange"]["spec"]["limits"]
    for size in (largest_notebook(spec), HUB, PROXY, JOB):
        assert size.limit.memory_mib <= _mib(container["max"]["memory"])
        assert size.limit.cpu_millicores <= _millicores(container["max"]["cpu"])
    assert mib(spec.home_size) <= _mib(claim["max"]["storage"])


def test_the_hub_s_own_limit_of_servers_is_within_the_quota() -> None:
    spec = load_spec(course(spawning={"active_servers": 7}))
    values = hub_values(spec, cluster_target(), placeholders())
    hard = objects(spawning={"active_servers": 7})["ResourceQuota/course"]["spec"]["hard"]
    assert values["hub"]["activeServerLimit"] + 2 + JOBS_AT_ONCE <= int(hard["pods"])


def test_a_container_that_asks_for_nothing_gets_something_small() -> None:
    """Without defaults, a quota on memory refuses every pod that names no memory: the chart's release would wait for
    ever."""
    container = objects()["LimitRange/course"]["spec"]["limits"][0]
    assert set(container["defaultRequest"]) == set(container["default"]) == {"memory", "cpu"}
    assert _mib(container["defaultRequest"]["memory"]) <= _mib(container["default"]["memory"])
    assert _mib(container["default"]["memory"]) <= _mib(container["max"]["memory"])


def test_graphics_processors_are_for_courses_with_a_profile_of_theirs() -> None:
    assert objects()["ResourceQuota/course"]["spec"]["hard"]["requests.nvidia.com/gpu"] == "0"
    profiles = [{"name": "Small"}, {"name": "GPU", "gpu": {"count": 2}}]
    hard = objects(profiles=profiles, seats=3)["ResourceQuota/course"]["spec"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == str(2 * (3 + 1 + SPARE_SERVERS))
    assert hard["requests.amd.com/gpu"] == "0"


def test_a_course_opens_no_door_of_the_cluster() -> None:
    hard = objects()["ResourceQuota/course"]["spec"]["hard"]
    assert hard["services.loadbalancers"] == hard["services.nodeports"] == "0"


def test_shared_volumes_are_claims_for_many_notebooks_of_the_target_s_class() -> None:
    made = objects(shared_volumes=VOLUMES)
    spec = made["PersistentVolumeClaim/shared-material"]["spec"]
    assert spec == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "5120Mi"}},
    }
    claim = made["LimitRange/course"]["spec"]["limits"][1]
    assert claim == {"type": "PersistentVolumeClaim", "max": {"storage": "5120Mi"}}


def test_notebooks_mount_the_claims_that_are_made() -> None:
    made = objects(shared_volumes=VOLUMES)
    values = hub_values(load_spec(course(shared_volumes=VOLUMES)), cluster_target(), placeholders())
    claimed = set(_values_of(values["singleuser"]["storage"], "claimName"))
    assert {f"PersistentVolumeClaim/{name}" for name in claimed} <= set(made)
    assert {"shared-material", "shared-share"} <= claimed


def test_shared_volumes_are_refused_where_the_target_has_no_class_for_them() -> None:
    with pytest.raises(SpecError) as refused:
        objects(cluster_target(shared_class=None), shared_volumes=VOLUMES)
    assert [problem.field for problem in refused.value.problems] == ["shared_volumes"]
    assert "campus has no disks that many notebooks can use at once" in str(refused.value)


def test_our_jobs_have_an_account_without_token_and_rights() -> None:
    account = objects()["ServiceAccount/jobs"]
    assert account["automountServiceAccountToken"] is False
    assert not [key for key in objects() if key.startswith(("Role", "ClusterRole"))]


def test_the_pull_secret_is_there_for_hub_notebooks_and_jobs_where_the_target_has_one() -> None:
    target = cluster_target(images={"helper": HELPER, "pull_secret": True})
    made = objects(target)
    assert made["Secret/registry"]["type"] == "kubernetes.io/dockerconfigjson"
    assert made["ServiceAccount/jobs"]["imagePullSecrets"] == [{"name": "registry"}]
    values = hub_values(load_spec(course()), target, placeholders())
    assert values["imagePullSecrets"] == [{"name": "registry"}]
    assert "Secret/registry" not in objects()
    assert "imagePullSecrets" not in objects()["ServiceAccount/jobs"]


def _mib(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi"))


def _millicores(quantity: str) -> int:
    assert quantity.endswith("m")
    return int(quantity.removesuffix("m"))


def _values_of(value: Any, key: str) -> list[str]:
    if isinstance(value, dict):
        own = [value[key]] if key in value else []
        return [*own, *(found for one in value.values() for found in _values_of(one, key))]
    return [found for one in value for found in _values_of(one, key)] if isinstance(value, list) else []
