"""What the pods of a course may reach, and who may reach them: network policies, pure.

Everything is denied first, in both directions; each further policy opens what one kind of pod needs. Policies only add
to each other, so what the chart's own policies open stays open: `hub_values` leaves them nothing beyond the paths
between hub, proxy and notebooks, which stand here as well.

What a NetworkPolicy cannot say:
- It knows addresses, not names. Where an address cannot be known beforehand (the cluster's API, an identity provider
  or object store outside the cluster), the port alone is opened, and only to the pod that needs it; never to notebooks.
- The cluster's API has no label and its addresses are the cluster's own. Hubs may use ports 443 and 6443 of every
  address. Notebooks are kept from it by `private_ranges`: an API that listens on a public address belongs in there.
- Addresses of services are translated to those of their pods before policies are applied: what stands behind a
  service of the cluster is opened by its namespace, on all ports.
- Without a network plugin that enforces policies they do nothing (`jhaas cluster check` tries it out).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from course_stack.cluster import METADATA, ClusterTarget, NoEdge, Opening
from course_stack.kubernetes.names import (
    HUB,
    HUB_PORT,
    JOB_LABEL,
    NOTEBOOK,
    NOTEBOOK_PORT,
    PROXY,
    PROXY_API_PORT,
    PROXY_PORT,
    ClusterNames,
)
from course_stack.target import Target

API_PORTS = (443, 6443)
"""Where Kubernetes' API is reached: by its service, and directly."""

NODE_DNS = ("169.254.20.10/32",)
"""The node's own DNS cache, where a cluster has one (NodeLocal DNSCache)."""

Manifest = dict[str, Any]
Rule = dict[str, Any]
Network = IPv4Network | IPv6Network


def network_policies(slug: str, target: Target) -> list[Manifest]:
    """The policies of a course's namespace. `target` must be a cluster."""
    cluster = target.cluster
    assert cluster is not None
    names = ClusterNames(slug)
    identity = target.identity.internal_url or target.identity.url

    def policy(name: str, pods: dict[str, Any], **rules: list[Rule]) -> Manifest:
        """What is not named is denied: both directions belong to each policy."""
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": names.policy(name), "namespace": names.namespace, "labels": names.labels},
            "spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], **rules},
        }

    return [
        policy("default", {}),
        policy("dns", {}, egress=[_dns()]),
        policy(
            "proxy",
            _pods(PROXY),
            ingress=[_from_edge(cluster), _rule("from", [_own(HUB)], PROXY_API_PORT)],
            egress=[_rule("to", [_own(HUB)], HUB_PORT), _rule("to", [_own(NOTEBOOK)], NOTEBOOK_PORT)],
        ),
        policy(
            "hub",
            _pods(HUB),
            ingress=[_rule("from", [_own(PROXY), _own(NOTEBOOK)], HUB_PORT)],
            egress=[
                _rule("to", [_own(PROXY)], PROXY_API_PORT),
                _rule("to", [_own(NOTEBOOK)], NOTEBOOK_PORT),
                _rule("to", None, *API_PORTS),
                _service(identity),
                # an identity provider behind the same edge is reached through it: its pods stand for its address
                *([] if isinstance(cluster.edge, NoEdge) else [_rule("to", [_namespace(cluster.edge.namespace)])]),
                *(_opening(one) for one in cluster.openings if one.hub),
            ],
        ),
        policy(
            "notebooks",
            _pods(NOTEBOOK),
            ingress=[_rule("from", [_own(PROXY), _own(HUB)], NOTEBOOK_PORT)],
            egress=[
                _rule("to", [_own(HUB)], HUB_PORT),
                *(_rule("to", [block]) for block in _internet(cluster)),
                *(_opening(one) for one in cluster.openings if one.notebooks),
            ],
        ),
        policy(
            "jobs",
            {"matchExpressions": [{"key": JOB_LABEL, "operator": "Exists"}]},
            egress=[_service(target.object_store.endpoint)],
        ),
    ]


def _pods(labels: dict[str, str]) -> dict[str, Any]:
    return {"matchLabels": labels}


def _own(labels: dict[str, str]) -> dict[str, Any]:
    """Pods of the same namespace."""
    return {"podSelector": _pods(labels)}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _block(cidr: str, excluded: Iterable[str] = ()) -> dict[str, Any]:
    without = list(excluded)
    return {"ipBlock": {"cidr": cidr, **({"except": without} if without else {})}}


def _rule(
    direction: str, peers: list[dict[str, Any]] | None, *ports: int, protocols: tuple[str, ...] = ("TCP",)
) -> Rule:
    """`peers` None: everybody. No ports: all of them."""
    # an empty list would be read as everybody, too
    assert peers != []
    opened = [{"port": port, "protocol": protocol} for port in ports for protocol in protocols]
    return {**({direction: peers} if peers else {}), **({"ports": opened} if opened else {})}


def _dns() -> Rule:
    return _rule("to", [_namespace("kube-system"), *map(_block, NODE_DNS)], 53, protocols=("UDP", "TCP"))


def _from_edge(cluster: ClusterTarget) -> Rule:
    if isinstance(cluster.edge, NoEdge):
        return _rule("from", None, PROXY_PORT)
    return _rule("from", [_namespace(cluster.edge.namespace), *map(_block, cluster.edge.addresses)], PROXY_PORT)


def _opening(opening: Opening) -> Rule:
    if opening.cidr is None:
        peer = _namespace(str(opening.namespace))
    else:
        whole = ip_network(opening.cidr)
        peer = _block(opening.cidr, (inner for inner in METADATA if _lies_in(ip_network(inner), whole)))
    return _rule("to", [peer], *opening.ports, protocols=("TCP", "UDP"))


def _service(url: str | None) -> Rule:
    """The way to a service at an address; none: AWS, whose addresses are many."""
    parts = urlsplit(url or "https://")
    host = parts.hostname or ""
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        address = ip_address(host)
    except ValueError:
        labels = host.split(".")
        # NAME.NAMESPACE.svc, with or without the cluster's domain
        return _rule("to", [_namespace(labels[1])]) if labels[2:3] == ["svc"] else _rule("to", None, port)
    return _rule("to", [_block(f"{address}/{address.max_prefixlen}")], port)


def _internet(cluster: ClusterTarget) -> list[dict[str, Any]]:
    """All addresses but the private ones; each kind of address apart, as NetworkPolicy wants it."""
    private = [ip_network(cidr) for cidr in dict.fromkeys((*cluster.private_ranges, *METADATA))]
    outermost = [one for one in private if not any(_lies_in(one, other) for other in private)]
    return [
        _block(str(whole), (str(one) for one in outermost if _lies_in(one, whole)))
        for whole in (ip_network("0.0.0.0/0"), ip_network("::/0"))
        if whole not in private
    ]


def _lies_in(inner: Network, outer: Network) -> bool:
    """Whether it is a part, and not the whole."""
    return inner.version == outer.version and inner != outer and inner.subnet_of(outer)  # type: ignore[arg-type]
