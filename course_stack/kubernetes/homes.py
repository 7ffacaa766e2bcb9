"""Homes of a course on a cluster: claims that its hub made, each marked with its owner.

The claims themselves tell whose a home is, without asking the hub: archives are made from what lies in storage, never
from a list of people.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.names import JOB_LABEL, ClusterNames

if TYPE_CHECKING:
    from lightkube.models.core_v1 import PersistentVolumeClaim as Claim
    from lightkube.models.core_v1 import Pod

HOME_LABELS = {"component": "singleuser-storage"}
"""By which KubeSpawner marks the claims that it makes."""
ISSUER = "jhaas.io/issuer"
SUBJECT = "jhaas.io/subject"
"""Annotations by which the hub says whose a home is (`course_stack.hub_files.spawner`)."""

_ENDED = ("Succeeded", "Failed")
_POLL = 0.5


@dataclass(frozen=True, slots=True)
class HomeOwner:
    """Whose a home is: a subject means something only together with the provider that gave it."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class ClaimPlace:
    """Where a claim can be mounted now. Claims of one place can be mounted by one pod."""

    nodes: str
    """Nodes that reach the volume, as the volume says; empty for all."""
    node: str | None
    """The node that has it open now, where a pod uses it: a volume of one node can be opened there only."""


class HomeClaims:
    """The homes of one course, by the names of their claims. Failures raise `ClusterError`."""

    def __init__(
        self,
        cluster: Cluster,
        slug: str,
        *,
        patience: float = 120,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: seconds until a pod that was told to end must be gone."""
        self._cluster = cluster
        self._namespace = ClusterNames(slug).namespace
        self._patience, self._sleep, self._monotonic = patience, sleep, monotonic

    def owners(self) -> dict[str, HomeOwner | None]:
        """Whose each home is; None where the claim does not say."""
        return {_name(claim): owner_of(claim) for claim in self._claims()}

    def places(self, homes: Collection[str]) -> Mapping[str, ClaimPlace]:
        """Where each of these homes can be mounted now; those that are gone have no place."""
        from lightkube.resources.core_v1 import PersistentVolume

        nodes = {name: pod.spec.nodeName for pod in self._pods() if pod.spec for name in mounted(pod)}
        found = {}
        for claim in self._claims():
            if (name := _name(claim)) in homes:
                bound = claim.spec.volumeName if claim.spec else None
                volume = self._cluster.get(PersistentVolume, bound) if bound else None
                affinity = volume.spec.nodeAffinity if volume and volume.spec else None
                found[name] = ClaimPlace("" if affinity is None else repr(affinity), nodes.get(name))
        return found

    def in_use(self) -> frozenset[str]:
        """Homes that a notebook's pod has mounted, or is about to."""
        homes = {_name(claim) for claim in self._claims()}
        return frozenset(name for pod in self._pods() for name in mounted(pod) if name in homes)

    def end_use(self, homes: frozenset[str]) -> None:
        """Delete the pods that have these homes, and wait until they are gone."""
        from lightkube.resources.core_v1 import Pod

        deadline = self._monotonic() + self._patience
        told: set[str] = set()
        while pods := [pod for pod in self._pods() if homes.intersection(mounted(pod))]:
            for pod in pods:
                name = pod.metadata.name if pod.metadata else None
                if name and name not in told:
                    self._cluster.delete(Pod, name, self._namespace)
                    told.add(name)
            if self._monotonic() > deadline:
                stuck = pods[0]
                where = f" on node {stuck.spec.nodeName}" if stuck.spec and stuck.spec.nodeName else ""
                raise ClusterError(
                    f"{len(pods)} pods in {self._namespace} do not end within {self._patience:.0f} seconds, among them "
                    f"{stuck.metadata.name if stuck.metadata else ''}{where}: is the node there?"
                )
            self._sleep(_POLL)

    def remove(self, subject: str) -> None:
        """Delete the home of this person with everything in it, and wait until it is gone; fine where there is none."""
        from lightkube.resources.core_v1 import PersistentVolumeClaim

        doomed = frozenset(
            _name(claim) for claim in self._claims() if (owner := owner_of(claim)) and owner.subject == subject
        )
        if not doomed:
            return
        self.end_use(doomed)
        for name in doomed:
            self._cluster.delete(PersistentVolumeClaim, name, self._namespace)
        deadline = self._monotonic() + self._patience
        while left := doomed & {_name(claim) for claim in self._claims()}:
            if self._monotonic() > deadline:
                raise ClusterError(f"Claim {min(left)} in {self._namespace} does not go: does a pod use it?")
            self._sleep(_POLL)

    def _claims(self) -> list[Claim]:
        from lightkube.resources.core_v1 import PersistentVolumeClaim

        return [*self._cluster.objects(PersistentVolumeClaim, self._namespace, labels=HOME_LABELS)]

    def _pods(self) -> list[Pod]:
        """Everything that may still write, but for our own Jobs, which only read."""
        from lightkube.resources.core_v1 import Pod

        return [
            pod
            for pod in self._cluster.objects(Pod, self._namespace)
            if not (pod.status and pod.status.phase in _ENDED)
            and JOB_LABEL not in ((pod.metadata and pod.metadata.labels) or {})
        ]


def owner_of(claim: Claim) -> HomeOwner | None:
    """Whose the home is, as the claim says; None where it does not."""
    notes = (claim.metadata and claim.metadata.annotations) or {}
    issuer, subject = notes.get(ISSUER), notes.get(SUBJECT)
    return HomeOwner(issuer, subject) if issuer and subject else None


def mounted(pod: Pod) -> list[str]:
    """Names of the claims that the pod mounts."""
    volumes = (pod.spec and pod.spec.volumes) or []
    return [volume.persistentVolumeClaim.claimName for volume in volumes if volume.persistentVolumeClaim]


def _name(claim: Claim) -> str:
    return (claim.metadata and claim.metadata.name) or ""
