"""The portal's manifests: pods of web, worker, scheduler and migration, and what they stand on. Pure.

Everything that is not named here is closed: web pods hold no key of cluster, store or identity provider, only workers
have an account of the cluster, and only the migration knows the database's owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import yaml

import portal_settings as settings
from certificates import certificate
from config import ExternalOidc, PlatformConfig
from kubernetes_objects import SEALED, Manifest, manifest, namespace_object, pod_security, secret_object
from outputs import PORTAL_NAMESPACE as NAMESPACE
from outputs import Edge, Issuer, Postgres
from portal_target import NAME as TARGET
from portal_target import port_of

WEB, WORKER, SCHEDULER, PREPARE = "portal-web", "portal-worker", "portal-scheduler", "portal-prepare"
ACCOUNT = "portal"
"""Of the processes that the cluster is none of the business of."""
WORKER_ACCOUNT = "jhaas"
SETTINGS_SECRET, OWNER_SECRET, WORKER_SECRET = "portal-settings", "portal-owner", "portal-worker"
CREDENTIALS_SECRET, PULL_SECRET, TLS_SECRET = "portal-credentials", "portal-registry", "portal-tls"
TARGETS, AUTHORITIES = "portal-targets", "portal-authorities"
DATABASE_CA, STORE_CA, SITE_CA, EDGE_CA = "database.crt", "store.crt", "site.crt", "edge.crt"
METRICS_KEY = settings.secret_file("metrics_token")

USER = 1000
"""Of the image: no name, so that Kubernetes can tell that it is not root."""
RESTRICTED = {**SEALED, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
SMALL = {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
RESOURCES = {
    WEB: {"requests": {"cpu": "200m", "memory": "384Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}},
    # four operations at once, each with Pulumi's CLI and its plugins
    WORKER: {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "4", "memory": "4Gi"}},
    SCHEDULER: SMALL,
    PREPARE: SMALL,
}
WEB_END, SCHEDULER_END, WORKER_END = 40, 30, 120
"""Seconds from SIGTERM to SIGKILL. A worker ends the step that it is in, gives its work back and goes within 85 (the
portal's `PATIENCE` and `GRACE`); of one that is killed, the lease ends and another worker goes on."""
OUT_OF_THE_BALANCER = 5
"""Seconds for which a web pod that is to end goes on, until edges have heard of it."""
PULSE_SECONDS = 120
"""A worker or scheduler that was still for so long is hung. Both touch their file every few seconds, also while the
database is away."""
PREPARE_SECONDS, PREPARE_TRIES = 900, 6

SOLVER_PORT = 8089
"""Of the pods by which cert-manager proves a host name."""
HTTPS_PORTS = (443, 8443)
"""Where an identity provider is: at its address, or behind it at a pod of the edge in the nodes' network."""

Container = dict[str, Any]


@dataclass(frozen=True)
class Process:
    """What one of the portal's processes is given."""

    name: str
    words: tuple[str, ...]
    """After `jhaas`."""
    variables: Mapping[str, Any]
    secrets: Mapping[str, Sequence[str]]
    """Secret → the settings of it that this process may read."""
    trusts: bool = False
    """It calls what an authority of the site vouches for, beside what the public ones do."""
    files: Mapping[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """Volume → where it is mounted, read only, and what it is."""
    folders: Mapping[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    """The same of folders to write in."""


def environment(process: Process) -> dict[str, Any]:
    """All variables of a process: name → value."""
    files = settings.secret_variables({name: None for names in process.secrets.values() for name in names})
    more = {"HOME": settings.HOME, **(settings.trust() if process.trusts else {})}
    return {**process.variables, **files, **more}


def pod(
    config: PlatformConfig,
    process: Process,
    *,
    account: str = ACCOUNT,
    authorities: Sequence[str] = (),
    edge_authority: bool = False,
    **container: Any,
) -> dict[str, Any]:
    """The pod of a process. `authorities` are the keys of `AUTHORITIES` that there are; `edge_authority`: the edge's
    certificates are of an authority that nobody knows."""
    folders = {
        "tmp": ("/tmp", {"emptyDir": {}}),  # noqa: S108 - the container's own
        "home": (settings.HOME, {"emptyDir": {}}),
        **process.folders,
    }
    files = dict(process.files)
    if process.secrets:
        files["secrets"] = (settings.SECRETS, _projected([_secret_source(*one) for one in process.secrets.items()]))
    sources: list[dict[str, Any]] = []
    if authorities:
        sources.append({"configMap": {"name": AUTHORITIES, "items": [_item(key) for key in authorities]}})
    if edge_authority:
        # cert-manager puts who signed beside the certificate, where it knows
        sources.append({"secret": {"name": TLS_SECRET, "items": [_item("ca.crt", EDGE_CA)], "optional": True}})
    if sources:
        files["authorities"] = (settings.AUTHORITIES, _projected(sources))
    before: list[Container] = []
    if process.trusts:
        folders["trust"] = (settings.TRUST, {"emptyDir": {}})
        before.append(_bundle(config))
    mounts = [
        *({"name": name, "mountPath": path, "readOnly": True} for name, (path, _) in files.items()),
        *({"name": name, "mountPath": path} for name, (path, _) in folders.items()),
    ]
    main: Container = {
        "name": process.name.removeprefix("portal-"),
        "image": config.portal.image,
        # the image's entry point is `jhaas`
        "args": list(process.words),
        "env": [{"name": name, "value": value} for name, value in sorted(environment(process).items())],
        "resources": RESOURCES[process.name],
        "securityContext": RESTRICTED,
        "volumeMounts": mounts,
        **container,
    }
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": account != ACCOUNT,
        "enableServiceLinks": False,
        "securityContext": pod_security(USER),
        **({"imagePullSecrets": [{"name": PULL_SECRET}]} if config.portal.registry is not None else {}),
        **({"initContainers": before} if before else {}),
        "containers": [main],
        "volumes": [{"name": name, **what} for name, (_, what) in {**files, **folders}.items()],
    }


def _bundle(config: PlatformConfig) -> Container:
    """Puts the site's own authorities into one file, which is given to courses too, and with the public ones into
    another: programs take one, not two."""
    own = " ".join(f"{settings.AUTHORITIES}/{name}" for name in (STORE_CA, SITE_CA, EDGE_CA))
    script = (
        f"for one in {own}; do if [ -s $one ]; then cat $one; fi; done > {settings.OWN_AUTHORITIES}\n"
        f"cat {settings.PUBLIC_AUTHORITIES} {settings.OWN_AUTHORITIES} > {settings.BUNDLE}\n"
    )
    return {
        "name": "trust",
        "image": config.portal.image,
        "command": ["sh", "-euc", script],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "trust", "mountPath": settings.TRUST},
            {"name": "authorities", "mountPath": settings.AUTHORITIES, "readOnly": True},
        ],
    }


