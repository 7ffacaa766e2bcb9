"""The checker of pods finds what the level `restricted` refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.pod_security import violations, without_requests

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}, {"name": "tmp", "emptyDir": {}}],
    "containers": [
        {
            "name": "one",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "resources": {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "1", "memory": "1Mi"}},
        }
    ],
}


def test_a_restricted_pod_is_fine() -> None:
    assert violations(GOOD) == []
    assert without_requests(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("hostNetwork", True, "hostNetwork is set"),
        ("hostPID", True, "hostPID is set"),
        ("volumes.0", {"name": "node", "hostPath": {"path": "/"}}, "volume node is a hostPath"),
        ("volumes.0", {"name": "nfs", "nfs": {}}, "volume nfs is a nfs"),
        ("securityContext.runAsNonRoot", None, "one may run as root"),
        ("securityContext.runAsUser", 0, "the pod runs as root"),
        ("securityContext.seccompProfile", None, "one has no seccomp profile"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, "the pod has no seccomp profile"),
        ("securityContext.sysctls", [{"name": "kernel.msgmax"}], "sysctl kernel.msgmax"),
        ("containers.0.securityContext", None, "one may gain privileges"),
        ("containers.0.securityContext.privileged", True, "one is privileged"),
        ("containers.0.securityContext.allowPrivilegeEscalation", None, "one may gain privileges"),
        ("containers.0.securityContext.capabilities", {"drop": ["KILL"]}, "one keeps capabilities"),
        ("containers.0.securityContext.capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}, "one adds capabilities"),
        ("containers.0.securityContext.runAsNonRoot", False, "one may run as root"),
        ("containers.0.securityContext.runAsUser", 0, "one runs as root"),
        ("containers.0.securityContext.procMount", "Unmasked", "one changes procMount"),
        ("containers.0.securityContext.seLinuxOptions", {"type": "spc_t"}, "one changes SELinux"),
        ("containers.0.securityContext.appArmorProfile", {"type": "Unconfined"}, "one has no AppArmor profile"),
        ("containers.0.ports", [{"hostPort": 80}], "one takes a port of the node"),
        ("containers.0.livenessProbe", {"httpGet": {"host": "10.0.0.1"}}, "one probes another host"),
        ("containers.0.lifecycle", {"postStart": {"tcpSocket": {"host": "10.0.0.1"}}}, "one probes another host"),
    ],
)
def test_whatever_is_not_restricted_is_found(path: str, value: Any, found: str) -> None:
    assert found in violations(_changed(path, value))


def test_init_containers_are_looked_at_too() -> None:
    changed = _changed("initContainers", [{"name": "first", "securityContext": {"privileged": True}}])
    assert "first is privileged" in violations(changed)
    assert "first: no limits.memory" in without_requests(changed)


def _changed(path: str, value: Any) -> dict[str, Any]:
    spec: Any = copy.deepcopy(GOOD)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = spec
    for part in parents:
        at = at[part]
    at[last] = value
    found: dict[str, Any] = spec
    return found
