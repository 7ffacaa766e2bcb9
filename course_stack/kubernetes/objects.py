"""The objects of a course's namespace beside the chart's: room, rights and shared volumes. Pure manifests."""

from __future__ import annotations

from typing import Any, get_args

from course_stack.cluster import ClusterTarget
from course_stack.fit import ensure_fits
from course_stack.kubernetes.names import ClusterNames
from course_stack.kubernetes.network import Manifest, network_policies
from course_stack.sizes import HUB, HUB_DATABASE_MIB, PROXY, Compute, Size, largest_notebook, mib, placeholders, quota
from course_stack.spec import CourseSpec, Gpu
from course_stack.target import Target

POD_SECURITY_VERSION = "v1.34"
"""Whose rules of the restricted standard hold; an older cluster takes the newest that it knows."""

JOB = Size(guarantee=Compute(256, 100), limit=Compute(1024, 1000))
"""One pod of ours beside the hub's: it packs a home for its archive, pulls images, tries the network."""
JOBS_AT_ONCE = 4
"""So many find room in the quota beside the whole course."""

REGISTRY_PLACEHOLDER = "[secret: registry.json]"
"""Stands for the content of the image pull secret where manifests are only shown."""


def course_objects(spec: CourseSpec, target: Target, registry: Any = REGISTRY_PLACEHOLDER) -> list[Manifest]:
    """The objects of the course, in the order in which they must be made; the namespace first, nothing of the chart.

    `registry` is the registry's `config.json` in Base64 (or a Pulumi output of it), placed untouched in the image pull
    secret where the target has one. `target` must be a cluster. Raises `SpecError` for what the target cannot give.
    """
    ensure_fits(spec, target)
    cluster = target.cluster
    assert cluster is not None
    names = ClusterNames(spec.slug)
    secret = [_registry_secret(names, registry)] if cluster.images.pull_secret else []
    return [
        _namespace(names),
        _quota(spec, cluster, names),
        _limits(spec, names),
        *network_policies(spec.slug, target),
        _jobs_account(names, pull_secret=cluster.images.pull_secret),
        *secret,
        *(
            _claim(names, names.shared(volume.name), mib(volume.size), cluster.shared_class)
            for volume in spec.shared_volumes
        ),
    ]


def _manifest(names: ClusterNames, kind: str, name: str, **body: Any) -> Manifest:
    metadata = {"name": name, "namespace": names.namespace, "labels": names.labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **body}


def _namespace(names: ClusterNames) -> Manifest:
    modes = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", POD_SECURITY_VERSION))
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": names.namespace, "labels": {**names.labels, **modes}},
    }


def _quota(spec: CourseSpec, cluster: ClusterTarget, names: ClusterNames) -> Manifest:
    """Room for everything that the hub may start, and for our Jobs.

    Homes of people who left stay until they are archived. How many there are is not in the spec: storage has room for
    as many as there are seats.
    """
    room = quota(spec, former_people=spec.seats, placeholders=placeholders(spec, cluster.placeholders))
    compute = room.compute + JOB * JOBS_AT_ONCE
    kinds = get_args(Gpu.model_fields["resource"].annotation)
    hard = {
        "requests.memory": _memory(compute.guarantee),
        "requests.cpu": _cpu(compute.guarantee),
        "limits.memory": _memory(compute.limit),
        "limits.cpu": _cpu(compute.limit),
        "pods": str(room.pods + JOBS_AT_ONCE),
        "persistentvolumeclaims": str(room.volumes),
        "requests.storage": f"{room.storage_mib}Mi",
        # a course without a GPU profile gets none, by whatever way
        **{f"requests.{kind}": str(room.gpus.get(kind, 0)) for kind in kinds},
        "services.loadbalancers": "0",
        "services.nodeports": "0",
    }
    return _manifest(names, "ResourceQuota", names.quota, spec={"hard": hard})


def _limits(spec: CourseSpec, names: ClusterNames) -> Manifest:
    """What a container gets that asks for nothing (a quota refuses it otherwise), and the most that one may have."""
    limits = [largest_notebook(spec).limit, HUB.limit, PROXY.limit, JOB.limit]
    most = Compute(max(one.memory_mib for one in limits), max(one.cpu_millicores for one in limits))
    disks = [mib(spec.home_size), HUB_DATABASE_MIB, *(mib(volume.size) for volume in spec.shared_volumes)]
    container = {
        "type": "Container",
        "defaultRequest": _resources(JOB.guarantee),
        "default": _resources(JOB.limit),
        "max": _resources(most),
    }
    claim = {"type": "PersistentVolumeClaim", "max": {"storage": f"{max(disks)}Mi"}}
    return _manifest(names, "LimitRange", names.limits, spec={"limits": [container, claim]})


def _jobs_account(names: ClusterNames, *, pull_secret: bool) -> Manifest:
    account = _manifest(names, "ServiceAccount", names.jobs_account, automountServiceAccountToken=False)
    return {**account, "imagePullSecrets": [{"name": names.registry_secret}]} if pull_secret else account


def _registry_secret(names: ClusterNames, content: Any) -> Manifest:
    return _manifest(
        names,
        "Secret",
        names.registry_secret,
        type="kubernetes.io/dockerconfigjson",
        data={".dockerconfigjson": content},
    )


def _claim(names: ClusterNames, name: str, size_mib: int, storage_class: str | None) -> Manifest:
    return _manifest(
        names,
        "PersistentVolumeClaim",
        name,
        spec={
            "accessModes": ["ReadWriteMany"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": f"{size_mib}Mi"}},
        },
    )


def _resources(compute: Compute) -> dict[str, str]:
    return {"memory": _memory(compute), "cpu": _cpu(compute)}


def _memory(compute: Compute) -> str:
    return f"{compute.memory_mib}Mi"


def _cpu(compute: Compute) -> str:
    return f"{compute.cpu_millicores}m"
