"""What a part of the platform tells the parts that stand on it.

Each part returns one of these, whether it was made here or is somebody else's: who reads it cannot see the difference.
`ready` are the resources that must be there before anything that uses the part: put them into `depends_on`. Values that
are secret are secret outputs (`pulumi.Output.secret`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi

Ready = tuple[pulumi.Resource, ...]

PORTAL_NAMESPACE = "jhaas-portal"
"""Where the portal's pods run: parts that are made before them let them in."""


@dataclass(frozen=True)
class Edge:
    """How browsers get into the cluster."""

    ingress_class: str | None
    """None: the cluster's default class."""
    namespace: str
    """Of the controller's pods: network policies let them in."""
    annotations: dict[str, str]
    """Of every Ingress of ours."""
    address: pulumi.Output[str] | None
    """Where the host names must lead: an address, or a name that leads there; None where nobody knows."""
    ready: Ready = ()


@dataclass(frozen=True)
class Names:
    """That the host names lead to the edge."""

    ready: Ready = ()


@dataclass(frozen=True)
class Issuer:
    """Who signs certificates."""

    cluster_issuer: str
    """cert-manager's, for `Certificate` objects and the annotation `cert-manager.io/cluster-issuer`."""
    wildcard: bool
    """The edge has a wildcard certificate for all hubs; else each course asks for one of its own."""
    own: bool
    """An authority of this cluster's own signs: `ca.crt` in each certificate's Secret says who it is."""
    ca: str | None = None
    """Certificates (PEM) that pods and courses believe beside the public ones, as the site gave them."""
    ready: Ready = ()


@dataclass(frozen=True)
class Login:
    """A role on a Postgres server and its database."""

    database: str
    user: str
    password: pulumi.Output[str]


@dataclass(frozen=True)
class Postgres:
    """A Postgres server with the databases of portal and identity provider."""

    host: str | pulumi.Output[str]
    port: int
    sslmode: Literal["verify-full", "verify-ca", "require", "disable"]
    ca: pulumi.Output[str] | None
    """Certificate (PEM) of who signed the server's, where the public authorities did not."""
    portal: Login
    """Reads and writes; may not change audit rows nor the tables' form."""
    portal_owner: Login
    """Owns the portal's tables: migrations."""
    identity: Login | None
    """None where no identity provider of ours needs one."""
    namespace: str | None = None
    """Where its pods run, if in this cluster: network policies let clients out to it."""
    ready: Ready = ()


@dataclass(frozen=True)
class Key:
    """An access key of the store."""

    access_key_id: pulumi.Output[str]
    secret_access_key: pulumi.Output[str]


@dataclass(frozen=True)
class Role:
    """A role that pods take, in place of a key."""

    arn: str | pulumi.Output[str]


@dataclass(frozen=True)
class StoreBucket:
    """A bucket, and what opens it: a key that opens nothing else, or a role."""

    name: str
    access: Key | Role

    @property
    def key(self) -> Key | None:
        """None where a role opens it."""
        return self.access if isinstance(self.access, Key) else None

    @property
    def role(self) -> Role | None:
        """None where a key opens it."""
        return self.access if isinstance(self.access, Role) else None


@dataclass(frozen=True)
class ObjectStore:
    """A store that speaks S3."""

    endpoint: str | None
    """None: AWS itself."""
    region: str
    path_style: bool
    ca: pulumi.Output[str] | None
    state: StoreBucket
    archives: StoreBucket
    backups: StoreBucket | None
    courses: Key | Role | None
    """May make a bucket and a key for each course; None: courses have no bucket."""
    kind: Literal["seaweedfs", "aws", "minio"] = "minio"
    """What stands behind it, in the words of a target's object store."""
    secrets_provider: pulumi.Output[str] | None = None
    """Key service that encrypts the stacks' secrets (awskms://…); None: a passphrase does."""
    permissions_boundary: pulumi.Output[str] | None = None
    """Policy beyond which no user of a course can go, where the store is AWS."""
    namespace: str | None = None
    """Where its pods run, if in this cluster."""
    ready: Ready = ()


@dataclass(frozen=True)
class Identity:
    """The OIDC provider that knows the people."""

    kind: Literal["authentik", "canaille", "oidc"]
    """`oidc`: it has no API by which courses could get their clients and groups."""
    issuer: str
    """The portal's, exactly as the discovery document says."""
    url: str
    """Public base address, without a trailing slash."""
    internal_url: str | None
    """Base address for calls from pods, where it is not the public one."""
    client_id: str
    client_secret: pulumi.Output[str]
    api_key: dict[str, pulumi.Output[str]] | None
    """What opens the API that makes courses' clients and groups: the content of the workers' `identity.json`. None
    where there is no such API."""
    admin_password: pulumi.Output[str] | None = None
    """Of the first admin, `akadmin`; None where the provider is somebody else's."""
    namespace: str | None = None
    """Where its pods run, if in this cluster."""
    ready: Ready = ()


@dataclass(frozen=True)
class SharedStorage:
    """Volumes that all notebooks of a course mount."""

    storage_class: str | None
    """Binds ReadWriteMany; None: courses have no shared volumes."""
    ready: Ready = ()


@dataclass(frozen=True)
class Prometheus:
    """What measures, if it is ours; it brings the kinds of monitors and alert rules."""

    grafana_password: pulumi.Output[str] | None = None
    """Of Grafana's `admin`."""
    ready: Ready = ()


@dataclass(frozen=True)
class PortalSite:
    """The portal, running."""

    url: str
    namespace: str
    ready: Ready = ()
