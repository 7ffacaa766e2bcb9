"""What a cluster really holds of our courses, asked of the cluster itself and never of a state.

A course is its namespace and the Helm release in it; everything else in there goes with the namespace. What may be left
when a namespace is gone is looked for by itself: volumes that are kept or hang, and objects of the release that the
whole cluster knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from course_stack.kubernetes.api import Cluster
from course_stack.kubernetes.names import COURSE_LABEL, ClusterNames
from course_stack.names import PREFIX

if TYPE_CHECKING:
    from lightkube.models.core_v1 import Namespace, PersistentVolume

NAMESPACE = "namespace"
RELEASE = "Helm release"
VOLUME = "volume"

RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotation by which Helm says whose an object is."""
RELEASE_SECRET = "helm.sh/release.v1"  # noqa: S105 - a type

Found = tuple[str, str]
"""Kind in words, and name."""


class ClusterLook:
    """Looks, and changes nothing. Failures raise `ClusterError`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def things_of(self, slug: str) -> frozenset[Found]:
        """What a whole course of this slug has."""
        names = ClusterNames(slug)
        return frozenset({(NAMESPACE, names.namespace), (RELEASE, names.release)})

    def found(self) -> frozenset[Found]:
        """Every course's namespace and release, and what is left of namespaces that are gone."""
        from lightkube.resources.core_v1 import Namespace

        namespaces = self._cluster.objects(Namespace)
        there = {_name(one) for one in namespaces}
        ours = {_name(one) for one in namespaces if _is_of_a_course(one)}
        found = {(NAMESPACE, name) for name in ours}
        found |= {(RELEASE, name) for namespace, name in self._releases() if namespace in ours}
        for kind, name, namespace in [*self._volumes(), *self._cluster_wide()]:
            if namespace.startswith(PREFIX) and namespace not in there:
                found.add((kind, f"{name} of {namespace}"))
        return frozenset(found)

    def traces(self, slug: str) -> list[str]:
        """Everything of one course that is there, in words."""
        from lightkube.resources.core_v1 import Namespace, PersistentVolumeClaim, Pod, Service

        names = ClusterNames(slug)
        found = []
        namespace = self._cluster.get(Namespace, names.namespace)
        if namespace is not None:
            found.append(f"{NAMESPACE} {names.namespace}{_going(namespace)}")
            found += [f"{RELEASE} {name}" for _, name in self._releases(names.namespace)]
            for kind, word in ((PersistentVolumeClaim, "claim"), (Pod, "pod"), (Service, "load balancer")):
                some: list[Any] = self._cluster.objects(kind, names.namespace)
                if kind is Service:
                    some = [one for one in some if one.spec.type == "LoadBalancer"]
                if some:
                    more = f" and {len(some) - 1} more" if len(some) > 1 else ""
                    found.append(f"{word} {_name(some[0])}{more}")
        for kind_, name, of in [*self._volumes(), *self._cluster_wide()]:
            if of == names.namespace:
                found.append(f"{kind_} {name}")
        return found

    def _releases(self, namespace: str | None = None) -> Iterator[Found]:
        place = "/api/v1/secrets" if namespace is None else f"/api/v1/namespaces/{namespace}/secrets"
        seen = set()
        for secret in self._cluster.metadata(place, fieldSelector=f"type={RELEASE_SECRET}", labelSelector="owner=helm"):
            one = secret["namespace"], secret.get("labels", {}).get("name", "")
            if one not in seen:
                seen.add(one)
                yield one

    def _volumes(self) -> Iterator[tuple[str, str, str]]:
        """Volumes that belong to a claim, whether it is there or not: kind, name, namespace of the claim."""
        from lightkube.resources.core_v1 import PersistentVolume

        volumes: Iterable[PersistentVolume] = self._cluster.objects(PersistentVolume)
        for volume in volumes:
            claim = volume.spec.claimRef if volume.spec else None
            if claim is not None and claim.namespace:
                yield f"{VOLUME} ({_policy(volume)})", _name(volume), claim.namespace

    def _cluster_wide(self) -> Iterator[tuple[str, str, str]]:
        """What Helm made for the whole cluster: kind, name, namespace of the release."""
        for kind, path in _CLUSTER_WIDE.items():
            for one in self._cluster.metadata(path):
                if namespace := (one.get("annotations") or {}).get(RELEASE_NAMESPACE):
                    yield kind, one["name"], namespace


_CLUSTER_WIDE = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
}


def _name(one: Any) -> str:
    return str(one.metadata.name)


def _is_of_a_course(namespace: Namespace) -> bool:
    return COURSE_LABEL in ((namespace.metadata and namespace.metadata.labels) or {})


def _going(namespace: Namespace) -> str:
    """Since when it is being deleted."""
    since = namespace.metadata and namespace.metadata.deletionTimestamp
    return f" (being deleted since {since:%Y-%m-%d %H:%M} UTC)" if since else ""


def _policy(volume: PersistentVolume) -> str:
    phase = (volume.status and volume.status.phase) or "of no known condition"
    kept = volume.spec is not None and volume.spec.persistentVolumeReclaimPolicy == "Retain"
    return f"{phase.lower()}{', kept by its storage class' if kept else ''}"
