"""Who signs certificates: cert-manager with an issuer of ours, or the cluster's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pulumi

from config import Certificates, Cloudflare, DnsProvider, PlatformConfig, Rfc2136, Route53
from ingress import WILDCARD_SECRET
from kubernetes_objects import READY, Manifest, Part, apply, manifest, namespace_object, release, secret, secret_object
from outputs import Edge, Issuer, Names

API = "cert-manager.io/v1"
ISSUER = "jhaas"
AUTHORITY = "jhaas-authority"
"""Certificate (and Secret) of this cluster's own authority."""
ACCOUNT_KEY = "jhaas-acme-account"
PROOF_SECRET = "jhaas-dns"  # noqa: S105 - a name
"""Secret with what the DNS provider and the authority's account ask for, in cert-manager's namespace."""
SIGNED_WITHIN = "30m"
"""Name servers take their time to tell each other of the record that proves a name."""
SERVERS = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}


def certificates(config: PlatformConfig, on: pulumi.ResourceOptions, edge: Edge, names: Names) -> Issuer:
    """The issuer, and the wildcard certificate of all hubs where there is one."""
    return CertManager(config, on, edge, names).issuer


class CertManager(Part):
    """cert-manager by its chart (or the cluster's own), our issuer, the hubs' certificate. Output: `issuer`."""

    issuer: Issuer

    def __init__(self, config: PlatformConfig, on: pulumi.ResourceOptions, edge: Edge, names: Names) -> None:
        super().__init__("certificates", on)
        given = config.certificates
        installed: tuple[pulumi.Resource, ...] = ()
        if given.install:
            (home,) = apply([namespace_object(given.namespace)], self.inside())
            chart = release(
                "cert-manager",
                config.charts.cert_manager,
                cert_manager_values(config),
                namespace=given.namespace,
                cluster=config.cluster,
                opts=self.inside([home]),
            )
            installed = (chart,)
        # each stands on the one before it: an authority before who signs with it
        ready = installed
        for one in issuer_objects(config, edge):
            ready = (*ready, *apply([one], self.inside(ready)))
        # an answer on port 80 is asked for at the host names: they must lead here first
        if given.is_acme and given.challenge == "http01":
            ready = (*ready, *edge.ready, *names.ready)
        name = given.cluster_issuer or ISSUER
        if config.has_wildcard:
            domain = config.site.hub_domain
            wildcard = certificate(WILDCARD_SECRET, edge.namespace, [f"*.{domain}"], name)
            patient = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=SIGNED_WITHIN))
            inside = pulumi.ResourceOptions.merge(self.inside([*ready, *edge.ready]), patient)
            ready = (*ready, *apply([wildcard], inside))
        self.issuer = Issuer(
            cluster_issuer=name,
            wildcard=config.has_wildcard,
            own=given.issuer == "selfsigned",
            ca=given.ca,
            ready=ready,
        )
        self.register_outputs({"cluster_issuer": name})


def certificate(name: str, namespace: str, hosts: Iterable[str], cluster_issuer: str) -> Manifest:
    """A certificate for these hosts in the Secret of the same name; made when it is signed."""
    return manifest(
        API,
        "Certificate",
        name,
        namespace,
        annotations=READY,
        spec={
            "secretName": name,
            "dnsNames": list(hosts),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": cluster_issuer},
        },
    )


def cert_manager_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of cert-manager's chart."""
    values: dict[str, Any] = {
        # kept when the release goes: taking it away would take every certificate of the cluster along
        "crds": {"enabled": True, "keep": True},
        # what was signed goes with its certificate: else a new authority would find the old one's, and leave it there
        "enableCertificateOwnerRef": True,
        "global": {"leaderElection": {"namespace": config.certificates.namespace}},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "webhook": {"resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}},
        "cainjector": {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "384Mi"}}},
        "startupapicheck": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}},
    }
    if config.dns.nameservers:
        values["dns01RecursiveNameservers"] = ",".join(config.dns.nameservers)
        values["dns01RecursiveNameserversOnly"] = True
    return values


