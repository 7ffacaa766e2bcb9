"""Postgres: servers of CloudNativePG in this cluster, backed up to the object store; or the site's own; or AWS RDS."""

from __future__ import annotations

import base64
from typing import Any

import pulumi
from pulumi_random import RandomPassword

from config import BundledDatabase, DatabaseLogin, ExternalDatabase, PlatformConfig
from database_objects import (
    AUTHORITY,
    IDENTITY_ROLE,
    NAMESPACE,
    PORT,
    PORTAL,
    PORTAL_OWNER,
    Generation,
    after_objects,
    before_objects,
    cluster_object,
    database_objects,
    operator_values,
    plugin_values,
    seal_object,
)
from kubernetes_objects import Part, apply, namespace_object, release, secret, waits_for
from outputs import Issuer, Login, ObjectStore, Postgres

SLOWEST_START = "4h"
"""A restore reads everything back before the server is ready."""


def database(config: PlatformConfig, on: pulumi.ResourceOptions, issuer: Issuer, store: ObjectStore) -> Postgres:
    """The server that the site chose, with the databases of portal and identity provider."""
    match config.database:
        case BundledDatabase() as bundled:
            return CloudNativePg(config, bundled, on, issuer, store).postgres
        case ExternalDatabase() as given:
            return external(given)
        case chosen:
            # imports of AWS's provider take seconds, and its plugin is downloaded
            from rds import rds

            return rds(config, chosen, on)


def external(given: ExternalDatabase) -> Postgres:
    """A server of the site's: nothing is made."""

    def login(one: DatabaseLogin) -> Login:
        return Login(one.database, one.user, secret(one.password.get_secret_value()))

    portal = given.portal
    return Postgres(
        host=given.host,
        port=given.port,
        sslmode=given.tls,
        ca=pulumi.Output.from_input(given.ca) if given.ca else None,
        portal=login(portal),
        portal_owner=Login(portal.database, portal.owner, secret(portal.owner_password.get_secret_value())),
        identity=login(given.identity) if given.identity else None,
    )


class CloudNativePg(Part):
    """The operator by its chart, servers, roles and databases. Output: `postgres`."""

    postgres: Postgres

    def __init__(
        self,
        config: PlatformConfig,
        bundled: BundledDatabase,
        on: pulumi.ResourceOptions,
        issuer: Issuer,
        store: ObjectStore,
    ) -> None:
        super().__init__("database", on)
        backed_up = store if bundled.backups.enabled else None
        # A server whose backups are switched off starts anew, once its last changes are backed up: plugin, key and
        # bucket stay for that.
        way = store if store.backups is not None else None
        operator = self._operator(config, bundled, issuer, plugin=way is not None)
        identity = [IDENTITY_ROLE] if config.identity.kind == "authentik" else []
        passwords = {role: self._password(role) for role in (PORTAL, PORTAL_OWNER, *identity)}
        # backups go to a bucket that must be there; where there is none, nothing here needs the store
        ahead = waits_for(operator, issuer.ready, way.ready if way else ())
        before = apply(before_objects(config, bundled, passwords, way), self.inside(ahead))
        slow = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create=SLOWEST_START))
        servers = apply(
            [cluster_object(config, bundled, backed_up)],
            pulumi.ResourceOptions.merge(self.inside([*ahead, *before]), slow),
        )
        there = self.inside([*operator, *before, *servers])
        kept = pulumi.ResourceOptions(protect=True)
        apply([seal_object()], pulumi.ResourceOptions.merge(there, kept))
        roles = apply(after_objects(config, bundled, backups=backed_up is not None), there)
        databases = apply(database_objects(config, bundled), self.inside([*operator, *before, *roles]))
        generation = Generation(bundled.generation)
        authority = _Authority(self.inside(before), servers[0])
        self.postgres = Postgres(
            host=generation.host,
            port=PORT,
            sslmode="verify-full",
            ca=authority.certificate,
            portal=Login(PORTAL, PORTAL, passwords[PORTAL]),
            portal_owner=Login(PORTAL, PORTAL_OWNER, passwords[PORTAL_OWNER]),
            identity=Login(IDENTITY_ROLE, IDENTITY_ROLE, passwords[IDENTITY_ROLE]) if identity else None,
            namespace=NAMESPACE,
            ready=(*before, *servers, *roles, *databases),
        )
        self.register_outputs({"host": generation.host})

    def _operator(
        self, config: PlatformConfig, bundled: BundledDatabase, issuer: Issuer, *, plugin: bool
    ) -> tuple[pulumi.Resource, ...]:
        if not bundled.install_operator:
            return ()
        namespace = bundled.operator_namespace
        (home,) = apply([namespace_object(namespace)], self.inside())
        operator = release(
            "cloudnative-pg",
            config.charts.cloudnative_pg,
            operator_values(config),
            namespace=namespace,
            cluster=config.cluster,
            opts=self.inside([home]),
        )
        if not plugin:
            return home, operator
        # beside the operator, which finds it by its service; cert-manager gives both their certificates
        way = release(
            "plugin-barman-cloud",
            config.charts.barman_plugin,
            plugin_values(),
            namespace=namespace,
            cluster=config.cluster,
            opts=self.inside([home, operator, *issuer.ready]),
        )
        return home, operator, way

    def _password(self, role: str) -> pulumi.Output[str]:
        name = f"database-{role.replace('_', '-')}"
        made = RandomPassword(name, length=40, special=False, opts=pulumi.ResourceOptions(parent=self))
        return pulumi.Output.secret(made.result)


class _Authority(pulumi.CustomResource):
    """The Secret of who signs the servers' certificates, looked up."""

    data: pulumi.Output[dict[str, Any]]

    def __init__(self, opts: pulumi.ResourceOptions, servers: pulumi.CustomResource) -> None:
        # unknown until there are servers, which need it themselves: nobody can look it up before
        there = pulumi.ResourceOptions(
            id=servers.id.apply(lambda _: f"{NAMESPACE}/{AUTHORITY}"), additional_secret_outputs=["data"]
        )
        super().__init__(
            "kubernetes:core/v1:Secret", AUTHORITY, {"data": None}, pulumi.ResourceOptions.merge(opts, there)
        )

    @property
    def certificate(self) -> pulumi.Output[str]:
        """In PEM; the key that belongs to it stays here."""
        found = self.data.apply(lambda data: base64.b64decode(data["ca.crt"]).decode())
        return pulumi.Output.unsecret(found)
