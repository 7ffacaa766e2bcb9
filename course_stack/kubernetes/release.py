"""The Helm release of a course: chart, place and name. Its values are `hub_values`."""

from __future__ import annotations

from dataclasses import dataclass

from course_stack.kubernetes.names import ClusterNames
from course_stack.spec import CourseSpec
from course_stack.target import Target


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """What Helm is told beside the values."""

    name: str
    namespace: str
    chart: str
    repository: str | None
    version: str | None
    timeout: int
    """Seconds until the chart's pods must run."""


def release_plan(spec: CourseSpec, target: Target) -> ReleasePlan:
    """The release of a course; `target` must be a cluster."""
    cluster = target.cluster
    assert cluster is not None
    names = ClusterNames(spec.slug)
    source = cluster.chart
    return ReleasePlan(
        names.release, names.namespace, source.chart, source.repository, source.version, cluster.release_timeout
    )
