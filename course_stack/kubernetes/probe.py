"""A namespace like a course's, made for a moment to try what cannot be looked up: whether pods of ours start, volumes
can be written, unsafe pods are refused, and network policies hold. It is removed again, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

from course_stack.cluster import ClusterTarget
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.names import JOB_LABEL, ClusterNames
from course_stack.kubernetes.network import Manifest
from course_stack.kubernetes.objects import JOB, course_objects
from course_stack.spec import CourseSpec
from course_stack.target import Target

if TYPE_CHECKING:
    from lightkube.models.core_v1 import Pod

SLUG = "probe"
"""Of the namespace. A course of this name is not touched: there is no checking where it is."""
KIND = {JOB_LABEL: "probe"}
PORT = 8099
SERVE = (
    f"import socket\nserver = socket.create_server(('', {PORT}), backlog=50)\nwhile True: server.accept()[0].close()\n"
)
TRY_MODULES = "import boto3, zstandard, sys; sys.exit(sys.version_info < (3, 11))"
WRITE = "from pathlib import Path; Path('/volume/probe').write_text('written')"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()"
_POLL = 0.5


class Probe:
    """The namespace while it is there. Failures raise `ClusterError`."""

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        *,
        patience: float = 120,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: seconds for a pod to start, and for the namespace to go."""
        assert target.cluster is not None
        self.cluster, self.target = cluster, target
        self.names = ClusterNames(SLUG)
        self._settings: ClusterTarget = target.cluster
        self._patience, self._sleep, self._monotonic = patience, sleep, monotonic
        self._policies: list[Manifest] = []
        self.is_there = False
        """Whether the namespace may be there, and is ours."""

    def make(self, registry: str = "") -> None:
        """Make the namespace with everything that a course has in it, but for its network policies. One that an
        interrupted check left is removed first.

        `registry` is the content of the image pull secret, in Base64. Raises `ClusterError` where the namespace is not
        ours."""
        from lightkube.resources.core_v1 import Namespace

        found = self.cluster.get(Namespace, self.names.namespace)
        if found is not None:
            labels = (found.metadata and found.metadata.labels) or {}
            if not labels.items() >= KIND.items():
                raise ClusterError(f"There is a namespace {self.names.namespace}, which is not ours: remove it.")
            self.remove()
        namespace, *rest = course_objects(_spec(self._settings.images.helper), self.target, registry)
        namespace["metadata"]["labels"].update(KIND)
        self.is_there = True
        self.cluster.create(namespace)
        self._policies = [one for one in rest if one["kind"] == "NetworkPolicy"]
        for one in rest:
            if one["kind"] != "NetworkPolicy":
                self.cluster.ensure(one)

    def remove(self) -> None:
        """Remove the namespace, and wait until it is gone."""
        from lightkube.resources.core_v1 import Namespace

        self.cluster.delete(Namespace, self.names.namespace)
        self.wait_for(
            lambda: self.cluster.get(Namespace, self.names.namespace) is None,
            f"Namespace {self.names.namespace} does not go: `jhaas cluster repair {self.names.namespace}` says why.",
        )

    def refuse_connections(self) -> None:
        """Make the network policies of a course, which allow none between these pods."""
        for one in self._policies:
            self.cluster.ensure(one)

    def takes_unsafe_pods(self) -> bool:
        """Whether a pod that may do everything on its node would be let in; none is made."""
        pod = self._pod("unsafe", ["true"])
        pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        return self._is_taken(pod)

    def _is_taken(self, manifest: Manifest) -> bool:
        try:
            self.cluster.create(manifest, dry_run=True)
        except ClusterError as error:
            if error.passing or "PodSecurity" not in str(error):
                raise
            return False
        return True

    def start(self, name: str, command: list[str], **spec: Any) -> None:
        """Make a pod of the helper's image."""
        self.cluster.create(self._pod(name, command, **spec))

    def make_claim(self, name: str, storage_class: str | None, mode: str) -> None:
        """Ask for a small volume."""
        spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": "64Mi"}}}
        if storage_class is not None:
            spec["storageClassName"] = storage_class
        metadata = {"name": name, "namespace": self.names.namespace, "labels": self.names.labels}
        self.cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})

    def ends_well(self, name: str) -> str | None:
        """Wait until the pod has ended; None where it ended well, else why it did not."""
        return self._until(name, lambda pod: phase(pod) in ("Succeeded", "Failed"))

    def runs(self, name: str) -> str | None:
        """Wait until the pod runs; None where it does, else why it does not."""
        return self._until(name, lambda pod: phase(pod) == "Running")

    def address(self, name: str) -> str:
        """The pod's address; empty while it has none."""
        pod = self._get(name)
        return (pod and pod.status and pod.status.podIP) or ""

    def is_ready(self, name: str) -> bool:
        """Whether the pod's own test of readiness succeeds now."""
        pod = self._get(name)
        conditions = (pod and pod.status and pod.status.conditions) or []
        return any(one.type == "Ready" and one.status == "True" for one in conditions)

    def wait_for(self, done: Callable[[], bool], complaint: str, patience: float | None = None) -> None:
        """Raises `ClusterError` with the complaint where it takes longer than patience allows."""
        deadline = self._monotonic() + (self._patience if patience is None else patience)
        while not done():
            if self._monotonic() > deadline:
                raise ClusterError(complaint)
            self._sleep(_POLL)

    def _until(self, name: str, done: Callable[[Pod], bool]) -> str | None:
        deadline = self._monotonic() + self._patience
        while True:
            pod = self._get(name)
            if pod is None:
                return "it was removed"
            if phase(pod) == "Failed":
                return _end(pod)
            if done(pod):
                return None
            if self._monotonic() > deadline:
                return self._why(pod)
            self._sleep(_POLL)

    def _why(self, pod: Pod) -> str:
        from lightkube.resources.core_v1 import Event

        for status in (pod.status and pod.status.containerStatuses) or []:
            waiting = status.state and status.state.waiting
            if waiting and waiting.reason not in (None, "ContainerCreating"):
                return f"{waiting.reason} {waiting.message or ''}".strip()
        for condition in (pod.status and pod.status.conditions) or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                return condition.message or "no node fits"
        about = {"involvedObject.name": (pod.metadata and pod.metadata.name) or "", "type": "Warning"}
        events = self.cluster.objects(Event, self.names.namespace, fields=about)
        return (events[-1].message if events else None) or f"it takes longer than {self._patience:.0f} seconds"

    def _get(self, name: str) -> Pod | None:
        from lightkube.resources.core_v1 import Pod

        return self.cluster.get(Pod, name, self.names.namespace)

    def _pod(self, name: str, command: list[str], claims: tuple[str, ...] = (), **container: Any) -> Manifest:
        settings, images = self._settings, self._settings.images
        size = {
            kind: {"memory": f"{compute.memory_mib}Mi", "cpu": f"{compute.cpu_millicores}m"}
            for kind, compute in (("requests", JOB.guarantee), ("limits", JOB.limit))
        }
        where = settings.notebooks
        tolerations = [one.model_dump() for one in where.tolerations]
        # fsGroup, as notebooks have it: volumes are made writable for it
        security = {
            "runAsNonRoot": True,
            "runAsUser": settings.uid,
            "runAsGroup": settings.gid,
            "fsGroup": settings.gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.names.namespace, "labels": {**self.names.labels, **KIND}},
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": self.names.jobs_account,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "nodeSelector": dict(where.node_selector),
                "tolerations": [{key: value for key, value in one.items() if value != ""} for one in tolerations],
                "securityContext": security,
                "containers": [
                    {
                        "name": "probe",
                        "image": images.helper,
                        "imagePullPolicy": images.pull_policy,
                        "command": command,
                        "resources": size,
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": "volume", "mountPath": "/volume"} for _ in claims],
                        **container,
                    }
                ],
                "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": one}} for one in claims],
            },
        }


@contextmanager
def probing(probe: Probe, registry: str = "") -> Iterator[Probe]:
    """The namespace, as long as the block runs."""
    try:
        probe.make(registry)
        yield probe
    finally:
        if probe.is_there:
            probe.remove()


def phase(pod: Pod) -> str:
    """Pending, Running, Succeeded or Failed."""
    return (pod.status and pod.status.phase) or ""


def _end(pod: Pod) -> str:
    for one in (pod.status and pod.status.containerStatuses) or []:
        end = one.state and one.state.terminated
        if end:
            return f"it ended with exit code {end.exitCode} ({end.reason or 'Error'}) {end.message or ''}".strip()
    return "it ended early"


def _spec(image: str) -> CourseSpec:
    """The smallest course that there can be."""
    return CourseSpec.model_validate(
        {
            "slug": SLUG,
            "title": "Probe",
            "first_day": date(2026, 1, 1),
            "last_day": date(2026, 1, 1),
            "seats": 2,
            "image": image,
            "leads": ["nobody"],
        }
    )