def _projected(sources: list[dict[str, Any]]) -> dict[str, Any]:
    # the group alone reads beside the owner, who is root
    return {"projected": {"sources": sources, "defaultMode": 0o440}}


def _secret_source(name: str, fields: Sequence[str]) -> dict[str, Any]:
    return {"secret": {"name": name, "items": [_item(settings.secret_file(one)) for one in fields]}}


def _item(key: str, path: str | None = None) -> dict[str, str]:
    return {"key": key, "path": path or key}


# --- workloads


def web_objects(config: PlatformConfig, made: dict[str, Any], read_once: Any) -> list[Manifest]:
    """Web pods, their service, and that a drained node leaves one of them."""
    replicas = config.portal.web_replicas
    made["containers"][0] |= {
        "ports": [{"name": "http", "containerPort": settings.WEB_PORT}],
        "startupProbe": {**_http("/health/live"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_http("/health/live"), "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 3},
        # not ready means: the database is away, or the form is not this version's. While a new version comes up, pods
        # of the old one go on for this minute
        "readinessProbe": {**_http("/health/ready"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(OUT_OF_THE_BALANCER)]}}},
    }
    made["terminationGracePeriodSeconds"] = WEB_END
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(WEB)}}
    service = {
        "selector": _labels(WEB),
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }
    return [
        _deployment(WEB, replicas, made, read_once, {"maxUnavailable": 0, "maxSurge": 1}),
        _labelled(manifest("v1", "Service", WEB, NAMESPACE, spec=service), WEB),
        *([manifest("policy/v1", "PodDisruptionBudget", WEB, NAMESPACE, spec=budget)] if replicas > 1 else []),
    ]


def worker_objects(config: PlatformConfig, made: dict[str, Any], read_once: Any) -> list[Manifest]:
    """Workers."""
    made["containers"][0] |= _by_pulse()
    made["terminationGracePeriodSeconds"] = WORKER_END
    # the pod's first process, which is not ours then, takes in what killed operations leave
    made["shareProcessNamespace"] = True
    return [_deployment(WORKER, config.portal.worker_replicas, made, read_once, {"maxUnavailable": 1, "maxSurge": 1})]


