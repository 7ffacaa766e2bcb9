"""How browsers get into the cluster: Traefik, or the ingress controller that is there."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v3 import Release

from config import ExistingIngress, PlatformConfig, TraefikIngress
from kubernetes_objects import Part, PodSecurity, apply, namespace_object, release
from outputs import Edge

NAMESPACE = "traefik"
SERVICE = "traefik"
"""Named after the release."""
WILDCARD_SECRET = "hubs-wildcard"  # noqa: S105 - a name
"""Secret in the controller's namespace that holds the wildcard certificate of all hubs, where there is one."""
NODE_PORTS = {"web": 30080, "websecure": 30443}


def ingress(config: PlatformConfig, on: pulumi.ResourceOptions) -> Edge:
    """The edge, ours or the cluster's own."""
    if isinstance(config.ingress, ExistingIngress):
        told = config.ingress.address
        return Edge(
            ingress_class=config.ingress.class_name,
            namespace=config.ingress.namespace,
            annotations=dict(config.ingress.annotations),
            address=pulumi.Output.from_input(told) if told else None,
        )
    return Traefik(config, config.ingress, on).edge


class Traefik(Part):
    """Traefik by its chart. Output: `edge`."""

    edge: Edge

    def __init__(self, config: PlatformConfig, traefik: TraefikIngress, on: pulumi.ResourceOptions) -> None:
        super().__init__("ingress", on)
        # ports of the node itself are beyond what the standards allow
        level: PodSecurity = "privileged" if traefik.exposure == "host-port" else "restricted"
        (home,) = apply([namespace_object(NAMESPACE, level)], self.inside())
        installed = release(
            "traefik",
            config.charts.traefik,
            traefik_values(config, traefik),
            namespace=NAMESPACE,
            cluster=config.cluster,
            opts=self.inside([home]),
        )
        address = pulumi.Output.from_input(traefik.address) if traefik.address else self._balancer(installed)
        self.edge = Edge(
            ingress_class=traefik.class_name,
            namespace=NAMESPACE,
            annotations={},
            address=address,
            ready=(installed,),
        )
        self.register_outputs({"address": address})

    def _balancer(self, installed: Release) -> pulumi.Output[str]:
        """What the cluster's load balancer says; the chart counts as installed once it has said it."""
        service = _Service(installed, self.inside([installed]))
        return service.status.apply(balancer_address)


class _Service(pulumi.CustomResource):
    """Traefik's service, looked up."""

    status: pulumi.Output[dict[str, Any]]

    def __init__(self, installed: Release, opts: pulumi.ResourceOptions) -> None:
        # unknown until the chart is installed: nobody can look it up before
        there = pulumi.ResourceOptions(id=installed.status.apply(lambda status: f"{status.namespace}/{SERVICE}"))
        super().__init__(
            "kubernetes:core/v1:Service", "balancer", {"status": None}, pulumi.ResourceOptions.merge(opts, there)
        )


def balancer_address(status: dict[str, Any]) -> str:
    """The address, or the name, in the status of a service with a load balancer. Raises `RunError` for none."""
    points = (status.get("loadBalancer") or {}).get("ingress") or []
    for point in points:
        if found := point.get("ip") or point.get("hostname"):
            return str(found)
    raise pulumi.RunError(
        "The cluster gave Traefik's service no address: it has no load balancer. "
        "Set jhaas-platform:ingress.exposure to node-port or host-port, with ingress.address."
    )


def traefik_values(config: PlatformConfig, traefik: TraefikIngress) -> dict[str, Any]:
    """Values of Traefik's chart."""
    on_host = traefik.exposure == "host-port"
    timeouts = {
        # the default of 60 seconds cuts uploads
        "readTimeout": f"{traefik.read_timeout_seconds}s",
        "idleTimeout": f"{traefik.idle_timeout_seconds}s",
    }

    def port(name: str, number: int, **http: Any) -> dict[str, Any]:
        trusted = {"forwardedHeaders": {"trustedIPs": list(traefik.trusted_proxies)}} if traefik.trusted_proxies else {}
        node = {"nodePort": NODE_PORTS[name]} if traefik.exposure == "node-port" else {}
        host = {"hostPort": number} if on_host else {}
        # many servers read X_Forwarded_For as X-Forwarded-For, which is Traefik's alone to say
        http["underscoreHeadersStrategy"] = "delete"
        return {"transport": {"respondingTimeouts": dict(timeouts)}, "http": http, **trusted, **node, **host}

    values: dict[str, Any] = {
        "ingressClass": {"enabled": True, "name": traefik.class_name, "isDefaultClass": traefik.default_class},
        "providers": {
            "kubernetesCRD": {
                "enabled": True,
                "ingressClass": traefik.class_name,
                # the wildcard certificate is a TLSStore: one of ours, and of nobody else
                "defaultTLSResourcesNamespace": NAMESPACE,
                # routes of one namespace never take the name of another's
                "safeNaming": True,
            },
            "kubernetesIngress": {"enabled": True, "publishedService": {"enabled": not on_host}},
        },
        "ports": {
            "web": port(
                "web", 80, redirections={"entryPoint": {"to": "websecure", "scheme": "https", "permanent": True}}
            ),
            # names of files in the addresses of JupyterLab
            "websecure": port("websecure", 443, encodedCharacters=dict.fromkeys(_IN_FILE_NAMES, True)),
        },
        "service": {
            "annotations": dict(traefik.service_annotations),
            "spec": _service(traefik),
        },
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "core": {"strictTLSOptions": True},
        "api": {"dashboard": False},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    if on_host:
        values["deployment"] = {"kind": "DaemonSet"}
        # a new pod finds the node's ports taken while the old one has them
        values["updateStrategy"] = {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
        values["providers"]["kubernetesIngress"]["ingressEndpoint"] = {_kind(traefik.address): traefik.address}
    else:
        values["deployment"] = {"replicas": traefik.replicas}
        if traefik.replicas > 1:
            values["podDisruptionBudget"] = {"enabled": True, "maxUnavailable": 1}
    if config.has_wildcard:
        values["tlsStore"] = {"default": {"defaultCertificate": {"secretName": WILDCARD_SECRET}}}
    return values


def _kind(address: str | None) -> str:
    try:
        ip_address(str(address))
    except ValueError:
        return "hostname"
    return "ip"


_IN_FILE_NAMES = (
    "allowEncodedSlash",
    "allowEncodedSemicolon",
    "allowEncodedPercent",
    "allowEncodedQuestionMark",
    "allowEncodedHash",
)


def _service(traefik: TraefikIngress) -> dict[str, Any]:
    kinds = {"load-balancer": "LoadBalancer", "node-port": "NodePort", "host-port": "ClusterIP"}
    kind = kinds[traefik.exposure]
    # the address of whoever calls stays known: rate limits and logs are of no use without
    return {"type": kind, **({"externalTrafficPolicy": "Local"} if kind == "LoadBalancer" else {})}
