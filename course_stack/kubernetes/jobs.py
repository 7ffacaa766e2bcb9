"""Programs of ours that run for a while in a course's namespace, beside its homes.

A Job is made asleep, given what it needs (its program and order as a ConfigMap, keys as a Secret, both owned by the
Job), and then woken: whatever becomes of us, all of it goes with the Job, and the Job goes by itself some minutes after
its end.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from course_stack.cluster import ClusterTarget
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.names import JOB_LABEL, ClusterNames
from course_stack.kubernetes.objects import JOB

if TYPE_CHECKING:
    from lightkube.models.core_v1 import Pod

Manifest = dict[str, Any]

RUN_LABEL = "jhaas.io/run"
"""On the pod of a Job: which one it is."""
PROGRAM = "program.pyz"
LAST_WORDS = "/dev/termination-log"
"""What is written there (4 KiB) the cluster keeps with the pod."""
FOLDER = "/jhaas"
"""In the pod: `order/` with the program and the order, `keys/`, and `homes/CLAIM`."""
START_SECONDS = 300
"""From its making until the pod must run: volumes are brought to its node, and its image is pulled."""
LONGEST_SECONDS = 12 * 3600
"""A Job that nobody watches any more ends by then."""
KEPT_SECONDS = 300
"""How long a Job that has ended is kept where nobody removes it."""
SILENT_SECONDS = 120
"""So long the cluster may be away while a Job runs."""
_TMP = "/tmp"  # noqa: S108 - the pod's own
_GRACE = 30
_POLL = 1.0
_HOPELESS = ("ErrImageNeverPull", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class Job:
    """One program with what it is given. `name` is its own in the namespace: two runs never share one."""

    kind: str
    """What it does, in one word: the value of `JOB_LABEL`."""
    name: str
    program: bytes = field(repr=False)
    """A zip file that Python runs; its arguments are the folders of order, keys and homes, and the file `LAST_WORDS`.
    It tells by lines of JSON objects, in its output and there."""
    order: Mapping[str, str]
    """Files by name; nothing secret."""
    keys: Mapping[str, str] = field(repr=False, default_factory=dict)
    """Files by name: the pod alone sees them."""
    claims: tuple[str, ...] = ()
    """Mounted read-only."""
    node: str | None = None
    """Where it must run, because a claim is open there; None: wherever the cluster wants."""


class JobFailed(Exception):
    """The Job ended before its time, or never began; the message says why.

    `of_volumes`: its pod waits for its volumes; one of them keeps the others waiting.
    """

    def __init__(self, message: str, *, of_volumes: bool = False) -> None:
        super().__init__(message)
        self.of_volumes = of_volumes


def manifests(slug: str, cluster: ClusterTarget, job: Job) -> tuple[Manifest, Manifest, Manifest]:
    """The Job, asleep, and the ConfigMap and the Secret of the same name. Pure."""
    names = ClusterNames(slug)
    labels = {**names.labels, JOB_LABEL: job.kind, RUN_LABEL: job.name}
    metadata = {"name": job.name, "namespace": names.namespace, "labels": labels}
    encoded = {PROGRAM: base64.b64encode(job.program).decode()}
    work = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "suspend": True,
            # a pod that was lost is told; whoever asked tries again
            "backoffLimit": 0,
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(names, cluster, job)},
        },
    }
    order = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": dict(job.order),
        "binaryData": encoded,
    }
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(job.keys)}
    return work, order, keys


def _pod(names: ClusterNames, cluster: ClusterTarget, job: Job) -> Manifest:
    volumes: list[Manifest] = [
        {"name": "order", "configMap": {"name": job.name}},
        {"name": "keys", "secret": {"secretName": job.name}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    mounts: list[Manifest] = [
        {"name": "order", "mountPath": f"{FOLDER}/order", "readOnly": True},
        {"name": "keys", "mountPath": f"{FOLDER}/keys", "readOnly": True},
        {"name": "tmp", "mountPath": _TMP},
    ]
    for number, claim in enumerate(job.claims):
        # read-only for the container, not at the claim: some drivers cannot bring a volume to a node in that way
        volumes.append({"name": f"home-{number}", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": f"home-{number}", "mountPath": f"{FOLDER}/homes/{claim}", "readOnly": True})
    placement = cluster.notebooks
    tolerations = [one.model_dump(exclude_defaults=False) for one in (*placement.tolerations, *cluster.gpu.tolerations)]
    where: Manifest = {"nodeSelector": dict(placement.node_selector)}
    if job.node is not None:
        it = {"key": "metadata.name", "operator": "In", "values": [job.node]}
        required = {"nodeSelectorTerms": [{"matchFields": [it]}]}
        where = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}
    folders = [f"{FOLDER}/{name}" for name in ("order", "keys", "homes")]
    return {
        "restartPolicy": "Never",
        "serviceAccountName": names.jobs_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE,
        **where,
        "tolerations": [{key: value for key, value in one.items() if value != ""} for one in tolerations],
        # no fsGroup: the cluster would change the owners of every file in the volumes
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": cluster.uid,
            "runAsGroup": cluster.gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": job.kind,
                "image": cluster.images.helper,
                "imagePullPolicy": cluster.images.pull_policy,
                "command": ["python3", "-I", f"{FOLDER}/order/{PROGRAM}", *folders, LAST_WORDS],
                "terminationMessagePath": LAST_WORDS,
                "workingDir": _TMP,
                "env": [{"name": "HOME", "value": _TMP}, {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"}],
                "resources": {
                    "requests": {
                        "memory": f"{JOB.guarantee.memory_mib}Mi",
                        "cpu": f"{JOB.guarantee.cpu_millicores}m",
                    },
                    "limits": {"memory": f"{JOB.limit.memory_mib}Mi", "cpu": f"{JOB.limit.cpu_millicores}m"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


class Jobs:
    """Runs Jobs in the namespace of one course."""

    def __init__(
        self,
        cluster: Cluster,
        target: ClusterTarget,
        slug: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._target, self._slug = cluster, target, slug
        self._namespace = ClusterNames(slug).namespace
        self._sleep, self._monotonic = sleep, monotonic

    def run(self, job: Job, tick: Callable[[int], None] = lambda _: None) -> Iterator[dict[str, Any]]:
        """Run it and give what it tells as it comes, some of it perhaps twice. It is removed afterwards, whatever
        happens.

        `tick` is called about every second; what it raises ends the Job. Jobs of the same kind that somebody left
        behind are ended first. Raises `JobFailed` and `ClusterError`.
        """
        from lightkube.resources.batch_v1 import Job as JobResource

        self._remove_others(job.kind, tick)
        work, order, keys = manifests(self._slug, self._target, job)
        made = self._cluster.create(work)
        try:
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": made.metadata.uid}
            for manifest in (order, keys):
                owned = {**manifest["metadata"], "ownerReferences": [owner]}
                self._cluster.create({**manifest, "metadata": owned})
            self._cluster.patch(JobResource, job.name, {"spec": {"suspend": False}}, self._namespace)
            yield from self._follow(job, tick)
        finally:
            self._remove(job.name)

    def _follow(self, job: Job, tick: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        begin = seen = self._monotonic()
        told, ran, noise = 0, False, ""
        while True:
            tick(0)
            try:
                pod = self._pod_of(job)
                phase = (pod.status and pod.status.phase) if pod is not None else None
                ended = phase in ("Succeeded", "Failed")
                lines = self._log(pod) if pod is not None and (ended or phase == "Running") else []
                lost = pod is None and (ran or self._is_over(job))
                why = self._why_it_waits(job, pod) if not (ran or lost or ended) else None
            except ClusterError as error:
                if not error.passing or self._monotonic() - seen > SILENT_SECONDS:
                    raise
                self._sleep(_POLL)
                continue
            seen = self._monotonic()
            ran = ran or phase == "Running" or ended
            for line in lines[told:]:
                content = _content(line)
                if content is not None:
                    yield content
                elif line is lines[-1] and not ended:
                    break  # it may not have come whole
                else:
                    noise = line.strip() or noise
                told += 1
            if ended:
                assert pod is not None
                yield from filter(None, map(_content, _last_words(pod).splitlines()))
                if phase == "Failed":
                    raise JobFailed(f"The Job {job.name} ended early: {_reason(pod)} {noise}".rstrip())
                return
            if lost:
                raise JobFailed(f"The pod of Job {job.name} is gone: it was evicted or deleted, or its node was lost.")
            if why is not None:
                hopeless = any(sign in why.message for sign in _HOPELESS)
                if hopeless or self._monotonic() - begin > START_SECONDS:
                    text = f"The Job {job.name} did not start: {why.message}"
                    raise JobFailed(text, of_volumes=why.of_volumes)
            self._sleep(_POLL)

    def _pod_of(self, job: Job) -> Pod | None:
        from lightkube.resources.core_v1 import Pod

        pods = self._cluster.objects(Pod, self._namespace, labels={RUN_LABEL: job.name})
        return pods[0] if pods else None

    def _is_over(self, job: Job) -> bool:
        """Whether the Job makes no pod any more."""
        from lightkube.resources.batch_v1 import Job as JobResource

        found = self._cluster.get(JobResource, job.name, self._namespace)
        conditions = (found and found.status and found.status.conditions) or []
        return found is None or any(one.type == "Failed" and one.status == "True" for one in conditions)

    def _log(self, pod: Pod) -> list[str]:
        """The pod's log so far; nothing where it cannot be reached, for the last words tell it as well."""
        assert pod.metadata is not None
        try:
            return self._cluster.log(pod.metadata.name or "", self._namespace)
        except ClusterError:
            return []

    def _why_it_waits(self, job: Job, pod: Pod | None) -> _Waiting:
        if pod is None:
            said = self._last_warning("Job", job.name)
            return _Waiting(said or "no pod was made.", of_volumes=False)
        for status in (pod.status and pod.status.containerStatuses) or []:
            waiting = status.state and status.state.waiting
            if waiting and waiting.reason not in (None, "ContainerCreating", "PodInitializing"):
                return _Waiting(f"{waiting.reason}: {waiting.message or ''}".rstrip(": "), of_volumes=False)
        for condition in (pod.status and pod.status.conditions) or []:
            if condition.type == "PodScheduled" and condition.status == "False":
                said = condition.message or "no node fits"
                return _Waiting(said, of_volumes="volume" in said)
        name = (pod.metadata and pod.metadata.name) or ""
        return _Waiting(self._last_warning("Pod", name) or "its volumes are not there yet.", of_volumes=True)

    def _last_warning(self, kind: str, name: str) -> str:
        from lightkube.resources.core_v1 import Event

        about = {"involvedObject.kind": kind, "involvedObject.name": name, "type": "Warning"}
        events = self._cluster.objects(Event, self._namespace, fields=about)
        return (events[-1].message or "") if events else ""

    def _remove_others(self, kind: str, tick: Callable[[int], None]) -> None:
        """No other Job of this kind may have the volumes, or write what we are about to write."""
        from lightkube.resources.batch_v1 import Job as JobResource
        from lightkube.resources.core_v1 import Pod

        labels = {JOB_LABEL: kind}
        for left in self._cluster.objects(JobResource, self._namespace, labels=labels):
            assert left.metadata is not None
            self._cluster.delete(JobResource, left.metadata.name or "", self._namespace)
        deadline = self._monotonic() + _GRACE + SILENT_SECONDS
        while pods := [
            pod
            for pod in self._cluster.objects(Pod, self._namespace, labels=labels)
            if not (pod.status and pod.status.phase in ("Succeeded", "Failed"))
        ]:
            tick(0)
            if self._monotonic() > deadline:
                name = (pods[0].metadata and pods[0].metadata.name) or ""
                raise ClusterError(f"Pod {name} in {self._namespace}, left by an earlier try, does not end.")
            self._sleep(_POLL)

    def _remove(self, name: str) -> None:
        """Delete the Job with what it owns. It is about to end by itself, should that fail."""
        from lightkube.resources.batch_v1 import Job as JobResource

        try:
            self._cluster.delete(JobResource, name, self._namespace)
        except ClusterError:
            return


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Why a pod does not run yet."""

    message: str
    of_volumes: bool


def _content(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _reason(pod: Pod) -> str:
    """Why the pod ended: the cluster's words for the pod, else its container's end."""
    status = pod.status
    if status and status.reason:
        return f"{status.reason}: {status.message or ''}".rstrip(": ")
    for one in (status and status.containerStatuses) or []:
        end = one.state and one.state.terminated
        if end:
            return f"{end.reason or 'Error'}, exit code {end.exitCode}."
    return "the cluster does not say why."


def _last_words(pod: Pod) -> str:
    for one in (pod.status and pod.status.containerStatuses) or []:
        end = one.state and one.state.terminated
        if end:
            return end.message or ""
    return ""
