"""Postgres in this cluster: charts' values and manifests. Pure; passwords come in as outputs and go into Secrets only.

A *generation* is one life of the server: a restore begins the next one from the backups of an earlier one, under
another name, so that neither writes over what the other has backed up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config import BundledDatabase, PlatformConfig
from identity_values import NAMESPACE as IDENTITY
from kubernetes_objects import READY, Manifest, manifest, namespace_object, secret_object
from outputs import PORTAL_NAMESPACE, ObjectStore, StoreBucket

NAMESPACE = "jhaas-database"
PORT = 5432
STATUS_PORT, METRICS_PORT = 8000, 9187
"""Of each server: where the operator asks how it is, and Prometheus (by the port's name, `metrics`) how it goes."""

PORTAL, PORTAL_OWNER, IDENTITY_ROLE = "portal", "portal_owner", "authentik"
"""Roles. The databases are called like the first and the last of them."""
BACKUP_STORE = "backups"
BACKUP_KEY = "backup-key"
STORE_CA = "backup-store-ca"
AUTHORITY = "postgres-authority"
"""Issuer, certificate and Secret of who signs the servers' certificates."""

CLUSTER_API = "postgresql.cnpg.io/v1"
CERTIFICATE_API = "cert-manager.io/v1"
PLUGIN = "barman-cloud.cloudnative-pg.io"
RELOAD = {"cnpg.io/reload": "true"}
"""Label of Secrets whose change the operator brings to the server at once."""
APPLIED = {"pulumi.com/waitFor": "jsonpath={.status.applied}=true"}
"""Annotation of databases and roles: made when the server has them."""
CONNECTIONS = 300
"""Authentik alone takes a hundred and more: what it kept in Redis once is in Postgres."""
LEAVING = 15
"""Seconds for which a server that is to end waits for its clients to leave, letting nobody in. Ours keep their
connections until they are closed: more than that only keeps people waiting."""
LOCALE = "C.UTF-8"


@dataclass(frozen=True)
class Generation:
    """The names of one generation."""

    number: int

    @property
    def cluster(self) -> str:
        """Of the Cluster, of its service accounts and of its folder in the bucket of backups."""
        return f"postgres-{self.number}"

    @property
    def tls(self) -> str:
        """Certificate (and Secret) that the servers show."""
        return f"{self.cluster}-tls"

    @property
    def host(self) -> str:
        """Where the server that takes writes answers."""
        return f"{self.cluster}-rw.{NAMESPACE}.svc"


def password_secret(role: str) -> str:
    """Name of the Secret of a role."""
    return f"role-{role.replace('_', '-')}"


# --- charts


def operator_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of CloudNativePG's chart."""
    return {
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "384Mi"}},
        "monitoring": {
            "podMonitorEnabled": config.monitoring.watched,
            "podMonitorAdditionalLabels": dict(config.monitoring.labels),
        },
    }


def plugin_values() -> dict[str, Any]:
    """Values of the Barman plugin's chart."""
    return {"resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}}


# --- objects


def before_objects(
    config: PlatformConfig, database: BundledDatabase, passwords: Mapping[str, Any], store: ObjectStore | None
) -> list[Manifest]:
    """What must be there before the server: room, passwords, who signs its certificate, and who may call it."""
    generation = Generation(database.generation)
    return [
        namespace_object(NAMESPACE),
        *(_password(role, password) for role, password in passwords.items()),
        *_authority(),
        _server_certificate(generation),
        *(_network_policies(config, database) if config.cluster.network_policies else []),
        *(backup_store(database, store) if store is not None else []),
    ]


def _password(role: str, password: Any) -> Manifest:
    made = secret_object(
        password_secret(role), NAMESPACE, {"username": role, "password": password}, "kubernetes.io/basic-auth"
    )
    made["metadata"]["labels"] |= RELOAD
    return made


def _authority() -> list[Manifest]:
    """The operator's own authority changes every few weeks; whoever has this one's certificate has it for years."""
    begin = f"{AUTHORITY}-begin"
    own = {
        "isCA": True,
        "commonName": "jhaas postgres",
        "secretName": AUTHORITY,
        "secretTemplate": {"labels": dict(RELOAD)},
        "duration": "87600h0m0s",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never"},
        "issuerRef": _issuer(begin),
    }
    return [
        manifest(CERTIFICATE_API, "Issuer", begin, NAMESPACE, spec={"selfSigned": {}}),
        manifest(CERTIFICATE_API, "Certificate", AUTHORITY, NAMESPACE, annotations=READY, spec=own),
        manifest(CERTIFICATE_API, "Issuer", AUTHORITY, NAMESPACE, spec={"ca": {"secretName": AUTHORITY}}),
    ]


def _server_certificate(generation: Generation) -> Manifest:
    services = [f"{generation.cluster}-{kind}" for kind in ("rw", "ro", "r")]
    spec = {
        "secretName": generation.tls,
        "secretTemplate": {"labels": dict(RELOAD)},
        "dnsNames": [
            f"{service}{place}"
            for service in services
            for place in ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local")
        ],
        "duration": "2160h0m0s",
        "renewBefore": "720h0m0s",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["server auth", "digital signature"],
        "issuerRef": _issuer(AUTHORITY),
    }
    return manifest(CERTIFICATE_API, "Certificate", generation.tls, NAMESPACE, annotations=READY, spec=spec)


def _issuer(name: str) -> dict[str, str]:
    return {"group": "cert-manager.io", "kind": "Issuer", "name": name}


def _network_policies(config: PlatformConfig, database: BundledDatabase) -> list[Manifest]:
    """Portal and identity provider get in, the operator, the servers themselves, and nobody else."""
    among_themselves: dict[str, Any] = {"podSelector": {}}
    clients = [*_namespaces(PORTAL_NAMESPACE, IDENTITY, database.operator_namespace), among_themselves]
    return [
        _policy("default-deny", []),
        _policy("postgres", [{"from": clients, "ports": [_tcp(PORT)]}]),
        _policy(
            "operator",
            [{"from": [*_namespaces(database.operator_namespace), among_themselves], "ports": [_tcp(STATUS_PORT)]}],
        ),
        *([_policy("metrics", [{"ports": [_tcp(METRICS_PORT)]}])] if config.monitoring.watched else []),
    ]


def _namespaces(*names: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in names]


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}


