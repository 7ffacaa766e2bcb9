"""Whether a pod keeps to the Pod Security Standards' level `restricted`, by the published text for Kubernetes 1.34.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> list[str]:
    """What the level `restricted` refuses in a pod's `spec` (as Kubernetes writes it), each as one sentence."""
    return [*_pod(spec), *(problem for container in _containers(spec) for problem in _container(container, spec))]


def without_requests(spec: dict[str, Any]) -> list[str]:
    """Containers without requests or limits of processor time or memory: a quota refuses them."""
    return [
        f"{container['name']}: no {kind}.{resource}"
        for container in _containers(spec)
        for kind in ("requests", "limits")
        for resource in ("cpu", "memory")
        if not (container.get("resources", {}).get(kind) or {}).get(resource)
    ]


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        container
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(kind) or ()
    ]


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    for volume in spec.get("volumes") or ():
        for kind in volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _everywhere(context, "the pod")


def _container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    name = container["name"]
    context, pod = container.get("securityContext") or {}, spec.get("securityContext") or {}
    if context.get("privileged"):
        yield f"{name} is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f"{name} keeps capabilities"
    if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"{name} adds capabilities"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name} may run as root"
    if (context.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type") not in SECCOMP:
        yield f"{name} has no seccomp profile"
    if context.get("procMount", "Default") != "Default":
        yield f"{name} changes procMount"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield f"{name} takes a port of the node"
    for hook in _hooks(container):
        for action in ("httpGet", "tcpSocket"):
            if (hook.get(action) or {}).get("host"):
                yield f"{name} probes another host"
    yield from _everywhere(context, name)


def _hooks(container: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield container.get(name) or {}
    yield from (hook or {} for hook in (container.get("lifecycle") or {}).values() if not isinstance(hook, str))


def _everywhere(context: dict[str, Any], where: str) -> Iterator[str]:
    """What both a pod's and a container's security context may hold."""
    if context.get("runAsUser") == 0:
        yield f"{where} runs as root"
    if context.get("runAsNonRoot") is False:
        yield f"{where} may run as root"
    if (context.get("seccompProfile") or {"type": "RuntimeDefault"}).get("type") not in SECCOMP:
        yield f"{where} has no seccomp profile"
    if (context.get("appArmorProfile") or {"type": "RuntimeDefault"}).get("type") not in SECCOMP:
        yield f"{where} has no AppArmor profile"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{where} changes SELinux"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{where} is a process of the node"