def scheduler_objects(config: PlatformConfig, made: dict[str, Any], read_once: Any) -> list[Manifest]:
    """Schedulers: one acts; where web has a second pod, so has this."""
    made["containers"][0] |= _by_pulse()
    made["terminationGracePeriodSeconds"] = SCHEDULER_END
    replicas = min(2, config.portal.web_replicas)
    return [_deployment(SCHEDULER, replicas, made, read_once, {"maxUnavailable": 1, "maxSurge": 1})]


def prepare_object(made: dict[str, Any], role: str, what: Any) -> Manifest:
    """Brings the database to this version's form, then the target's file into it. Another image, or another file, is
    another Job: done before pods of the new version start."""
    targets = made["containers"][0]
    migrate = {**targets, "name": "migrate", "args": ["portal", "migrate", "--grant", role]}
    made["initContainers"] = [*made.get("initContainers", ()), migrate]
    made["restartPolicy"] = "Never"
    spec = {
        "backoffLimit": PREPARE_TRIES,
        "activeDeadlineSeconds": PREPARE_SECONDS,
        "template": {
            "metadata": {"labels": _labels(PREPARE), "annotations": {"jhaas.io/settings": what}},
            "spec": made,
        },
    }
    return manifest("batch/v1", "Job", PREPARE, NAMESPACE, spec=spec)


def _deployment(name: str, replicas: int, made: dict[str, Any], read_once: Any, rolling: dict[str, int]) -> Manifest:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": _labels(name)},
    }
    spec = {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": _labels(name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "template": {
            # what pods read once: they start anew when it changes
            "metadata": {"labels": _labels(name), "annotations": {"jhaas.io/settings": read_once}},
            "spec": {**made, "topologySpreadConstraints": [spread]},
        },
    }
    return _labelled(manifest("apps/v1", "Deployment", name, NAMESPACE, spec=spec), name)


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _labelled(one: Manifest, name: str) -> Manifest:
    one["metadata"]["labels"] |= _labels(name)
    return one


def _http(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}}


def _by_pulse() -> dict[str, Any]:
    """Ready once it began to work; hung when its file is old."""
    old = f'test "$(( $(date +%s) - $(stat -c %Y {settings.PULSE}) ))" -lt {PULSE_SECONDS}'
    return {
        "startupProbe": {
            "exec": {"command": ["test", "-f", settings.PULSE]},
            "periodSeconds": 2,
            "failureThreshold": 60,
        },
        "livenessProbe": {"exec": {"command": ["sh", "-c", old]}, "periodSeconds": 30, "failureThreshold": 3},
    }


# --- what they stand on


def before_objects(
    config: PlatformConfig,
    edge: Edge,
    issuer: Issuer,
    postgres: Postgres,
    *,
    secrets: Mapping[str, Mapping[str, Any]],
    credentials: Mapping[str, Any],
    authorities: Mapping[str, Any],
    targets: Mapping[str, Any],
    worker_role: Any = None,
) -> list[Manifest]:
    """Room, accounts, secrets, files, who may call whom, and the portal's certificate."""
    role = {} if worker_role is None else {"annotations": {"eks.amazonaws.com/role-arn": worker_role}}
    pull = config.portal.registry
    return [
        namespace_object(NAMESPACE),
        manifest("v1", "ServiceAccount", ACCOUNT, NAMESPACE, automountServiceAccountToken=False),
        manifest("v1", "ServiceAccount", WORKER_ACCOUNT, NAMESPACE, automountServiceAccountToken=False, **role),
        *(
            secret_object(name, NAMESPACE, {settings.secret_file(key): value for key, value in content.items()})
            for name, content in secrets.items()
        ),
        secret_object(CREDENTIALS_SECRET, NAMESPACE, dict(credentials)),
        *([_pull_secret(credentials["registry.json"])] if pull is not None else []),
        manifest("v1", "ConfigMap", TARGETS, NAMESPACE, data=dict(targets)),
        *([manifest("v1", "ConfigMap", AUTHORITIES, NAMESPACE, data=dict(authorities))] if authorities else []),
        *(network_policies(config, edge, postgres) if config.cluster.network_policies else []),
        certificate(TLS_SECRET, NAMESPACE, [config.site.portal_host], issuer.cluster_issuer),
    ]


