"""Small parts of the values of Zero to JupyterHub's chart, as its keys want them."""

from __future__ import annotations

import base64
from typing import Any

from course_stack.cluster import ClusterTarget, Placement
from course_stack.sizes import Compute, Size
from course_stack.spec import Toleration
from course_stack.spec.image import ImageReference

CLOSED = dict.fromkeys(
    (
        "cloudMetadataServer",
        "dnsPortsCloudMetadataServer",
        "dnsPortsKubeSystemNamespace",
        "dnsPortsPrivateIPs",
        "nonPrivateIPs",
        "privateIPs",
    ),
    False,
)
"""`egressAllowRules` of a network policy of the chart that opens no way out of the course."""

RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of a container as the Pod Security level `restricted` wants it."""

RESTRICTED_POD = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    # a home with many files would be gone through file by file at every start
    "fsGroupChangePolicy": "OnRootMismatch",
}
"""Security context of a pod, for the same level."""


def image(reference: str | None, cluster: ClusterTarget) -> dict[str, str]:
    """An `image` of the chart; None keeps the chart's own. The chart writes `NAME:TAG`, so that the last colon of a
    digest (`sha256:…`) must stand between the two."""
    parts: dict[str, str] = {"pullPolicy": cluster.images.pull_policy}
    if reference is not None:
        name, _, tag = str(ImageReference.parse(reference)).rpartition(":")
        parts |= {"name": name, "tag": tag}
    return parts


def resources(size: Size) -> dict[str, dict[str, str]]:
    """Requests and limits of a container."""
    return {"requests": _amounts(size.guarantee), "limits": _amounts(size.limit)}


def placement(place: Placement) -> dict[str, Any]:
    """`nodeSelector` and `tolerations`."""
    return {"nodeSelector": dict(place.node_selector), "tolerations": [toleration(one) for one in place.tolerations]}


def toleration(one: Toleration) -> dict[str, str]:
    """As Kubernetes writes it."""
    return one.model_dump(exclude={"value"} if one.operator == "Exists" else None)


def file(path: str, content: str) -> dict[str, str]:
    """An entry of `extraFiles`: readable where YAML keeps every character, else in base64."""
    if all(character.isprintable() or character in "\n\t" for character in content) and not content[:1].isspace():
        return {"mountPath": path, "stringData": content}
    return {"mountPath": path, "binaryData": base64.b64encode(content.encode()).decode()}


def _amounts(amount: Compute) -> dict[str, str]:
    return {"cpu": f"{amount.cpu_millicores}m", "memory": f"{amount.memory_mib}Mi"}
