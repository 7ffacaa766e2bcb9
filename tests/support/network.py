"""Whether network policies let one place talk to another, by Kubernetes' rules: a referee that needs no cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.support import charts

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """`ports` are the names that its containers give to ports."""

    namespace: str
    labels: Mapping[str, str]
    address: str = "10.244.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outside:
    """A machine that is no pod: on the internet, on the campus, or a node with what runs in its own network."""

    address: str


Place = Pod | Outside


def allowed(policies: Sequence[Policy], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection may be made: the source's policies let it out, and the target's let it in."""
    return _passes(policies, "Egress", source, target, port, protocol, target) and _passes(
        policies, "Ingress", target, source, port, protocol, target
    )


def _passes(
    policies: Sequence[Policy], direction: str, own: Place, other: Place, port: int, protocol: str, target: Place
) -> bool:
    if isinstance(own, Outside):
        return True
    mine = [one["spec"] for one in policies if _selects(one, own) and direction in one["spec"]["policyTypes"]]
    rules = [rule for spec in mine for rule in spec.get(direction.lower(), ())]
    return not mine or any(_rule_matches(rule, own, other, port, protocol, target) for rule in rules)


def _selects(policy: Policy, pod: Pod) -> bool:
    return bool(policy["metadata"]["namespace"] == pod.namespace) and _labels_match(
        policy["spec"]["podSelector"], pod.labels
    )


def _rule_matches(rule: Policy, own: Pod, other: Place, port: int, protocol: str, target: Place) -> bool:
    assert set(rule) <= {"to", "from", "ports"}
    peers = rule.get("to", rule.get("from", ()))
    return (not peers or any(_peer_matches(peer, own, other) for peer in peers)) and (
        not rule.get("ports") or any(_port_matches(one, port, protocol, target) for one in rule["ports"])
    )


def _port_matches(wanted: Mapping[str, Any], port: int, protocol: str, target: Place) -> bool:
    assert set(wanted) <= {"port", "protocol"}
    number = wanted.get("port", port)
    if isinstance(number, str):
        number = target.ports.get(number) if isinstance(target, Pod) else None
    return number == port and wanted.get("protocol", "TCP") == protocol


def _peer_matches(peer: Mapping[str, Any], own: Pod, other: Place) -> bool:
    assert set(peer) <= {"ipBlock", "podSelector", "namespaceSelector"}
    if block := peer.get("ipBlock"):
        return _lies_in(other.address, block["cidr"]) and not any(
            _lies_in(other.address, one) for one in block.get("except", ())
        )
    if isinstance(other, Outside):
        return False
    namespaces = peer.get("namespaceSelector")
    in_namespace = (
        own.namespace == other.namespace
        if namespaces is None
        else _labels_match(namespaces, {"kubernetes.io/metadata.name": other.namespace})
    )
    return in_namespace and _labels_match(peer.get("podSelector", {}), other.labels)


def _lies_in(address: str, cidr: str) -> bool:
    one, network = ip_address(address), ip_network(cidr)
    return one.version == network.version and one in network


def _labels_match(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "Exists" for one in expressions)
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        one["key"] in labels for one in expressions
    )


PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def chart_policies(values: Mapping[str, Any], namespace: str, release: str) -> list[Policy]:
    """The policies that Zero to JupyterHub 4.4.0 makes of its values, beside ours (templates/*/netpol.yaml)."""
    whole = charts.merged("jupyterhub-4.4.0", dict(values))
    metadata = whole["singleuser"]["cloudMetadata"]["ip"] + "/32"

    def own(component: str) -> dict[str, Any]:
        labels = {"app": "jupyterhub", "release": release, "component": component}
        return {"podSelector": {"matchLabels": labels}}

    def labelled(settings: Mapping[str, Any], label: str, port: str) -> dict[str, Any]:
        pods: dict[str, Any] = {"podSelector": {"matchLabels": {f"hub.jupyter.org/{label}": "true"}}}
        if settings["interNamespaceAccessLabels"] == "accept":
            pods["namespaceSelector"] = {}
        return {"ports": [{"port": port}], "from": [pods]}

    def ways_out(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        open_ = settings["egressAllowRules"]
        dns = [
            *([{"ipBlock": {"cidr": metadata}}] if open_["dnsPortsCloudMetadataServer"] else []),
            *(
                [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
                if open_["dnsPortsKubeSystemNamespace"]
                else []
            ),
            *([{"ipBlock": {"cidr": one}} for one in PRIVATE] if open_["dnsPortsPrivateIPs"] else []),
        ]
        ports = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
        public = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [*PRIVATE, metadata]}}
        return [
            *([{"ports": ports, "to": dns}] if dns else []),
            *([{"to": [public]}] if open_["nonPrivateIPs"] else []),
            *([{"to": [{"ipBlock": {"cidr": one}} for one in PRIVATE]}] if open_["privateIPs"] else []),
            *([{"to": [{"ipBlock": {"cidr": metadata}}]}] if open_["cloudMetadataServer"] else []),
            *settings["egress"],
        ]

    def policy(
        component: str, settings: Mapping[str, Any], ingress: list[dict[str, Any]], egress: list[dict[str, Any]]
    ) -> list[Policy]:
        if not settings["enabled"]:
            return []
        from_all = [{"ports": [{"port": port} for port in settings["allowedIngressPorts"]]}]
        spec = {
            **own(component),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [*(from_all if settings["allowedIngressPorts"] else []), *ingress, *settings["ingress"]],
            "egress": [*egress, *ways_out(settings)],
        }
        return [{"metadata": {"name": component, "namespace": namespace}, "spec": spec}]

    def to(component: str, *ports: int) -> dict[str, Any]:
        return {"to": [own(component)], "ports": [{"port": port} for port in ports]}

    hub = whole["hub"]["networkPolicy"]
    proxy = whole["proxy"]["chp"]["networkPolicy"]
    notebook = whole["singleuser"]["networkPolicy"]
    return [
        *policy(
            "hub",
            hub,
            [labelled(hub, "network-access-hub", "http")],
            [to("proxy", 8001), to("singleuser-server", 8888)],
        ),
        *policy(
            "proxy",
            proxy,
            [
                labelled(proxy, "network-access-proxy-http", "http"),
                labelled(proxy, "network-access-proxy-api", "api"),
            ],
            [to("hub", 8081), to("singleuser-server", 8888)],
        ),
        *policy(
            "singleuser-server",
            notebook,
            [labelled(notebook, "network-access-singleuser", "notebook-port")],
            [to("hub", 8081), to("proxy", 8000), to("autohttps", 8080, 8443)],
        ),
    ]