def _pull_secret(content: Any) -> Manifest:
    return secret_object(PULL_SECRET, NAMESPACE, {".dockerconfigjson": content}, "kubernetes.io/dockerconfigjson")


def credentials_volume() -> dict[str, Any]:
    """The worker's folder of credentials."""
    return {"secret": {"secretName": CREDENTIALS_SECRET, "defaultMode": 0o440}}


def targets_volume() -> dict[str, Any]:
    """The folder of targets' files."""
    return {"configMap": {"name": TARGETS}}


def target_file(content: Mapping[str, Any]) -> str:
    """A target's file as it is written."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def targets_of(content: Mapping[str, Any] | None) -> dict[str, pulumi.Output[str]]:
    """The folder of targets' files; None: there is no target."""
    return {} if content is None else {f"{TARGET}.yaml": pulumi.Output.from_input(dict(content)).apply(target_file)}


def ingress_object(config: PlatformConfig, edge: Edge) -> Manifest:
    """The way in."""
    backend = {"service": {"name": WEB, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    spec = {
        **({} if edge.ingress_class is None else {"ingressClassName": edge.ingress_class}),
        "rules": [{"host": config.site.portal_host, "http": {"paths": [path]}}],
        "tls": [{"hosts": [config.site.portal_host], "secretName": TLS_SECRET}],
    }
    # not every controller writes its address into an Ingress, and none of ours waits for that
    annotations = {**edge.annotations, "pulumi.com/skipAwait": "true"}
    return manifest("networking.k8s.io/v1", "Ingress", WEB, NAMESPACE, annotations=annotations, spec=spec)


def rights_objects(given: str) -> list[Manifest]:
    """The rights of an account that works on courses, of the text of `examples/cluster/rights.yaml`, for the worker's
    account here. It needs no token beside its pods' own."""
    place, name = "jhaas-system", "jhaas"
    there = [one for one in yaml.safe_load_all(given.replace(place, NAMESPACE)) if one["kind"] not in _MADE_HERE]
    for one in there:
        assert one["metadata"]["name"] == name
        assert "namespace" not in one["metadata"], "what is left belongs to the whole cluster"
        one["metadata"]["labels"] = {"app.kubernetes.io/part-of": "jhaas-platform"}
    return there


_MADE_HERE = ("Namespace", "ServiceAccount", "Secret")


# --- network


def network_policies(config: PlatformConfig, edge: Edge, postgres: Postgres) -> list[Manifest]:
    """Nobody gets in but by the edge. Out goes: web to database and identity provider, the scheduler to the database,
    workers everywhere (cluster, charts, stores, hubs, mail)."""
    by_the_edge = [_namespace(edge.namespace)]
    http = {"ports": [_port(settings.WEB_PORT)], **({} if config.monitoring.watched else {"from": by_the_edge})}
    proof = {"ports": [_port(SOLVER_PORT)], "from": by_the_edge}
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    # names are resolved wherever the cluster has it done: in a namespace, on the node
    names = {"ports": [_port(53, "UDP"), _port(53)]}
    database = {"ports": [_port(postgres.port)]}
    if postgres.namespace is not None:
        database["to"] = [_namespace(postgres.namespace)]
    people = [{"ports": [_port(port) for port in _people_ports(config)]}, {"to": by_the_edge}]
    return [
        _policy("default-deny", {}, ingress=[], egress=[]),
        _policy("host-name-proof", solver, ingress=[proof]),
        # without a token nobody reads the numbers
        _policy(WEB, _labels(WEB), ingress=[http], egress=[names, database, *people]),
        _policy(SCHEDULER, _labels(SCHEDULER), egress=[names, database]),
        _policy(PREPARE, _labels(PREPARE), egress=[names, database]),
        _policy(WORKER, _labels(WORKER), egress=[{}]),
    ]


def _people_ports(config: PlatformConfig) -> list[int]:
    who = config.identity
    addresses = (who.issuer, who.internal_url) if isinstance(who, ExternalOidc) else ()
    return sorted({*HTTPS_PORTS, *(port_of(url) for url in addresses if url is not None)})


def _policy(name: str, pods: Mapping[str, str], **rules: Any) -> Manifest:
    spec = {
        "podSelector": {"matchLabels": dict(pods)} if pods else {},
        "policyTypes": [kind.capitalize() for kind in rules],
        **rules,
    }
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, NAMESPACE, spec=spec)


def _port(port: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": port, "protocol": protocol}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
