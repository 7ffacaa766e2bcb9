"""The S3 store in this cluster: manifests. Pure; passwords come in as outputs and go into Secrets only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bucket_rules
from config import BundledObjectStorage, PlatformConfig
from database_objects import NAMESPACE as DATABASE
from kubernetes_objects import SEALED, Manifest, manifest, namespace_object, pod_security, secret_object
from outputs import PORTAL_NAMESPACE

NAMESPACE = "jhaas-object-storage"
NAME = "silo"
"""Of the server's objects."""
PORT = 9000
ENDPOINT = f"http://{NAME}.{NAMESPACE}.svc:{PORT}"
"""Where pods find it. Keys sign each request, and never travel; what they sign does, in clear text, between pods
that the network policies let through."""
REGION = "us-east-1"
ROOT_USER = "jhaas-root"

ROOT, KEYS, SETUP = "root", "keys", "setup"
"""Secrets of the administrator and of the keys, ConfigMap and Job that make these."""
STATE, ARCHIVES, BACKUPS, COURSES = "state", "archives", "backups", "courses"
USES = (STATE, ARCHIVES, BACKUPS, COURSES)
"""Each has a key of its own."""

SCRIPT = Path(__file__).with_name("object_storage_setup.sh")
TRIES = 6
SECONDS = 600
"""In which buckets and keys must have been made."""

ROOT_FOLDER, KEYS_FOLDER, SETUP_FOLDER = "/run/jhaas/root", "/run/jhaas/keys", "/setup"
# the disk may hold millions of files: only its first folder is looked at
_POD = {**pod_security(1000), "fsGroupChangePolicy": "OnRootMismatch"}


def key_id(use: str) -> str:
    """Id of the key for a use: the name of its user."""
    return f"jhaas-{use}"


def buckets(storage: BundledObjectStorage) -> dict[str, str]:
    """Use → bucket."""
    return {STATE: storage.state_bucket, ARCHIVES: storage.archives_bucket, BACKUPS: storage.backups_bucket}


def secret_objects(root_password: Any, keys: Mapping[str, Any]) -> list[Manifest]:
    """The administrator's password, for the server and the Job that sets it up; the keys, for the latter."""
    return [
        secret_object(ROOT, NAMESPACE, {"user": ROOT_USER, "password": root_password}),
        secret_object(KEYS, NAMESPACE, dict(keys)),
    ]


def before_objects(config: PlatformConfig, storage: BundledObjectStorage) -> list[Manifest]:
    """Room and disk, an address, what the Job does, and who may call."""
    return [
        namespace_object(NAMESPACE),
        _disk(config, storage),
        _service(),
        manifest("v1", "ConfigMap", SETUP, NAMESPACE, data=setup_files(storage)),
        *(_network_policies() if config.cluster.network_policies else []),
    ]


def setup_job(storage: BundledObjectStorage, *, keys_hash: Any) -> Manifest:
    """What makes buckets and keys in the running server, once, and again whenever something of it changes."""
    content = hashlib.sha256(json.dumps(setup_files(storage), sort_keys=True).encode()).hexdigest()
    return manifest("batch/v1", "Job", SETUP, NAMESPACE, spec=_job(storage, content, keys_hash))


def setup_files(storage: BundledObjectStorage) -> dict[str, str]:
    """The script and what it reads: name → content. Nothing of it is secret."""
    named = buckets(storage)
    versions = {STATE, ARCHIVES}
    lines = [f"{bucket} {'yes' if use in versions else 'no'}\n" for use, bucket in named.items()]
    policies = {use: bucket_rules.own_bucket(bucket) for use, bucket in named.items()}
    policies[COURSES] = bucket_rules.course_buckets(named[ARCHIVES], (named[STATE], named[BACKUPS]))
    lifecycles = {
        storage.state_bucket: bucket_rules.forgetting(storage.deleted_days, storage.history_days),
        storage.archives_bucket: bucket_rules.forgetting(storage.deleted_days),
    }
    return {
        "setup.sh": SCRIPT.read_text(),
        "buckets": "".join(lines),
        **{f"{use}.policy.json": json.dumps(policy, indent=1) for use, policy in policies.items()},
        **{f"{bucket}.lifecycle.json": json.dumps(rules, indent=1) for bucket, rules in lifecycles.items()},
    }


def _disk(config: PlatformConfig, storage: BundledObjectStorage) -> Manifest:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.storage_size}},
    }
    if storage_class := storage.storage_class or config.cluster.storage_class:
        spec["storageClassName"] = storage_class
    # many classes make a disk only when a pod asks for it: the server waits for it, nobody before
    waits = {"pulumi.com/skipAwait": "true"}
    return manifest("v1", "PersistentVolumeClaim", NAME, NAMESPACE, annotations=waits, spec=spec)


