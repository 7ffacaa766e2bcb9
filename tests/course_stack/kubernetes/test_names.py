"""Names on a cluster: from the slug alone, never two alike, and within every bound."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given

from course_stack.kubernetes.manifests import manifests
from course_stack.kubernetes.names import COURSE_LABEL, ClusterNames
from course_stack.spec import CourseSpec, load_spec
from tests.course_stack.kubernetes.targets import HELPER, cluster_target
from tests.course_stack.specs import course, specs

LONGEST = "a" * 20 + "-" + "b" * 19
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Derived:
    """A name that Helm, the chart or Kubernetes makes of ours, and its bound."""

    name: str
    most: int


@pytest.mark.parametrize("slug", ["abc", LONGEST])
def test_names_stay_in_bounds_with_what_helm_the_chart_and_kubernetes_add(slug: str) -> None:
    names = ClusterNames(slug)
    derived = [
        Derived(names.namespace, 63),
        Derived(names.release, 53),
        # Helm's own record of a release
        Derived(f"sh.helm.release.v1.{names.release}.v9999", 253),
        # what the chart would name for the whole cluster
        Derived(f"{names.release}-user-placeholder-priority", 253),
        # `kubernetes.io/metadata.name` and the label `release` hold them whole
        Derived(names.release, 63),
        # a service's name in the cluster, of which each part is bounded for itself
        Derived(f"proxy-public.{names.namespace}.svc.cluster.local", 253),
    ]
    assert [one for one in derived if len(one.name) > one.most] == []
    assert len(LONGEST) == 40


def test_names_follow_from_the_slug_and_differ_where_it_does() -> None:
    one, other = ClusterNames("biology"), ClusterNames("biology-2")
    assert one == ClusterNames("biology")
    assert one.namespace != other.namespace
    assert one.release != other.release
    assert one.labels == {"app.kubernetes.io/part-of": "jhaas", COURSE_LABEL: "biology"}


@given(specs())
def test_every_object_of_every_course_has_a_valid_name_and_none_has_another_s(spec: CourseSpec) -> None:
    target = cluster_target(images={"helper": HELPER, "pull_secret": True})
    *objects, release = manifests(spec, target)
    keys = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(keys) == len(set(keys))
    assert all(DNS_LABEL.fullmatch(name) for _, name in keys)
    assert all(LABEL_VALUE.fullmatch(value) for one in objects for value in one["metadata"]["labels"].values())
    assert DNS_LABEL.fullmatch(release["release"]["name"])


def test_our_policies_and_the_chart_s_do_not_take_each_other_s_names() -> None:
    """The chart calls its own after components; two owners of one object would undo each other's work."""
    objects = manifests(load_spec(course()), cluster_target())[:-1]
    ours = {one["metadata"]["name"] for one in objects if one["kind"] == "NetworkPolicy"}
    assert ours.isdisjoint({"hub", "proxy", "singleuser", "autohttps"})
    assert all(name.startswith("course-") for name in ours)