def issuer_objects(config: PlatformConfig, edge: Edge) -> list[Manifest]:
    """The issuer and what it needs, in the order in which they must be made; nothing where it is the cluster's own."""
    given = config.certificates
    if given.issuer == "existing":
        return []
    if given.issuer == "selfsigned":
        return _authority(given)
    data = _proof_data(config)
    proofs = [secret_object(PROOF_SECRET, given.namespace, data)] if data else []
    return [*proofs, manifest(API, "ClusterIssuer", ISSUER, annotations=READY, spec={"acme": _acme(config, edge)})]


def _authority(given: Certificates) -> list[Manifest]:
    begin = f"{ISSUER}-begin"
    own = {
        "isCA": True,
        "commonName": "JupyterHub courses of this cluster",
        "secretName": AUTHORITY,
        "duration": "87600h",
        # the same key for ever: whoever trusts the authority goes on trusting it
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": begin},
    }
    return [
        manifest(API, "ClusterIssuer", begin, annotations=READY, spec={"selfSigned": {}}),
        manifest(API, "Certificate", AUTHORITY, given.namespace, annotations=READY, spec=own),
        manifest(API, "ClusterIssuer", ISSUER, annotations=READY, spec={"ca": {"secretName": AUTHORITY}}),
    ]


def _proof_data(config: PlatformConfig) -> dict[str, Any]:
    given, provider = config.certificates, config.dns.provider
    data: dict[str, Any] = {}
    if given.challenge == "dns01":
        match provider:
            case Rfc2136():
                data["tsig"] = secret(provider.key_secret.get_secret_value())
            case Cloudflare():
                data["api-token"] = secret(provider.api_token.get_secret_value())
            case _:
                pass
    if given.eab_hmac_key is not None:
        data["eab"] = secret(given.eab_hmac_key.get_secret_value())
    return data


def _acme(config: PlatformConfig, edge: Edge) -> dict[str, Any]:
    given = config.certificates
    acme: dict[str, Any] = {
        "server": given.acme_server or SERVERS[given.issuer],
        "email": given.email or config.site.contact,
        "privateKeySecretRef": {"name": ACCOUNT_KEY},
    }
    if given.eab_key_id is not None:
        acme["externalAccountBinding"] = {
            "keyID": given.eab_key_id,
            "keySecretRef": {"name": PROOF_SECRET, "key": "eab"},
        }
    if given.challenge == "dns01":
        acme["solvers"] = _dns_solvers(config)
    else:
        answer: dict[str, Any] = {} if edge.ingress_class is None else {"ingressClassName": edge.ingress_class}
        acme["solvers"] = [{"http01": {"ingress": answer}}]
    return acme


def _dns_solvers(config: PlatformConfig) -> list[dict[str, Any]]:
    provider = config.dns.provider
    if isinstance(provider, Route53) and provider.hub_zone_id is not None:
        hubs = config.site.hub_domain
        # the narrower selector wins: hubs' names lie in a zone of their own
        return [
            {"dns01": _dns01(config, provider, provider.zone_id)},
            {"dns01": _dns01(config, provider, provider.hub_zone_id), "selector": {"dnsZones": [hubs]}},
        ]
    return [{"dns01": _dns01(config, provider, provider.zone_id if isinstance(provider, Route53) else "")}]


def _dns01(config: PlatformConfig, provider: DnsProvider, zone: str) -> dict[str, Any]:
    match provider:
        case Rfc2136():
            return {
                "rfc2136": {
                    "nameserver": provider.nameserver,
                    "tsigKeyName": provider.key_name,
                    "tsigAlgorithm": provider.key_algorithm,
                    "tsigSecretSecretRef": {"name": PROOF_SECRET, "key": "tsig"},
                }
            }
        case Cloudflare():
            return {"cloudflare": {"apiTokenSecretRef": {"name": PROOF_SECRET, "key": "api-token"}}}
        case Route53():
            assert config.aws is not None  # the configuration was refused otherwise
            return {"route53": {"region": config.aws.region, "hostedZoneID": zone}}
        case _:
            raise AssertionError("refused by the configuration")