def _policy(name: str, ingress: list[dict[str, Any]]) -> Manifest:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress}
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, NAMESPACE, spec=spec)


def backup_store(database: BundledDatabase, store: ObjectStore) -> list[Manifest]:
    """Where backups go, and the key to it. The bucket's key opens that bucket and no other."""
    bucket = _bucket(store)
    s3: dict[str, Any] = {"inheritFromIAMRole": True}
    made = []
    if bucket.key is not None:
        pair = {"access_key_id": bucket.key.access_key_id, "secret_access_key": bucket.key.secret_access_key}
        made.append(secret_object(BACKUP_KEY, NAMESPACE, pair))
        s3 = {
            "accessKeyId": {"name": BACKUP_KEY, "key": "access_key_id"},
            "secretAccessKey": {"name": BACKUP_KEY, "key": "secret_access_key"},
        }
    configuration: dict[str, Any] = {
        "destinationPath": f"s3://{bucket.name}/",
        "s3Credentials": s3,
        "wal": {"compression": "gzip", "maxParallel": 2},
        "data": {"compression": "gzip"},
    }
    if store.endpoint is not None:
        configuration["endpointURL"] = store.endpoint
    if store.ca is not None:
        made.append(secret_object(STORE_CA, NAMESPACE, {"ca.crt": store.ca}))
        configuration["endpointCA"] = {"name": STORE_CA, "key": "ca.crt"}
    spec = {
        "configuration": configuration,
        "retentionPolicy": database.backups.retention,
        "instanceSidecarConfiguration": {
            "env": [{"name": name, "value": value} for name, value in _sidecar(store).items()],
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        },
    }
    return [*made, manifest("barmancloud.cnpg.io/v1", "ObjectStore", BACKUP_STORE, NAMESPACE, spec=spec)]


def _sidecar(store: ObjectStore) -> dict[str, str]:
    region = {"AWS_DEFAULT_REGION": store.region}
    if store.endpoint is None:
        return region
    # stores other than AWS may refuse the checksums that its clients add (cloudnative-pg/plugin-barman-cloud#393)
    checksums = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
    return {**region, **dict.fromkeys(checksums, "when_required")}


def _bucket(store: ObjectStore) -> StoreBucket:
    assert store.backups is not None, "the configuration asks for one where backups are made"
    return store.backups


def cluster_object(config: PlatformConfig, database: BundledDatabase, store: ObjectStore | None) -> Manifest:
    """The servers. `store`: None where nothing is backed up."""
    generation = Generation(database.generation)
    storage: dict[str, Any] = {"size": database.storage_size}
    if storage_class := database.storage_class or config.cluster.storage_class:
        storage["storageClass"] = storage_class
    spec: dict[str, Any] = {
        "instances": database.instances,
        "imageName": database.image,
        "inheritedMetadata": {"labels": {"app.kubernetes.io/part-of": "jhaas-platform"}},
        "storage": storage,
        "resources": {
            "requests": {"cpu": f"{database.cpu_millicores}m", "memory": database.memory},
            "limits": {"memory": database.memory},
        },
        # of one server, it would keep its node from ever being emptied
        "enablePDB": database.instances > 1,
        "enableSuperuserAccess": False,
        "smartShutdownTimeout": LEAVING,
        "certificates": {"serverCASecret": AUTHORITY, "serverTLSSecret": generation.tls},
        "postgresql": {"parameters": _parameters(database), "pg_hba": admission(_uses_identity(config))},
        "bootstrap": _bootstrap(database),
    }
    if store is not None:
        archive = {"barmanObjectName": BACKUP_STORE, "serverName": generation.cluster}
        spec["plugins"] = [{"name": PLUGIN, "isWALArchiver": True, "parameters": archive}]
        if role := _bucket(store).role:
            annotations = {"eks.amazonaws.com/role-arn": role.arn}
            spec["serviceAccountTemplate"] = {"metadata": {"annotations": annotations}}
    if database.restore is not None:
        source = Generation(database.restore.generation).cluster
        reading = {"barmanObjectName": BACKUP_STORE, "serverName": source}
        spec["externalClusters"] = [{"name": source, "plugin": {"name": PLUGIN, "parameters": reading}}]
    return manifest(CLUSTER_API, "Cluster", generation.cluster, NAMESPACE, annotations=READY, spec=spec)


