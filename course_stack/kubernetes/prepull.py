"""A course's images are brought to the nodes before anybody starts a notebook, so that nobody waits for gigabytes.

A pod a node holds one container for each image. A container is started only once its image is there; what it starts
matters to nobody, and may not exist in the image: that it was tried is the proof. So any image can be fetched, and
nothing of it needs to run. Pods come a few at a time: they share the course's quota.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from course_stack.cluster import ClusterTarget
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.check import fits
from course_stack.kubernetes.names import JOB_LABEL, ClusterNames
from course_stack.kubernetes.network import Manifest
from course_stack.kubernetes.objects import JOBS_AT_ONCE
from course_stack.spec import CourseSpec

if TYPE_CHECKING:
    from lightkube.models.core_v1 import ContainerStatus, Pod

KIND = "pre-pull"
LONGEST_SECONDS = 900
"""For all nodes together: then the rest is left to the first people."""
_LATE = f"not within {LONGEST_SECONDS // 60} minutes"
_AT_ONCE = JOBS_AT_ONCE - 1
_POLL = 1.0
_REFUSED = ("ErrImageNeverPull", "InvalidImageName")
_FAILING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError", "SignatureValidationFailed")
_TRIED = ("CreateContainerError", "RunContainerError", "StartError", "CrashLoopBackOff", "CreateContainerConfigError")
"""Why a container waits: refused for good; not fetched now; fetched, and only what it should start does not."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One node has the images, or `trouble` says why not. `done` of `total` nodes are looked after."""

    node: str
    trouble: str | None
    done: int
    total: int


def manifest(slug: str, cluster: ClusterTarget, node: str, images: Sequence[str]) -> Manifest:
    """The pod that brings the images to the node. Pure."""
    names = ClusterNames(slug)
    it = {"key": "metadata.name", "operator": "In", "values": [node]}
    small = {"memory": "16Mi", "cpu": "10m"}
    tolerations = [one.model_dump() for one in (*cluster.notebooks.tolerations, *cluster.gpu.tolerations)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{KIND}-{hashlib.sha256(node.encode()).hexdigest()[:16]}",
            "namespace": names.namespace,
            "labels": {**names.labels, JOB_LABEL: KIND},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "terminationGracePeriodSeconds": 0,
            "serviceAccountName": names.jobs_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [it]}]}
                }
            },
            "tolerations": [{key: value for key, value in one.items() if value != ""} for one in tolerations],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": cluster.uid,
                "runAsGroup": cluster.gid,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": f"image-{number}",
                    "image": image,
                    "imagePullPolicy": cluster.images.pull_policy,
                    "command": ["true"],
                    "resources": {"requests": small, "limits": {"memory": "64Mi", "cpu": "100m"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
                for number, image in enumerate(images)
            ],
        },
    }


def fetch(
    cluster: Cluster,
    target: ClusterTarget,
    spec: CourseSpec,
    tick: Callable[[], None] = lambda: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Fetched]:
    """Bring the course's images to every node that may carry its notebooks; one outcome a node. The course's namespace
    must be there. Everything is removed again, whatever happens.

    `tick` is called about every second; what it raises ends the work. Raises `ClusterError`.
    """
    from lightkube.resources.core_v1 import Node, Pod

    names, images = ClusterNames(spec.slug), spec.images
    nodes = sorted(
        node.metadata.name or ""
        for node in cluster.objects(Node)
        if node.metadata and (fits(node, target.notebooks) or fits(node, target.notebooks, target.gpu))
    )
    waiting, begun, done = list(nodes), list[str](), 0
    deadline = monotonic() + LONGEST_SECONDS
    pods = {node: manifest(spec.slug, target, node, images) for node in nodes}
    try:
        while waiting or begun:
            tick()
            while waiting and len(begun) < _AT_ONCE:
                node = waiting.pop(0)
                # of an earlier try: finished or not, it is as good
                cluster.ensure(pods[node])
                begun.append(node)
            late = monotonic() > deadline
            for node in list(begun):
                name = pods[node]["metadata"]["name"]
                trouble, settled = _state(cluster.get(Pod, name, names.namespace))
                if not settled and late:
                    settled, trouble = True, trouble or _LATE
                if settled:
                    cluster.delete(Pod, name, names.namespace, grace=0)
                    begun.remove(node)
                    done += 1
                    yield Fetched(node, trouble, done, len(nodes))
            if late:
                for node in waiting:
                    done += 1
                    yield Fetched(node, _LATE, done, len(nodes))
                waiting.clear()
            if begun:
                sleep(_POLL)
    finally:
        for node in begun:
            _quietly_remove(cluster, pods[node]["metadata"]["name"], names.namespace)


def _state(pod: Pod | None) -> tuple[str | None, bool]:
    """What is wrong on the node so far, and whether its pod has nothing more to do."""
    if pod is None:
        return "its pod was removed by somebody else", True
    statuses = [_container(one) for one in (pod.status and pod.status.containerStatuses) or []]
    troubles = [trouble for trouble, _ in statuses if trouble]
    wanted = len((pod.spec and pod.spec.containers) or [])
    settled = len(statuses) == wanted and all(over for _, over in statuses)
    if not statuses and pod.status and pod.status.phase == "Failed":
        return f"{pod.status.reason or 'Failed'}: {pod.status.message or ''}".rstrip(": "), True
    if not statuses:
        for condition in (pod.status and pod.status.conditions) or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return condition.message, False
    return (troubles[0] if troubles else None), settled


def _container(status: ContainerStatus) -> tuple[str | None, bool]:
    """What is wrong with its image, and whether there is nothing more to wait for."""
    state = status.state
    if state and (state.terminated or state.running):
        return None, True
    waiting = state.waiting if state else None
    reason = (waiting and waiting.reason) or ""
    if reason in _TRIED:
        return None, True
    if reason in _REFUSED or reason in _FAILING:
        said = (waiting and waiting.message) or reason
        return f"{status.image}: {said}", reason in _REFUSED
    return None, False


def _quietly_remove(cluster: Cluster, name: str, namespace: str) -> None:
    from lightkube.resources.core_v1 import Pod

    try:
        cluster.delete(Pod, name, namespace, grace=0)
    except ClusterError:
        return  # it ends by itself, and goes with the namespace
