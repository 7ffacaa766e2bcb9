"""Whether a cluster can carry courses: what is there, what we may do, and what a probe shows. Before the first deploy.

Each finding says what it is about, how it is, and what to do. Nothing is changed but for a namespace of our own that is
made for a moment (`course_stack.kubernetes.probe`).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from course_stack.cluster import ClusterTarget, GatewayEdge, IngressEdge, NoEdge, Placement
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.probe import CONNECT, PORT, SERVE, TRY_MODULES, WRITE, Probe, probing
from course_stack.target import Target
from course_stack.trust import context

if TYPE_CHECKING:
    from lightkube.models.core_v1 import Node

OLDEST = (1, 28)
"""What Zero to JupyterHub 4.4 wants of a cluster."""
GPUS = ("nvidia.com/gpu", "amd.com/gpu")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
HANDSHAKE_SECONDS = 10
SILENCE_SECONDS = 20
"""Network policies reach a node's network within this time."""

State = Literal["ok", "warn", "fail"]
Resolve = Callable[[str], frozenset[str]]
Handshake = Callable[[str], object]
"""Connects to an https address, as every call does. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`; `warn`, with which courses run but lack something or could not be tried;
    `fail`, with which they do not. `advice` says what to do."""

    about: str
    state: State
    text: str
    advice: str = ""