def _service() -> Manifest:
    spec = {"selector": _labels(NAME), "ports": [{"name": "s3", "port": PORT, "targetPort": "s3"}]}
    # waits for nobody: the server waits for its service, and not the other way round
    return manifest("v1", "Service", NAME, NAMESPACE, annotations={"pulumi.com/skipAwait": "true"}, spec=spec)


def server_object(storage: BundledObjectStorage) -> Manifest:
    """The server; made when it is ready."""
    container = {
        "name": NAME,
        "image": storage.image,
        "args": ["server", "/data", "--address", f":{PORT}"],
        "env": [
            {"name": "MINIO_ROOT_USER_FILE", "value": f"{ROOT_FOLDER}/user"},
            {"name": "MINIO_ROOT_PASSWORD_FILE", "value": f"{ROOT_FOLDER}/password"},
            # no pages: everything is in this program, and a page more is a door more
            {"name": "MINIO_BROWSER", "value": "off"},
            {"name": "MINIO_UPDATE", "value": "off"},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a folder of its own
        ],
        "ports": [{"name": "s3", "containerPort": PORT}],
        "startupProbe": {**_probe("live"), "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**_probe("ready"), "periodSeconds": 10},
        "livenessProbe": {**_probe("live"), "periodSeconds": 20, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "100m", "memory": storage.memory},
            "limits": {"cpu": "2", "memory": storage.memory},
        },
        "securityContext": SEALED,
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "root", "mountPath": ROOT_FOLDER, "readOnly": True},
        ],
    }
    pod = {
        **_pod(),
        "terminationGracePeriodSeconds": 60,
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": NAME}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "root", "secret": {"secretName": ROOT}},
        ],
    }
    spec = {
        # the disk has one server; more of them would need disks of their own
        "replicas": 1,
        "serviceName": NAME,
        "selector": {"matchLabels": _labels(NAME)},
        "template": {"metadata": {"labels": _labels(NAME)}, "spec": pod},
    }
    return manifest("apps/v1", "StatefulSet", NAME, NAMESPACE, spec=spec)


def _job(storage: BundledObjectStorage, content: str, keys_hash: Any) -> dict[str, Any]:
    container = {
        "name": SETUP,
        # the server's image brings the client
        "image": storage.image,
        "command": ["/bin/sh", f"{SETUP_FOLDER}/setup.sh"],
        "env": [
            {"name": "STORE", "value": ENDPOINT},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
            {"name": "MC_CONFIG_DIR", "value": "/tmp/.mc"},  # noqa: S108
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": SEALED,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "root", "mountPath": ROOT_FOLDER, "readOnly": True},
            {"name": "keys", "mountPath": KEYS_FOLDER, "readOnly": True},
            {"name": "setup", "mountPath": SETUP_FOLDER, "readOnly": True},
        ],
    }
    pod = {
        **_pod(),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "root", "secret": {"secretName": ROOT}},
            {"name": "keys", "secret": {"secretName": KEYS}},
            {"name": "setup", "configMap": {"name": SETUP}},
        ],
    }
    # other buckets, rules or keys are another Job
    annotations = {"jhaas.io/setup": content, "jhaas.io/keys": keys_hash}
    return {
        "backoffLimit": TRIES,
        "activeDeadlineSeconds": SECONDS,
        "template": {"metadata": {"labels": _labels(SETUP), "annotations": annotations}, "spec": pod},
    }


def _pod() -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _POD,
    }


def _probe(what: str) -> dict[str, Any]:
    return {"httpGet": {"path": f"/minio/health/{what}", "port": "s3"}, "timeoutSeconds": 5}


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _network_policies() -> list[Manifest]:
    """Portal, database, the Job that sets it up, and of courses Jobs and notebooks get in; hubs do not."""
    everything: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []}
    peers = [
        {"namespaceSelector": _named(PORTAL_NAMESPACE)},
        {"namespaceSelector": _named(DATABASE)},
        {"podSelector": {"matchLabels": _labels(SETUP)}},
        # copies of homes are written by Jobs beside these; notebooks read their course's material
        {"namespaceSelector": _has("jhaas.io/course"), "podSelector": _has("jhaas.io/job")},
        {"namespaceSelector": _has("jhaas.io/course"), "podSelector": {"matchLabels": _NOTEBOOK}},
    ]
    server = {
        "podSelector": {"matchLabels": _labels(NAME)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"port": PORT, "protocol": "TCP"}]}],
    }
    return [
        manifest("networking.k8s.io/v1", "NetworkPolicy", "default-deny", NAMESPACE, spec=everything),
        manifest("networking.k8s.io/v1", "NetworkPolicy", NAME, NAMESPACE, spec=server),
    ]


_NOTEBOOK = {"component": "singleuser-server"}
"""Label that KubeSpawner gives to notebooks."""


def _named(namespace: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _has(label: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": label, "operator": "Exists"}]}
