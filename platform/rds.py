"""Postgres at AWS RDS, and a Job that makes roles and databases in it. Imported only where it is chosen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi_aws import ec2
from pulumi_aws import rds as aws_rds
from pulumi_random import RandomPassword

from aws import account
from config import PlatformConfig, RdsDatabase
from database_objects import IDENTITY_ROLE, NAMESPACE, PORT, PORTAL, PORTAL_OWNER
from kubernetes_objects import SEALED, Manifest, Part, apply, manifest, namespace_object, pod_security, secret_object
from outputs import Login, Postgres

MASTER = "jhaas_admin"
"""Role that makes the others; only the Job has its password."""
GROWS = 5
"""How many times its first size the disk may become."""
ROLES, MASTER_SECRET, SETUP = "roles", "master", "setup"
SCRIPT = Path(__file__).with_name("rds_setup.sql")
PSQL = "PGPASSWORD=$(cat /run/jhaas/master/password) exec psql --no-psqlrc"
TRIES = 6
SECONDS = 600


def rds(config: PlatformConfig, chosen: RdsDatabase, on: pulumi.ResourceOptions) -> Postgres:
    """A server at AWS RDS."""
    return Rds(config, chosen, on).postgres


class Rds(Part):
    """Server, network group, roles. Output: `postgres`."""

    postgres: Postgres

    def __init__(self, config: PlatformConfig, chosen: RdsDatabase, on: pulumi.ResourceOptions) -> None:
        super().__init__("database", on)
        assert config.aws is not None  # the configuration was refused otherwise
        provider = account("aws-database", config.aws, pulumi.ResourceOptions(parent=self))
        opts = pulumi.ResourceOptions(parent=self, provider=provider)
        name = f"{config.aws.prefix}-postgres"
        master = self._password("master")
        subnets = aws_rds.SubnetGroup("postgres", name=name, subnet_ids=list(chosen.subnet_ids), opts=opts)
        group = ec2.SecurityGroup(
            "postgres",
            name=name,
            description="Postgres of the portal",
            vpc_id=chosen.vpc_id,
            ingress=[{"protocol": "tcp", "from_port": PORT, "to_port": PORT, "cidr_blocks": list(chosen.client_cidrs)}],
            opts=opts,
        )
        server = aws_rds.Instance(
            "postgres",
            identifier=name,
            engine="postgres",
            engine_version=chosen.version,
            instance_class=chosen.instance_class,
            allocated_storage=chosen.storage_gib,
            max_allocated_storage=chosen.storage_gib * GROWS,
            storage_type="gp3",
            storage_encrypted=True,
            multi_az=chosen.multi_az,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            username=MASTER,
            password=master,
            backup_retention_period=chosen.backup_days,
            copy_tags_to_snapshot=True,
            auto_minor_version_upgrade=True,
            deletion_protection=chosen.deletion_protection,
            skip_final_snapshot=not chosen.deletion_protection,
            final_snapshot_identifier=f"{name}-last" if chosen.deletion_protection else None,
            opts=opts,
        )
        identity = [IDENTITY_ROLE] if config.identity.kind == "authentik" else []
        passwords = {role: self._password(role.replace("_", "-")) for role in (PORTAL, PORTAL_OWNER, *identity)}
        room = apply(before_objects(), self.inside())
        before = (*room, *apply(secret_objects(passwords, master), self.inside(room)))
        keys_hash = pulumi.Output.unsecret(pulumi.Output.all(**passwords).apply(_hash))
        setup = apply(
            [setup_job(chosen, server.address, identity=bool(identity), roles_hash=keys_hash)],
            self.inside([*before, server]),
        )
        self.postgres = Postgres(
            host=server.address,
            port=PORT,
            sslmode="verify-full" if chosen.ca else "require",
            ca=pulumi.Output.from_input(chosen.ca) if chosen.ca else None,
            portal=Login(PORTAL, PORTAL, passwords[PORTAL]),
            portal_owner=Login(PORTAL, PORTAL_OWNER, passwords[PORTAL_OWNER]),
            identity=Login(IDENTITY_ROLE, IDENTITY_ROLE, passwords[IDENTITY_ROLE]) if identity else None,
            ready=(*before, server, *setup),
        )
        self.register_outputs({"host": server.address})

    def _password(self, name: str) -> pulumi.Output[str]:
        made = RandomPassword(f"database-{name}", length=40, special=False, opts=pulumi.ResourceOptions(parent=self))
        return pulumi.Output.secret(made.result)


def _hash(secrets: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(secrets, sort_keys=True).encode()).hexdigest()


def before_objects() -> list[Manifest]:
    """Room, and what the Job does."""
    return [
        namespace_object(NAMESPACE),
        manifest("v1", "ConfigMap", SETUP, NAMESPACE, data={"setup.sql": SCRIPT.read_text()}),
    ]


def secret_objects(passwords: Mapping[str, Any], master: Any) -> list[Manifest]:
    """Passwords that the Job reads."""
    return [
        secret_object(ROLES, NAMESPACE, dict(passwords)),
        secret_object(MASTER_SECRET, NAMESPACE, {"password": master}),
    ]


def setup_job(chosen: RdsDatabase, host: Any, *, identity: bool, roles_hash: Any) -> Manifest:
    """What makes roles and databases on the server, and again whenever something of it changes."""
    content = hashlib.sha256(SCRIPT.read_bytes()).hexdigest()
    container = {
        "name": SETUP,
        "image": chosen.client_image,
        "command": ["/bin/sh", "-c"],
        "args": [f"{PSQL} -v identity={int(identity)} -f /setup/setup.sql"],
        "env": [
            {"name": "PGHOST", "value": host},
            {"name": "PGPORT", "value": str(PORT)},
            {"name": "PGUSER", "value": MASTER},
            {"name": "PGDATABASE", "value": "postgres"},
            {"name": "PGSSLMODE", "value": "require"},
            {"name": "PGCONNECT_TIMEOUT", "value": "10"},
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
        "securityContext": SEALED,
        "volumeMounts": [
            {"name": name, "mountPath": path, "readOnly": True}
            for name, path in (
                ("roles", "/run/jhaas/roles"),
                ("master", "/run/jhaas/master"),
                ("setup", "/setup"),
            )
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # the user of Postgres in that image
        "securityContext": pod_security(26),
        "containers": [container],
        "volumes": [
            {"name": "roles", "secret": {"secretName": ROLES}},
            {"name": "master", "secret": {"secretName": MASTER_SECRET}},
            {"name": "setup", "configMap": {"name": SETUP}},
        ],
    }
    annotations = {"jhaas.io/setup": content, "jhaas.io/roles": roles_hash}
    labels = {"app.kubernetes.io/name": SETUP}
    spec = {
        "backoffLimit": TRIES,
        "activeDeadlineSeconds": SECONDS,
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    return manifest("batch/v1", "Job", SETUP, NAMESPACE, spec=spec)
