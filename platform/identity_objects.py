"""Authentik's objects beside the chart: secrets, mails, the signing key, who may call, and what applies the blueprint.

Pure manifests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config import Authentik, PlatformConfig
from identity_values import (
    ACCOUNT,
    BLUEPRINT,
    BOOTSTRAP,
    DATABASE_CA,
    MAILS,
    NAMESPACE,
    POD,
    RESTRICTED,
    SETTINGS,
    SIGNING,
    ca_mounts,
    ca_volumes,
    environment,
    image_values,
)
from kubernetes_objects import READY, Manifest, manifest, namespace_object, over, secret_object
from outputs import Edge, Postgres

HTTP_PORT, METRICS_PORT, SOLVER_PORT = 9000, 9300, 8089
"""Where Authentik's containers listen, and the pods by which cert-manager proves a host name."""
SECONDS = 900
"""In which the blueprint must have been applied."""
TRIES = 6
OF_COURSES = (
    "system/providers-oauth2.yaml",
    "default/flow-default-provider-authorization-implicit-consent.yaml",
    "default/flow-default-provider-invalidation.yaml",
)
"""Blueprints of Authentik's own that make what courses' clients are made with. Its worker applies all of its own at
some time after its start: the first course may come before. Where both are at it, one fails and tries again."""
JOB = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def before_objects(
    config: PlatformConfig,
    postgres: Postgres,
    edge: Edge,
    *,
    settings: Mapping[str, Any],
    admin_password: Any,
    blueprints: Mapping[str, Any],
    mails: Mapping[str, str],
) -> list[Manifest]:
    """What must be there before the chart: room, secrets, mails, the signing key, and who may call."""
    chosen = config.identity
    assert isinstance(chosen, Authentik)
    bootstrap = {
        "AUTHENTIK_BOOTSTRAP_PASSWORD": admin_password,
        "AUTHENTIK_BOOTSTRAP_EMAIL": chosen.admin_email or config.site.contact,
    }
    return [
        namespace_object(NAMESPACE),
        manifest("v1", "ServiceAccount", ACCOUNT, NAMESPACE, automountServiceAccountToken=False),
        secret_object(SETTINGS, NAMESPACE, dict(settings)),
        secret_object(BOOTSTRAP, NAMESPACE, bootstrap),
        secret_object(BLUEPRINT, NAMESPACE, dict(blueprints)),
        manifest("v1", "ConfigMap", MAILS, NAMESPACE, data=dict(mails)),
        *([] if postgres.ca is None else [secret_object(DATABASE_CA, NAMESPACE, {"ca.crt": postgres.ca})]),
        *_signing_key(),
        *(_network_policies(config, edge) if config.cluster.network_policies else []),
    ]


def after_objects(config: PlatformConfig, postgres: Postgres, *, blueprint_hash: Any = "") -> list[Manifest]:
    """What applies the blueprint once Authentik runs: now, and each night."""
    spec = {
        "backoffLimit": TRIES,
        "activeDeadlineSeconds": SECONDS,
        "template": _applying_pod(config, postgres, blueprint_hash),
    }
    nightly = {
        "schedule": "17 3 * * *",
        "timeZone": config.site.timezone,
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": spec},
    }
    return [
        manifest("batch/v1", "Job", BLUEPRINT, NAMESPACE, spec=spec),
        manifest("batch/v1", "CronJob", BLUEPRINT, NAMESPACE, spec=nightly),
    ]


def _applying_pod(config: PlatformConfig, postgres: Postgres, blueprint_hash: Any) -> dict[str, Any]:
    values = over(_image_and_environment(config, postgres), config.charts.authentik.values)["global"]
    image = values["image"]
    digest = f"@{image['digest']}" if image.get("digest") else ""
    container = {
        "name": "apply",
        "image": f"{image['repository']}:{image['tag']}{digest}",
        # the last proves that ours was applied
        "args": ["apply_blueprint", *OF_COURSES, "jhaas/jhaas.yaml", "jhaas/applied.yaml"],
        "env": values["env"],
        "envFrom": [{"secretRef": {"name": SETTINGS}}],
        "resources": JOB,
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "blueprint", "mountPath": "/blueprints/jhaas", "readOnly": True},
            {"name": "signing", "mountPath": "/run/jhaas/signing", "readOnly": True},
            {"name": "mails", "mountPath": "/templates", "readOnly": True},
            *ca_mounts(postgres),
        ],
    }
    return {
        "metadata": {
            "labels": {"app.kubernetes.io/name": BLUEPRINT},
            # another blueprint is another Job
            "annotations": {"jhaas.io/blueprint": blueprint_hash},
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": POD,
            "imagePullSecrets": values.get("imagePullSecrets", []),
            "containers": [container],
            "volumes": [
                {"name": "blueprint", "secret": {"secretName": BLUEPRINT}},
                {"name": "signing", "secret": {"secretName": SIGNING}},
                {"name": "mails", "configMap": {"name": MAILS}},
                *ca_volumes(postgres),
            ],
        },
    }


def _image_and_environment(config: PlatformConfig, postgres: Postgres) -> dict[str, Any]:
    chosen = config.identity
    assert isinstance(chosen, Authentik)
    variables = [{"name": name, "value": value} for name, value in environment(config, postgres).items()]
    return {"global": {"image": image_values(chosen.image), "env": variables}}


def _signing_key() -> list[Manifest]:
    """The key that signs tokens, renewed a month before its certificate ends. Nobody checks who signed that."""
    issuer = manifest("cert-manager.io/v1", "Issuer", SIGNING, NAMESPACE, spec={"selfSigned": {}})
    spec = {
        "commonName": "jhaas token signing",
        "secretName": SIGNING,
        "duration": "8760h0m0s",
        "renewBefore": "720h0m0s",
        # RS256
        "privateKey": {"algorithm": "RSA", "size": 4096, "encoding": "PKCS8", "rotationPolicy": "Always"},
        "usages": ["digital signature"],
        "issuerRef": {"group": "cert-manager.io", "kind": "Issuer", "name": SIGNING},
    }
    return [
        issuer,
        manifest("cert-manager.io/v1", "Certificate", SIGNING, NAMESPACE, annotations=READY, spec=spec),
    ]


def _network_policies(config: PlatformConfig, edge: Edge) -> list[Manifest]:
    """Nobody gets in but by the edge; out goes what Authentik needs: database, mail, the site's directories."""
    by_the_edge = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": edge.namespace}}}]
    server = {"app.kubernetes.io/name": "authentik", "app.kubernetes.io/component": "server"}
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    measured = [_let_in("authentik-metrics", {"app.kubernetes.io/name": "authentik"}, METRICS_PORT, None)]
    return [
        _policy("default-deny", {}, []),
        _let_in("authentik-server", server, HTTP_PORT, by_the_edge),
        _let_in("host-name-proof", solver, SOLVER_PORT, by_the_edge),
        *(measured if config.monitoring.watched else []),
    ]


def _let_in(name: str, pods: Mapping[str, str], port: int, peers: list[Any] | None) -> Manifest:
    rule: dict[str, Any] = {"ports": [{"port": port, "protocol": "TCP"}]}
    return _policy(name, pods, [{**rule, "from": peers} if peers is not None else rule])


def _policy(name: str, pods: Mapping[str, str], rules: list[Any]) -> Manifest:
    spec = {"podSelector": {"matchLabels": dict(pods)} if pods else {}, "policyTypes": ["Ingress"], "ingress": rules}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, NAMESPACE, spec=spec)
