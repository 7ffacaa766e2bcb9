"""What is in a cluster, and what of a platform is left in it."""

from __future__ import annotations

from tests.cluster import kube
from tests.cluster.portal_site import NAMESPACE as PORTAL

PASSING = {
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpointslices.discovery.k8s.io",
    "endpoints",
}
"""Kinds of objects that come and go by themselves."""
DEFINITIONS = {"CustomResourceDefinition", "APIService"}
"""Kinds of what stays: docs/platform.md says so, and how to take it away."""


def everything() -> set[tuple[str, ...]]:
    """Kind, namespace and name of every object that does not pass by itself."""
    kinds = kube.kubectl("api-resources", "--verbs=list,delete", "--output=name").split()
    columns = "KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    listed = kube.kubectl(
        *("get", ",".join(kind for kind in kinds if kind not in PASSING), "--all-namespaces"),
        *("--ignore-not-found", "--no-headers", f"--output=custom-columns={columns}"),
    )
    return {tuple(line.split()) for line in listed.splitlines()}


def everything_but_ours() -> set[tuple[str, ...]]:
    """`everything`, where there is no platform yet."""
    found = everything()
    assert ("Namespace", "<none>", PORTAL) not in found, "this cluster has a platform, which the trial would take"
    return found


def left(before: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {one for one in everything() - before if one[0] not in DEFINITIONS}