def resolve(host: str) -> frozenset[str]:
    """Addresses of a host name; none where it has none."""
    with suppress(OSError):
        return frozenset(str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    return frozenset()


def handshake(url: str) -> None:
    """Connect to an https address and look at its certificate. Raises OSError, of which `ssl.SSLError` is one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with (
        socket.create_connection((host, parts.port or 443), HANDSHAKE_SECONDS) as way,
        context().wrap_socket(way, server_hostname=host),
    ):
        return


def checks(
    cluster: Cluster,
    target: Target,
    *,
    registry: str = "",
    probe: Probe | None = None,
    resolve: Resolve = resolve,
    handshake: Handshake = handshake,
) -> Iterator[Finding]:
    """Look at the cluster, one finding after the other, as they are known. `registry` is the content of the image pull
    secret, in Base64. One that does not answer at all is the only finding."""
    settings = target.cluster
    assert settings is not None
    try:
        yield _version(cluster)
    except ClusterError as error:
        yield Finding("connection", "fail", str(error))
        return
    parts: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("rights", lambda: _rights(cluster, settings)),
        ("nodes", lambda: _nodes(cluster, settings)),
        ("storage", lambda: _storage(cluster, settings)),
        ("edge", lambda: _edge(cluster, settings)),
        ("address", lambda: _address(cluster, target, resolve)),
        ("trust", lambda: _trust(target, resolve, handshake)),
        ("probe", lambda: _probe(probe or Probe(cluster, target), settings, registry)),
    ]
    for about, look in parts:
        try:
            yield from look()
        except ClusterError as error:
            yield Finding(about, "fail", str(error))


def _version(cluster: Cluster) -> Finding:
    major, minor = version = cluster.version()
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding(
            "version", "fail", f"Kubernetes {major}.{minor}", f"Zero to JupyterHub needs {oldest} or newer: upgrade it."
        )
    return Finding("version", "ok", f"Kubernetes {major}.{minor}")


# --- rights

_ALL = ("get", "list", "create", "patch", "delete")
_LOOK = ("get", "list")


def needed_rights(settings: ClusterTarget) -> list[tuple[str, str, tuple[str, ...]]]:
    """API group, resource and verbs of everything that course stacks and we ourselves do, in every namespace. Pure."""
    edge: list[tuple[str, str, tuple[str, ...]]] = []
    if isinstance(settings.edge, IngressEdge):
        edge = [("networking.k8s.io", "ingresses", _ALL)]
    elif isinstance(settings.edge, GatewayEdge):
        edge = [("gateway.networking.k8s.io", "httproutes", _ALL)]
    return [
        ("", "namespaces", _ALL),
        ("", "nodes", ("list",)),
        ("", "persistentvolumes", ("list",)),
        ("storage.k8s.io", "storageclasses", ("list",)),
        ("rbac.authorization.k8s.io", "clusterroles", ("list",)),
        ("rbac.authorization.k8s.io", "clusterrolebindings", ("list",)),
        ("scheduling.k8s.io", "priorityclasses", ("list",)),
        ("", "resourcequotas", _ALL),
        ("", "limitranges", _ALL),
        ("", "serviceaccounts", _ALL),
        ("", "secrets", (*_ALL, "update")),
        ("", "configmaps", (*_ALL, "update")),
        ("", "services", _ALL),
        ("", "persistentvolumeclaims", _ALL),
        ("", "pods", (*_LOOK, "create", "delete")),
        ("", "pods/log", ("get",)),
        ("", "events", ("list",)),
        ("apps", "deployments", _ALL),
        ("apps", "replicasets", _LOOK),
        ("batch", "jobs", _ALL),
        ("networking.k8s.io", "networkpolicies", _ALL),
        ("rbac.authorization.k8s.io", "roles", _ALL),
        ("rbac.authorization.k8s.io", "rolebindings", _ALL),
        *edge,
    ]


def _rights(cluster: Cluster, settings: ClusterTarget) -> Iterator[Finding]:
    needed = needed_rights(settings)
    missing = [
        f"{verb} {resource}{f'.{group}' if group else ''}"
        for group, resource, verbs in needed
        for verb in verbs
        if not _may(cluster, group, resource, verb)
    ]
    if missing:
        advice = "Give the account of the kubeconfig these rights in the whole cluster."
        yield Finding("rights", "fail", f"We may not: {', '.join(missing)}", advice)
    else:
        yield Finding("rights", "ok", f"All that course stacks do with {len(needed)} kinds of objects is allowed")


def _may(cluster: Cluster, group: str, resource: str, verb: str) -> bool:
    name, _, part = resource.partition("/")
    asked = {"group": group, "resource": name, "subresource": part, "verb": verb}
    review = cluster.create(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {},
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
    )
    return bool(review.status and review.status.allowed)


# --- nodes


def _nodes(cluster: Cluster, settings: ClusterTarget) -> Iterator[Finding]:
    from lightkube.resources.core_v1 import Node

    nodes = cluster.objects(Node)
    for about, placement in (("nodes of hubs", settings.core), ("nodes of notebooks", settings.notebooks)):
        able = [node for node in nodes if fits(node, placement)]
        if able:
            yield Finding(about, "ok", f"{len(able)} of {len(nodes)} are ready and fit: {_names(able)}")
        else:
            advice = "Correct node_selector and tolerations of the target, or add nodes."
            yield Finding(about, "fail", f"None of {len(nodes)} is ready, takes pods and fits", advice)
    gpus = {
        kind: sum(
            int(_allocatable(node).get(kind, 0)) for node in nodes if fits(node, settings.gpu, settings.notebooks)
        )
        for kind in GPUS
    }
    if some := ", ".join(f"{count} {kind}" for kind, count in gpus.items() if count):
        yield Finding("graphics processors", "ok", some)
    elif settings.gpu != Placement():
        advice = "Does the device plugin of their maker run on these nodes?"
        yield Finding("graphics processors", "warn", "The target has nodes for them, and no node offers one", advice)
    else:
        yield Finding("graphics processors", "ok", "None: profiles that ask for one cannot start here")


def fits(node: Node, *placements: Placement) -> bool:
    """Whether the node is ready and takes pods with all of these selectors and any of these tolerations. Pure."""
    labels = (node.metadata and node.metadata.labels) or {}
    conditions = (node.status and node.status.conditions) or []
    if not any(one.type == "Ready" and one.status == "True" for one in conditions):
        return False
    if node.spec and node.spec.unschedulable:
        return False
    if not all(labels.items() >= placement.node_selector.items() for placement in placements):
        return False
    tolerations = [one for placement in placements for one in placement.tolerations]
    return all(
        taint.effect == "PreferNoSchedule"
        or any(
            one.key == taint.key
            and one.effect == taint.effect
            and (one.operator == "Exists" or one.value == (taint.value or ""))
            for one in tolerations
        )
        for taint in ((node.spec and node.spec.taints) or [])
    )


def _allocatable(node: Node) -> dict[str, Any]:
    return dict((node.status and node.status.allocatable) or {})


def _names(objects: Iterable[Any], most: int = 3) -> str:
    names = sorted(str(one.metadata.name) for one in objects)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- storage


def _storage(cluster: Cluster, settings: ClusterTarget) -> Iterator[Finding]:
    from lightkube.resources.storage_v1 import StorageClass

    classes = {str(one.metadata.name): one for one in cluster.objects(StorageClass) if one.metadata}
    there = ", ".join(sorted(classes)) or "none"
    default = [name for name, one in classes.items() if _is_default(one, DEFAULT_CLASS)]
    wanted = settings.storage_class
    if wanted is None and not default:
        advice = "Name one by storage_class of the target, or mark one as default."
        yield Finding("storage of homes", "fail", f"The cluster has no default storage class; it has: {there}", advice)
    elif wanted is not None and wanted not in classes:
        advice = f"Correct storage_class of the target; the cluster has: {there}."
        yield Finding("storage of homes", "fail", f"There is no storage class {wanted}", advice)
    else:
        name = wanted or default[0]
        yield Finding("storage of homes", "ok", f"Class {name} of {classes[name].provisioner}")
    shared = settings.shared_class
    if shared is None:
        yield Finding("shared volumes", "ok", "Off: courses that ask for them are refused with the reason")
    elif shared not in classes:
        advice = f"Correct shared_class of the target; the cluster has: {there}."
        yield Finding("shared volumes", "fail", f"There is no storage class {shared}", advice)
    else:
        yield Finding("shared volumes", "ok", f"Class {shared} of {classes[shared].provisioner}")


def _is_default(one: Any, note: str) -> bool:
    return ((one.metadata and one.metadata.annotations) or {}).get(note) == "true"


# --- edge


def _edge(cluster: Cluster, settings: ClusterTarget) -> Iterator[Finding]:
    from lightkube.resources.core_v1 import Namespace
    from lightkube.resources.networking_v1 import IngressClass

    edge = settings.edge
    if isinstance(edge, IngressEdge):
        classes = {str(one.metadata.name): one for one in cluster.objects(IngressClass) if one.metadata}
        there = ", ".join(sorted(classes)) or "none"
        default = [name for name, one in classes.items() if _is_default(one, DEFAULT_INGRESS)]
        name = edge.ingress_class or (default[0] if default else None)
        if name is None:
            advice = "Name one by edge.ingress_class of the target, or mark one as default."
            yield Finding("edge", "fail", f"The cluster has no default ingress class; it has: {there}", advice)
        elif name not in classes:
            advice = f"Install its controller, or correct edge.ingress_class; the cluster has: {there}."
            yield Finding("edge", "fail", f"There is no ingress class {name}", advice)
        else:
            yield Finding("edge", "ok", f"Ingress class {name}")
        yield from _certificates(cluster, edge)
    elif isinstance(edge, GatewayEdge):
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{edge.gateway_namespace}/gateways/{edge.gateway}"
        found = cluster.raw(path, f"show Gateway {edge.gateway}", absent=True)
        if not found:
            advice = "Install the Gateway API with a controller and make the Gateway, or correct edge of the target."
            yield Finding("edge", "fail", f"There is no Gateway {edge.gateway} in {edge.gateway_namespace}", advice)
        else:
            yield _gateway(edge, found)
    else:
        yield Finding("edge", "warn", "None: hubs are reached inside the cluster only", "Set edge, unless for trials.")
        return
    if cluster.get(Namespace, edge.namespace) is None:
        advice = "Correct edge.namespace: policies let in nobody else, so that no hub would be reached."
        yield Finding("edge's pods", "fail", f"There is no namespace {edge.namespace}", advice)


def _gateway(edge: GatewayEdge, found: dict[str, Any]) -> Finding:
    listeners = [one.get("name") for one in found.get("spec", {}).get("listeners", [])]
    conditions = found.get("status", {}).get("conditions", [])
    if edge.section is not None and edge.section not in listeners:
        there = ", ".join(map(str, listeners)) or "none"
        return Finding("edge", "fail", f"Gateway {edge.gateway} has no listener {edge.section}; it has: {there}")
    if not any(one.get("type") == "Programmed" and one.get("status") == "True" for one in conditions):
        return Finding("edge", "warn", f"Gateway {edge.gateway} is not programmed", "Does its controller run?")
    return Finding("edge", "ok", f"Gateway {edge.gateway} in {edge.gateway_namespace}")


def _certificates(cluster: Cluster, edge: IngressEdge) -> Iterator[Finding]:
    if edge.tls == "issuer":
        path = f"/apis/cert-manager.io/v1/clusterissuers/{edge.cluster_issuer}"
        found = cluster.raw(path, f"show ClusterIssuer {edge.cluster_issuer}", absent=True)
        conditions = found.get("status", {}).get("conditions", [])
        if not found:
            text = f"There is no ClusterIssuer {edge.cluster_issuer}"
            yield Finding("certificates", "fail", text, "Install cert-manager and make it, or correct the target.")
        elif not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions):
            text = f"ClusterIssuer {edge.cluster_issuer} is not ready"
            yield Finding("certificates", "fail", text, f"kubectl describe clusterissuer {edge.cluster_issuer}")
        else:
            yield Finding("certificates", "ok", f"Each course's is issued by {edge.cluster_issuer}")
    elif edge.tls == "edge":
        yield Finding("certificates", "ok", "The edge's own wildcard certificate")
    else:
        yield Finding("certificates", "warn", "None: sign-in and notebooks go in clear text", "Trials only.")


def _address(cluster: Cluster, target: Target, resolve: Resolve) -> Iterator[Finding]:
    settings = target.cluster
    assert settings is not None
    if not isinstance(settings.edge, IngressEdge | GatewayEdge):
        return
    host = target.hub_host("probe")
    found = resolve(host)
    advice = f"Let *.{target.hub_domain} lead to the edge."
    if not found:
        yield Finding("address", "warn", f"{host} leads nowhere from here", advice)
        return
    text = f"{host} leads to {', '.join(sorted(found))}"
    edge = _edge_addresses(cluster, settings.edge.namespace, resolve)
    if not edge:
        yield Finding("address", "ok", f"{text}; the edge's own address cannot be known here")
    elif found & edge:
        yield Finding("address", "ok", f"{text}: the edge")
    else:
        yield Finding("address", "warn", f"{text}; the edge is at {', '.join(sorted(edge))}", advice)


def _trust(target: Target, resolve: Resolve, handshake: Handshake) -> Iterator[Finding]:
    """Whether what hubs, Jobs and operations call shows certificates that they believe: the public authorities', and
    the target's own. We believe the same here."""
    settings = target.cluster
    assert settings is not None
    called = {
        "certificate of the sign-in": target.identity.internal_url or target.identity.url,
        "certificate of the object store": target.object_store.endpoint or "",
    }
    edge = settings.edge
    host = target.hub_host("probe")
    # where each course has a certificate of its own, none is there yet
    if not (isinstance(edge, IngressEdge) and edge.tls != "edge") and not isinstance(edge, NoEdge) and resolve(host):
        called["certificate of hubs"] = target.hub_url("probe")
    for about, url in called.items():
        if not url.startswith("https:"):
            continue
        try:
            handshake(url)
        except ssl.SSLCertVerificationError as error:
            advice = "Give the certificate of who signed it: cluster.authority of the target."
            yield Finding(about, "fail", f"{url} shows one that nobody vouches for: {error.verify_message}", advice)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            yield Finding(about, "warn", f"{url} does not answer from here ({reason})", "Does it run, and is it right?")
        else:
            yield Finding(about, "ok", f"{url} shows one that is believed")


def _edge_addresses(cluster: Cluster, namespace: str, resolve: Resolve) -> frozenset[str]:
    from lightkube.resources.core_v1 import Service

    found: set[str] = set()
    for service in cluster.objects(Service, namespace):
        ways = (service.status and service.status.loadBalancer and service.status.loadBalancer.ingress) or []
        for way in ways:
            found |= {way.ip} if way.ip else resolve(way.hostname or "")
    return frozenset(found)


# --- what only a try can show


def _probe(probe: Probe, settings: ClusterTarget, registry: str) -> Iterator[Finding]:
    with probing(probe, registry):
        if probe.takes_unsafe_pods():
            advice = "Enable the admission plugin PodSecurity, or a policy engine that refuses privileged pods."
            yield Finding("pod security", "warn", "The cluster lets in pods that may do everything on a node", advice)
        else:
            yield Finding("pod security", "ok", "Unsafe pods are refused")
        probe.start("image", ["python3", "-c", TRY_MODULES])
        if why := probe.ends_well("image"):
            advice = "Correct images.helper: it needs Python 3.11, boto3 and zstandard, and must be reachable."
            yield Finding("helper image", "fail", f"{settings.images.helper}: {why}", advice)
            return
        yield Finding("helper image", "ok", f"{settings.images.helper} starts and has what our Jobs need")
        yield from _try_volumes(probe, settings)
        yield from _try_network(probe)
    yield Finding("removal", "ok", "The namespace of the probe is gone again")


def _try_volumes(probe: Probe, settings: ClusterTarget) -> Iterator[Finding]:
    wanted = [("a home", "home", settings.storage_class, "ReadWriteOnce")]
    if settings.shared_class is not None:
        wanted.append(("a shared volume", "shared", settings.shared_class, "ReadWriteMany"))
    for about, name, storage_class, mode in wanted:
        probe.make_claim(name, storage_class, mode)
        probe.start(name, ["python3", "-c", WRITE], claims=(name,))
        if why := probe.ends_well(name):
            advice = (
                f"Does {storage_class or 'the default class'} bind {mode}, and do volumes get group {settings.gid}?"
            )
            yield Finding(about, "fail", f"Cannot be mounted and written: {why}", advice)
        else:
            yield Finding(about, "ok", f"Is bound ({mode}), mounted and written")


def _try_network(probe: Probe) -> Iterator[Finding]:
    about = "network policies"
    probe.start("server", ["python3", "-c", SERVE])
    if why := probe.runs("server"):
        yield Finding(about, "warn", f"Could not be tried: {why}")
        return
    connect = {"exec": {"command": ["python3", "-c", CONNECT, probe.address("server"), str(PORT)]}}
    often = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 5}
    probe.start("client", ["python3", "-c", SERVE], readinessProbe={**connect, **often})
    try:
        probe.wait_for(lambda: probe.is_ready("client"), "One pod does not reach another at all.")
    except ClusterError as error:
        yield Finding(about, "fail", str(error), "Does the network plugin work, and no policy of others forbid it?")
        return
    probe.refuse_connections()
    try:
        probe.wait_for(lambda: not probe.is_ready("client"), "", SILENCE_SECONDS)
    except ClusterError:
        advice = "Install a network plugin that does (Calico, Cilium, …): notebooks reach each other and the cluster."
        yield Finding(about, "warn", "The cluster does not enforce NetworkPolicy", advice)
    else:
        yield Finding(about, "ok", "Are enforced")


def worst(findings: Iterable[Finding]) -> State:
    """The worst of their states."""
    order: list[State] = ["ok", "warn", "fail"]
    return max((one.state for one in findings), key=order.index, default="ok")
