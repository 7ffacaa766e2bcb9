"""What Zero to JupyterHub is told about the notebooks of a course: its key `singleuser`, and the spawner's settings."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from course_stack.cluster import ClusterTarget
from course_stack.hub_files.placeholders import COMPONENT, IN_USE_SECONDS
from course_stack.hub_rules import server_arguments
from course_stack.kubernetes.chart import (
    CLOSED,
    RESTRICTED,
    RESTRICTED_POD,
    file,
    image,
    placement,
    resources,
    toleration,
)
from course_stack.kubernetes.names import ClusterNames
from course_stack.sizes import Size, mib, notebook
from course_stack.spec import CourseSpec, Profile, SharedVolume
from course_stack.startup import script

HOME = "/home/jovyan"
"""Where a notebook finds its home: as in Jupyter's container images."""

START_UP = "/etc/jhaas/start-up.sh"
AUTHORITY = "/etc/jhaas/authority.crt"
"""What the target's authority signed, notebooks believe: a repository of the campus, the object store."""

SETTINGS = "/etc/jhaas/jupyter"
LAB_SETTINGS = "labconfig/default_setting_overrides.json"
"""Settings that every notebook begins with, beside those of its image: nobody is asked about news and new versions."""

START_SECONDS = 900
"""A pod that does not run by then is given up. Images of many GB are pulled before the first day; where a new node has
not got them yet, ten minutes are not always enough."""
HTTP_SECONDS = 120
"""A server that does not answer so long after its pod runs is given up: the start-up waits 20 seconds at most."""

SHARED_MEMORY = "shared-memory"
MIB = 2**20


def notebooks(spec: CourseSpec, cluster: ClusterTarget, authority: str | None = None) -> dict[str, Any]:
    """The chart's `singleuser`. `authority`: the certificates (PEM) that the target names."""
    names = ClusterNames(spec.slug)
    return {
        # KubeSpawner gives the whole reference to the kubelet; without a tag of its own the chart leaves it as it is
        "image": {**image(None, cluster), "name": spec.image, "tag": ""},
        "cmd": _command(spec, authority),
        "defaultUrl": _no_expansion_in_urls(spec.default_url),
        "extraEnv": {
            "HOME": HOME,
            # a course that has settings of its own keeps them
            "JUPYTER_CONFIG_PATH": SETTINGS,
            **{name: _literal(value) for name, value in spec.environment.items()},
        },
        "extraFiles": _files(spec, authority),
        "extraLabels": names.labels,
        "startTimeout": START_SECONDS,
        "uid": cluster.uid,
        "fsGid": cluster.gid,
        "allowPrivilegeEscalation": False,
        # its init container is privileged, and a privileged pod is refused; network policies close the address
        "cloudMetadata": {"blockWithIptables": False},
        "networkPolicy": {"egressAllowRules": CLOSED},
        # addresses of the course's services as variables of every notebook help nobody
        "extraPodConfig": {"enableServiceLinks": False},
        "nodeSelector": dict(cluster.notebooks.node_selector),
        "extraTolerations": [toleration(one) for one in cluster.notebooks.tolerations],
        **_sizes(notebook(spec.resources)),
        "profileList": [_profile(profile, spec, cluster) for profile in spec.profiles],
        "storage": {
            "type": "dynamic",
            "extraLabels": names.labels,
            "capacity": f"{mib(spec.home_size)}Mi",
            "homeMountPath": HOME,
            "dynamic": {
                "storageClass": cluster.storage_class,
                "volumeNameTemplate": "home",
                "storageAccessModes": ["ReadWriteOnce"],
            },
            "extraVolumes": {
                SHARED_MEMORY: _shared_memory(notebook(spec.resources)),
                **{
                    _mount(volume): {
                        "name": _mount(volume),
                        "persistentVolumeClaim": {"claimName": names.shared(volume.name)},
                    }
                    for volume in spec.shared_volumes
                },
            },
            "extraVolumeMounts": {
                SHARED_MEMORY: {"name": SHARED_MEMORY, "mountPath": "/dev/shm"},  # noqa: S108 (a mount, not a file)
                **{
                    _mount(volume): {
                        "name": _mount(volume),
                        "mountPath": volume.mount_path,
                        # leads' own pods get it writable: the spawner's `lead_mounts`
                        "readOnly": volume.kind == "material",
                    }
                    for volume in spec.shared_volumes
                },
            },
        },
    }


def spawner(spec: CourseSpec, cluster: ClusterTarget) -> dict[str, Any]:
    """Settings of the spawner for which the chart has no key."""
    return {
        "lead_mounts": [_mount(volume) for volume in spec.shared_volumes if volume.kind == "material"],
        "args": server_arguments(),
        "working_dir": HOME,
        "http_timeout": HTTP_SECONDS,
        "gid": cluster.gid,
        "pod_security_context": RESTRICTED_POD,
        "container_security_context": RESTRICTED,
        # a home goes with its course, after it was archived, and never with its owner
        "delete_pvc": False,
        # names of releases before 4.0, which no course of ours has
        "handle_legacy_names": False,
    }


