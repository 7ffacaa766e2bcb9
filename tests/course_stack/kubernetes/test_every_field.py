"""Nothing can be set that changes nothing: each field of a course and of a cluster reaches the objects or the chart."""

from __future__ import annotations

from typing import Any

import pytest

from course_stack.cluster import ClusterTarget
from course_stack.kubernetes.jobs import Job
from course_stack.kubernetes.jobs import manifests as job_manifests
from course_stack.kubernetes.manifests import manifests, to_yaml
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import HELPER, cluster_target
from tests.course_stack.specs import course

LARGE = {"memory_guarantee": 1, "memory_limit": 7, "cpu_guarantee": 1, "cpu_limit": 3}
COURSE: dict[str, Any] = {
    "slug": "another",
    "title": "Another title",
    "seats": 11,
    "image": "quay.io/jupyter/minimal-notebook:2026-10-05",
    "resources": LARGE,
    "home_size": 7,
    "profiles": [{"name": "Large", "resources": LARGE}],
    "default_url": "/tree",
    "environment": {"COLOUR": "green"},
    "git_repositories": [{"url": "https://git.example.org/material.git"}],
    "start_commands": ["echo"],
    "culling": {"idle_minutes": 17},
    "shared_volumes": [{"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 1}],
    "spawning": {"concurrent": 3},
}
ELSEWHERE = {
    "description": "is for the portal's pages",
    "first_day": "the portal's calendar deploys and lets in",
    "last_day": "the portal's calendar lets out and removes",
    "leads": "are members of groups at the identity provider",
    "participants": "are members of a group at the identity provider",
}
CLUSTER: dict[str, Any] = {
    "chart": {"chart": "/charts/jupyterhub", "repository": None, "version": None},
    "authority": "authority.crt",
    "images": {"helper": HELPER, "pull_policy": "Always"},
    "edge": {"kind": "gateway", "gateway": "edge", "gateway_namespace": "edge"},
    "storage_class": "fast",
    "shared_class": "other-nfs",
    "core": {"node_selector": {"role": "core"}},
    "notebooks": {"node_selector": {"role": "user"}},
    "gpu": {"node_selector": {"role": "gpu"}},
    "placeholders": 20,
    "private_ranges": ["10.0.0.0/8"],
    "openings": [{"name": "material", "cidr": "10.1.0.0/16", "ports": [443]}],
    "uid": 2000,
    "gid": 2000,
    "release_timeout": 600,
}
WAY = {"context", "kubeconfig"}
"""How the cluster is reached: no course's matter."""


def everything(spec: CourseSpec, target: Target) -> str:
    assert target.cluster is not None
    job = job_manifests(spec.slug, target.cluster, Job("archive", "archive-1", b"program", {}))
    return to_yaml([*manifests(spec, target), *job])


def spec_of(**changes: Any) -> CourseSpec:
    gpu = [{"name": "Graphics", "gpu": {"count": 1}}]
    volumes = [{"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 1}]
    return load_spec(course(**{"profiles": gpu, "shared_volumes": volumes, **changes}))


def test_each_field_of_a_course_is_tried_or_is_somebody_elses() -> None:
    assert set(COURSE) | set(ELSEWHERE) == set(CourseSpec.model_fields)
    assert set(CLUSTER) | WAY == set(ClusterTarget.model_fields)


@pytest.mark.parametrize("field", COURSE)
def test_a_field_of_a_course_changes_what_the_cluster_is_given(field: str) -> None:
    target = cluster_target()
    assert everything(spec_of(**{field: COURSE[field]}), target) != everything(spec_of(), target)


@pytest.mark.parametrize("field", CLUSTER)
def test_a_key_of_a_cluster_changes_what_it_is_given(field: str) -> None:
    changed = cluster_target(**{field: CLUSTER[field]})
    assert everything(spec_of(), changed) != everything(spec_of(), cluster_target())


def test_the_way_to_the_cluster_changes_nothing() -> None:
    elsewhere = cluster_target(context="other", kubeconfig="other")
    assert everything(spec_of(), elsewhere) == everything(spec_of(), cluster_target())
