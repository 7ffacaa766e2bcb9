"""The removal of a course on a cluster, beside what the engine does: what takes long is told first, and awaited where
somebody else is to begin.

Kubernetes leaves a namespace that was told to go alone for five seconds, and then looks again every five seconds while
something in it has yet to end: a pod, or a claim that a pod used. Told together with their namespace, these are gone at
the first look, and the engine starts meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.names import ClusterNames

POD_SECONDS = 2
"""In which pods end by themselves: nothing that they could still write is kept."""
PATIENCE_SECONDS = 120.0
_POLL = 0.5
_AT_ONCE = 8


def begin_removal(cluster: Cluster, slug: str) -> None:
    """Tell the course's namespace to go, and its pods and claims with it; fine where there is none.

    Whoever stops here has a course that is half gone: `ended` sees it.
    """
    from lightkube.resources.core_v1 import Namespace, PersistentVolumeClaim, Pod

    place = ClusterNames(slug).namespace
    # first: where a namespace goes nothing is made any more, so that nobody replaces what ends
    if not cluster.delete(Namespace, place):
        return
    path = f"/api/v1/namespaces/{place}"
    pods = [(Pod, one["name"], POD_SECONDS) for one in cluster.metadata(f"{path}/pods")]
    claims = [(PersistentVolumeClaim, one["name"], None) for one in cluster.metadata(f"{path}/persistentvolumeclaims")]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda one: cluster.delete(one[0], one[1], place, grace=one[2]), [*pods, *claims]))


def standing(cluster: Cluster, slug: str) -> Literal["stays", "goes", "gone"]:
    """How the course's namespace is: there, there but told to go, or not there."""
    from lightkube.resources.core_v1 import Namespace

    found = cluster.get(Namespace, ClusterNames(slug).namespace)
    if found is None:
        return "gone"
    return "stays" if found.metadata is None or found.metadata.deletionTimestamp is None else "goes"


def ended(
    cluster: Cluster,
    slug: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Whether the course's namespace is not there. One that goes is awaited: until then nothing can be made in it.

    Raises `ClusterError` where it does not go."""
    deadline = monotonic() + PATIENCE_SECONDS
    while (found := standing(cluster, slug)) == "goes":
        if monotonic() > deadline:
            place = ClusterNames(slug).namespace
            raise ClusterError(f"Namespace {place} does not go: `jhaas cluster repair {place}` says why.")
        sleep(_POLL)
    return found == "gone"
