"""Values of Authentik's chart, and the settings that all its pods share. Pure; nothing in them is secret."""

from __future__ import annotations

from email.utils import formataddr
from pathlib import Path
from typing import Any

from config import Authentik, PlatformConfig
from kubernetes_objects import pod_security
from outputs import Edge, Issuer, Login, Postgres

NAMESPACE = "jhaas-identity"
RELEASE = "authentik"

SETTINGS = "authentik-settings"
BOOTSTRAP = "authentik-bootstrap"
BLUEPRINT = "authentik-blueprint"
MAILS = "authentik-mails"
SIGNING = "authentik-signing"
DATABASE_CA = "authentik-database-ca"
TLS = "authentik-tls"
"""Names of our objects in the namespace: Secrets, and the ConfigMap of the mails."""
ACCOUNT = "authentik-pods"
"""Service account of all pods, without token: the chart keeps the token away only where it is given an account."""

DATABASE_CA_FILE = "/run/jhaas/database/ca.crt"
PUBLIC_CAS = "/etc/ssl/certs/ca-certificates.crt"
"""Of Authentik's image."""
RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Of each container. Its root file system stays writable: Authentik keeps files of its processes and metrics there."""
POD = pod_security(1000)
"""The user of Authentik's image."""
SERVER = {"requests": {"cpu": "200m", "memory": "768Mi"}, "limits": {"cpu": "2", "memory": "1536Mi"}}
WORKER = {"requests": {"cpu": "100m", "memory": "768Mi"}, "limits": {"cpu": "2", "memory": "1536Mi"}}

PATIENCE = {"timeoutSeconds": 20}
"""Of the probes of workers: what the chart asks them by begins with starting Python, which takes longer than the
chart's three seconds on a node that has much to do; the worker was killed for that."""


def authentik_values(
    config: PlatformConfig, postgres: Postgres, edge: Edge, issuer: Issuer, *, read_once: Any = ""
) -> dict[str, Any]:
    """Values of Authentik's chart. Nothing in them is secret: `SETTINGS` and `BOOTSTRAP` are Secrets of ours.

    `read_once`: changes when something changes that pods read at their start alone.
    """
    chosen = config.identity
    assert isinstance(chosen, Authentik)
    common = {
        "securityContext": POD,
        "containerSecurityContext": RESTRICTED,
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "metrics": _metrics(config),
    }
    return {
        # everything that is secret is in a Secret of ours; the chart makes none
        "authentik": {"existingSecret": {"secretName": SETTINGS}},
        "global": {
            "image": image_values(chosen.image),
            "env": [{"name": name, "value": value} for name, value in environment(config, postgres).items()],
            "podAnnotations": {"jhaas.io/read-once": read_once},
            "volumes": [{"name": "mails", "configMap": {"name": MAILS}}, *ca_volumes(postgres)],
            "volumeMounts": [{"name": "mails", "mountPath": "/templates", "readOnly": True}, *ca_mounts(postgres)],
        },
        "server": {
            **common,
            "replicas": chosen.server_replicas,
            "resources": SERVER,
            "pdb": {"enabled": chosen.server_replicas > 1, "maxUnavailable": 1},
            "ingress": {
                "enabled": True,
                "ingressClassName": edge.ingress_class or "",
                "annotations": {**edge.annotations, "cert-manager.io/cluster-issuer": issuer.cluster_issuer},
                "hosts": [config.site.login_host],
                "tls": [{"secretName": TLS, "hosts": [config.site.login_host]}],
            },
        },
        "worker": {
            **common,
            "replicas": chosen.worker_replicas,
            "resources": WORKER,
            **dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), PATIENCE),
            # the first admin is made by the worker, at its first start
            "envFrom": [{"secretRef": {"name": BOOTSTRAP}}],
        },
        # is for outposts in other clusters, which nothing here needs
        "serviceAccount": {"create": False},
        # has a database of its own only where it is not given one
        "postgresql": {"enabled": False},
    }


def image_values(image: str) -> dict[str, str]:
    """An image as the chart wants it."""
    name, _, digest = image.partition("@")
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    # the chart writes a tag in any case; without one beside a digest, it would be the chart's own
    return {"repository": repository, "tag": tag or "latest", "digest": digest}


def environment(config: PlatformConfig, postgres: Postgres) -> dict[str, Any]:
    """Authentik's settings that are not secret."""
    own, chosen = login(postgres), config.identity
    assert isinstance(chosen, Authentik)
    return {
        "AUTHENTIK_WEB__BASE_URL": f"https://{config.site.login_host}",
        "AUTHENTIK_LOG_LEVEL": chosen.log_level,
        # what it would tell its makers
        "AUTHENTIK_ERROR_REPORTING__ENABLED": "false",
        "AUTHENTIK_DISABLE_STARTUP_ANALYTICS": "true",
        "AUTHENTIK_DISABLE_UPDATE_CHECK": "true",
        # there are no outposts to look for
        "AUTHENTIK_OUTPOSTS__DISCOVER": "false",
        "AUTHENTIK_POSTGRESQL__HOST": postgres.host,
        "AUTHENTIK_POSTGRESQL__PORT": str(postgres.port),
        "AUTHENTIK_POSTGRESQL__NAME": own.database,
        "AUTHENTIK_POSTGRESQL__USER": own.user,
        "AUTHENTIK_POSTGRESQL__SSLMODE": postgres.sslmode,
        **_root_certificates(postgres),
        **_mail_environment(config),
    }


def _root_certificates(postgres: Postgres) -> dict[str, str]:
    if not postgres.sslmode.startswith("verify"):
        return {}
    return {"AUTHENTIK_POSTGRESQL__SSLROOTCERT": DATABASE_CA_FILE if postgres.ca is not None else PUBLIC_CAS}


def _mail_environment(config: PlatformConfig) -> dict[str, str]:
    mail = config.mail
    if mail.host is None:
        return {}
    return {
        "AUTHENTIK_EMAIL__HOST": mail.host,
        "AUTHENTIK_EMAIL__PORT": str(mail.port),
        # the two exclude each other: the first goes over to TLS (587), the second begins with it (465)
        "AUTHENTIK_EMAIL__USE_TLS": str(mail.tls == "starttls").lower(),
        "AUTHENTIK_EMAIL__USE_SSL": str(mail.tls == "tls").lower(),
        "AUTHENTIK_EMAIL__TIMEOUT": "30",
        "AUTHENTIK_EMAIL__FROM": formataddr((config.site.name, mail.sender or config.site.contact)),
        **({"AUTHENTIK_EMAIL__USERNAME": mail.user} if mail.user else {}),
    }


def _metrics(config: PlatformConfig) -> dict[str, Any]:
    watched = config.monitoring.watched
    return {
        "enabled": watched,
        "serviceMonitor": {"enabled": watched, "labels": dict(config.monitoring.labels)},
    }


def ca_volumes(postgres: Postgres) -> list[dict[str, Any]]:
    """Of pods that check who the database server is."""
    return [] if postgres.ca is None else [{"name": "database-ca", "secret": {"secretName": DATABASE_CA}}]


def ca_mounts(postgres: Postgres) -> list[dict[str, Any]]:
    """Of their containers."""
    folder = str(Path(DATABASE_CA_FILE).parent)
    return [] if postgres.ca is None else [{"name": "database-ca", "mountPath": folder, "readOnly": True}]


def login(postgres: Postgres) -> Login:
    """Authentik's database."""
    assert postgres.identity is not None, "the configuration asks for one where Authentik is chosen"
    return postgres.identity