def placeholder(spec: CourseSpec, cluster: ClusterTarget) -> dict[str, Any]:
    """A pod that takes the room of one notebook of the preset profile, without graphics processors, on the nodes where
    it would run, and brings its image there. A manifest without a name."""
    profile = spec.default_profile
    names = ClusterNames(spec.slug)
    account = {"runAsUser": cluster.uid, "runAsGroup": cluster.gid}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {**names.labels, "app": "jupyterhub", "component": COMPONENT}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            # one that nobody looks after any more ends by itself
            "activeDeadlineSeconds": IN_USE_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": RESTRICTED_POD,
            "imagePullSecrets": [{"name": names.registry_secret}] if cluster.images.pull_secret else [],
            **placement(cluster.notebooks),
            "containers": [
                {
                    "name": "placeholder",
                    "image": (profile and profile.image) or spec.image,
                    "imagePullPolicy": cluster.images.pull_policy,
                    "command": ["sleep", "infinity"],
                    "resources": resources(notebook((profile and profile.resources) or spec.resources)),
                    "securityContext": {**RESTRICTED, **account},
                }
            ],
        },
    }


def _profile(profile: Profile, spec: CourseSpec, cluster: ClusterTarget) -> dict[str, Any]:
    size = notebook(profile.resources or spec.resources)
    override: dict[str, Any] = {
        "image": profile.image or spec.image,
        "mem_guarantee": size.guarantee.memory_mib * MIB,
        "mem_limit": size.limit.memory_mib * MIB,
        "cpu_guarantee": size.guarantee.cpu_millicores / 1000,
        "cpu_limit": size.limit.cpu_millicores / 1000,
        "volumes": {SHARED_MEMORY: _shared_memory(size)},
    }
    if profile.gpu:
        # both, since a quota counts requests, and Kubernetes wants them equal
        override["extra_resource_guarantees"] = {profile.gpu.resource: profile.gpu.count}
        override["extra_resource_limits"] = {profile.gpu.resource: profile.gpu.count}
        override["node_selector"] = dict(cluster.gpu.node_selector)
        override["tolerations"] = [
            toleration(one)
            for one in (*cluster.notebooks.tolerations, *cluster.gpu.tolerations, profile.gpu.toleration)
        ]
    return {
        # KubeSpawner puts both into its form as they are
        "display_name": escape(profile.name),
        "description": escape(profile.description),
        "slug": profile.key,
        "default": profile is spec.default_profile,
        "kubespawner_override": override,
    }


def _sizes(size: Size) -> dict[str, Any]:
    """In bytes and cores: `M` means 2²⁰ to KubeSpawner and 10⁶ to Kubernetes."""
    return {
        "memory": {"guarantee": size.guarantee.memory_mib * MIB, "limit": size.limit.memory_mib * MIB},
        "cpu": {"guarantee": size.guarantee.cpu_millicores / 1000, "limit": size.limit.cpu_millicores / 1000},
    }


def _shared_memory(size: Size) -> dict[str, Any]:
    """In a container /dev/shm has 64 MiB otherwise: too little for data loaders of PyTorch. What lies in it counts to
    the notebook's memory, so that its limit is that of the notebook."""
    return {"name": SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": f"{size.limit.memory_mib}Mi"}}


def _mount(volume: SharedVolume) -> str:
    return f"shared-{volume.name}"


def _command(spec: CourseSpec, authority: str | None) -> list[str]:
    server = ["jupyterhub-singleuser"]
    return ["/bin/sh", START_UP, *server] if _has_start_up(spec, authority) else server


def _has_start_up(spec: CourseSpec, authority: str | None) -> bool:
    return bool(spec.git_repositories or spec.start_commands or authority)


def _files(spec: CourseSpec, authority: str | None) -> dict[str, Any]:
    """JupyterLab's settings, and the start-up as a file that stands in front of the server's command.

    Kubernetes' own hook (`postStart`) would run beside the image's entry point in no order, keep the container from
    being ready for as long as it likes, and end the container when it fails. As an argument the script would be changed
    on its way: the kubelet replaces `$(NAME)` and `$$` there.
    """
    settings = Path(__file__).parents[1] / "jupyter" / LAB_SETTINGS
    files = {settings.name: file(f"{SETTINGS}/{LAB_SETTINGS}", settings.read_text())}
    if authority:
        files["authority.crt"] = file(AUTHORITY, authority)
    if _has_start_up(spec, authority):
        start_up = script(spec.git_repositories, spec.start_commands, AUTHORITY if authority else None)
        files["start-up.sh"] = file(START_UP, f"{start_up}\n")
    return files


def _literal(value: str) -> str:
    """A variable's value as it was written, past KubeSpawner, which fills in `{username}`, and the kubelet, which fills
    in `$(NAME)`."""
    return value.replace("$", "$$").replace("{", "{{").replace("}", "}}")


def _no_expansion_in_urls(path: str) -> str:
    """The same path, for the kubelet to leave alone."""
    return path.replace("$", "%24")