def _uses_identity(config: PlatformConfig) -> bool:
    return config.identity.kind == "authentik"


def admission(identity: bool) -> list[str]:
    """Lines of `pg_hba`: each role into its own database, by TLS and a password. The operator's own lines, for its
    replicas and for itself, come before them."""
    own = [f"hostssl {PORTAL} {PORTAL},{PORTAL_OWNER} all scram-sha-256"]
    if identity:
        own.append(f"hostssl {IDENTITY_ROLE} {IDENTITY_ROLE} all scram-sha-256")
    return [*own, "host all all all reject"]


def _parameters(database: BundledDatabase) -> dict[str, str]:
    return {
        "max_connections": str(CONNECTIONS),
        "shared_buffers": f"{mebibytes(database.memory) // 4}MB",
        "idle_in_transaction_session_timeout": "10min",
        "log_min_duration_statement": "2s",
    }


def mebibytes(size: str) -> int:
    """`1Gi` → 1024."""
    number, unit = int(size[:-2]), size[-2:]
    return number * {"Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}[unit]


def _bootstrap(database: BundledDatabase) -> dict[str, Any]:
    first = {"database": PORTAL, "owner": PORTAL_OWNER, "secret": {"name": password_secret(PORTAL_OWNER)}}
    if database.restore is None:
        form = {"encoding": "UTF8", "localeCollate": LOCALE, "localeCType": LOCALE, "dataChecksums": True}
        return {"initdb": {**first, **form}}
    target = {"recoveryTarget": {"targetTime": database.restore.until}} if database.restore.until else {}
    return {"recovery": {"source": Generation(database.restore.generation).cluster, **first, **target}}


def after_objects(config: PlatformConfig, database: BundledDatabase, *, backups: bool) -> list[Manifest]:
    """What the server gets once it runs: roles beside the first, its backups, and who looks at its numbers."""
    generation = Generation(database.generation)
    identity = [IDENTITY_ROLE] if _uses_identity(config) else []
    return [
        *(_role(generation, role) for role in (PORTAL, *identity)),
        *(_schedule(generation, database) for _ in range(backups)),
        *(_monitor(config) for _ in range(config.monitoring.watched)),
    ]


def database_objects(config: PlatformConfig, database: BundledDatabase) -> list[Manifest]:
    """Databases beside the first; their owners must be there."""
    return [_database(Generation(database.generation), IDENTITY_ROLE)] if _uses_identity(config) else []


def _role(generation: Generation, role: str) -> Manifest:
    spec = {
        "cluster": {"name": generation.cluster},
        "name": role,
        "login": True,
        "passwordSecret": {"name": password_secret(role)},
        # a role that owns something cannot go; nothing is lost with the object
        "databaseRoleReclaimPolicy": "retain",
    }
    name = f"{generation.cluster}-{role.replace('_', '-')}"
    return manifest(CLUSTER_API, "DatabaseRole", name, NAMESPACE, annotations=APPLIED, spec=spec)


def _database(generation: Generation, name: str) -> Manifest:
    spec = {
        "cluster": {"name": generation.cluster},
        "name": name,
        "owner": name,
        "encoding": "UTF8",
        "template": "template0",
        "localeCollate": LOCALE,
        "localeCType": LOCALE,
        "databaseReclaimPolicy": "retain",
    }
    return manifest(CLUSTER_API, "Database", f"{generation.cluster}-{name}", NAMESPACE, annotations=APPLIED, spec=spec)


def _schedule(generation: Generation, database: BundledDatabase) -> Manifest:
    spec = {
        "cluster": {"name": generation.cluster},
        "schedule": database.backups.schedule,
        # the first at once: without one, nothing can be restored
        "immediate": True,
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
        "backupOwnerReference": "self",
    }
    return manifest(CLUSTER_API, "ScheduledBackup", generation.cluster, NAMESPACE, spec=spec)


def seal_object() -> Manifest:
    """What stands on the servers of every generation and refuses to go (`protect`): it would go before them."""
    why = "Pulumi deletes this before the database, and refuses to: a switch alone loses no data."
    return manifest("v1", "ConfigMap", "seal", NAMESPACE, data={"why": why})


def _monitor(config: PlatformConfig) -> Manifest:
    """Where the servers' numbers are: among them when changes and whole copies were last backed up."""
    spec = {
        "selector": {"matchLabels": {"cnpg.io/podRole": "instance"}},
        "podMetricsEndpoints": [{"port": "metrics", "interval": "30s"}],
    }
    monitor = manifest("monitoring.coreos.com/v1", "PodMonitor", "postgres", NAMESPACE, spec=spec)
    monitor["metadata"]["labels"] |= config.monitoring.labels
    return monitor
