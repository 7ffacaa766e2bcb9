"""What a site says of its platform, section by section: the models behind `Pulumi.STACK.yaml`.

Every key has its meaning here and nowhere else (docs/platform-settings.md is written from it); a key that does not
exist is refused. Where a part may be ours or somebody else's, the section's `kind` chooses, and each kind has its own
keys. Reading the stack's file, and what is said of mistakes in it, is in `stack_file`.
"""

from __future__ import annotations

import json
from contextlib import suppress
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from charts import Charts

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone; write for example Europe/Berlin") from None
    return name


def _network(given: str) -> str:
    with suppress(ValueError):
        if "/" in given and ip_network(given, strict=False):
            return given
    raise ValueError(f"{given} is no range of addresses; write for example 10.0.0.0/8")


STANDS_FOR = "[secret: "
"""Begins what stands for a secret that is encrypted or still to be set (`stack_file.of_file`)."""


def _login(given: SecretStr) -> SecretStr:
    """Nothing of what is given is told: it holds passwords."""
    text = given.get_secret_value()
    if text.startswith(STANDS_FOR):
        return given
    form = 'write {"auths": {"REGISTRY": {"auth": "…"}}}, as `docker login` writes config.json'
    try:
        content = json.loads(text)
    except ValueError:
        raise ValueError(f"what is given is no JSON; {form}") from None
    logins = content.get("auths") if isinstance(content, dict) else None
    if not isinstance(logins, dict) or not logins:
        raise ValueError(f"what is given names no registry; {form}")
    for registry, login in logins.items():
        if not isinstance(login, dict) or not (login.get("auth") or (login.get("username") and login.get("password"))):
            raise ValueError(
                f"there is no password for {registry}: docker keeps it elsewhere (credsStore), where no cluster can "
                f"read it; {form}"
            )
    return given


Host = Annotated[str, Field(pattern=rf"^({_LABEL}\.)+{_LABEL}$", max_length=200, examples=["courses.example.org"])]
Mail = Annotated[str, Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$", examples=["help@example.org"])]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", examples=["fast-disks"])]
Bucket = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", examples=["jhaas-state"])]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$", examples=["20Gi"])]
Image = Annotated[
    str,
    Field(
        # with a tag or a digest: the newest would change under your feet
        pattern=r"^[^\s:@]+(:[0-9]+/[^\s:@]+)?(:[\w.-]+(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$",
        examples=["registry.example.org/jhaas/portal:0.1.0"],
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Server = Annotated[str, Field(pattern=r"^[^\s/:@]+$", examples=["postgres.example.org"])]
"""Name or address, without scheme and port."""
Pem = Annotated[str, Field(pattern=r"^\s*-----BEGIN CERTIFICATE-----\s", examples=["-----BEGIN CERTIFICATE----- …"])]
Login = Annotated[SecretStr, AfterValidator(_login)]
"""Of registries, as docker and Kubernetes write it."""
Cidr = Annotated[str, AfterValidator(_network), Field(examples=["10.0.0.0/8"])]
TimeZone = Annotated[str, AfterValidator(_zone)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$", examples=["https://s3.example.org"])]


def _kind(default: str) -> Any:
    """Chooses a section's kind where the site names none."""
    return BeforeValidator(lambda given: {"kind": default, **given} if isinstance(given, dict) else given)


class Section(BaseModel):
    """What all sections have in common: they cannot be changed, and know no other keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Site(Section):
    """Who runs the service, and under which names people reach it."""

    portal_host: Host = Field(description="Host name of the portal, for example `courses.example.org`.")
    hub_domain: Host = Field(
        description="A course's hub is at `SLUG.HUB_DOMAIN`. Notebooks run what people write: take a domain that "
        "shares nothing with the portal's (`example-hubs.org`); one equal to, above or below it is refused."
    )
    identity_host: Host | None = Field(
        default=None, description="Host name of the sign-in. None: `login.` before the portal's."
    )
    contact: Mail = Field(description="Mail address that people write to for help, and of the certificates' account.")
    name: str = Field(default="JupyterHub courses", min_length=1, description="Name of the service on its pages.")
    timezone: TimeZone = Field(default="Europe/Berlin", description="Time zone of the courses' calendar.")

    @property
    def login_host(self) -> str:
        """Host name of the sign-in, given or derived."""
        return self.identity_host or f"login.{self.portal_host}"

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for key, host in (("portal_host", self.portal_host), ("identity_host", self.login_host)):
            for place in relation(self.hub_domain, host):
                raise ValueError(
                    f"hub_domain ({self.hub_domain}) is {place} {key} ({host}): notebooks could act as the portal; "
                    "give hubs a domain of their own"
                )
        if self.login_host == self.portal_host:
            raise ValueError(f"identity_host ({self.login_host}) is the portal's; give the sign-in a host of its own")
        return self


def relation(domain: str, host: str) -> list[str]:
    """How a domain lies to a host, in words; nothing where they lie apart."""
    if domain == host:
        return ["equal to"]
    if host.endswith(f".{domain}"):
        return ["above"]
    return ["below"] if domain.endswith(f".{host}") else []


OLDEST_KUBERNETES = (1, 30)
"""Older ones do not know the policy that holds workers to the namespaces of courses (ValidatingAdmissionPolicy)."""


class Cluster(Section):
    """The Kubernetes cluster that carries the platform (1.30 or newer; 1.34 is what it is tested with)."""

    context: str = Field(min_length=1, description="Context of your kubeconfig: `kubectl config get-contexts`.")
    storage_class: Name | None = Field(
        default=None, description="Storage class of everything that is not given one; none: the cluster's default."
    )
    network_policies: bool = Field(
        default=True, description="Close our namespaces to everything that is not needed (needs a plugin that does so)."
    )
    release_timeout: int = Field(
        default=900, ge=60, le=3600, description="Seconds until the pods of a chart must be ready."
    )


class TraefikIngress(Section):
    """Traefik, installed by us."""

    kind: Literal["traefik"] = Field(default="traefik", description="Install Traefik.")
    class_name: Name = Field(default="traefik", description="Name of its ingress class.")
    default_class: bool = Field(default=True, description="Make it the cluster's default class.")
    exposure: Literal["load-balancer", "node-port", "host-port"] = Field(
        default="load-balancer",
        description="How it is reached: by the cluster's load balancer; by ports 30080 and 30443 of every node, with a "
        "balancer of your own before them; or by ports 80 and 443 of the nodes themselves (one node).",
    )
    address: str | None = Field(
        default=None,
        min_length=1,
        description="Address (or name) that the host names must lead to, where no load balancer of the cluster tells.",
    )
    service_annotations: dict[str, str] = Field(
        default={}, description="Annotations of its service, as your cloud's load balancer wants them."
    )
    replicas: int = Field(default=2, ge=1, le=20, description="Pods; with `host-port`, one on each node instead.")
    read_timeout_seconds: int = Field(
        default=3600, ge=0, le=86400, description="Seconds in which a request must be read: uploads. 0: for ever."
    )
    idle_timeout_seconds: int = Field(
        default=600, ge=60, le=86400, description="Seconds that a connection may be silent."
    )
    trusted_proxies: tuple[Cidr, ...] = Field(
        default=(), description="Addresses of balancers before it whose forwarded headers are believed."
    )

    @model_validator(mode="after")
    def _told(self) -> Self:
        if self.exposure != "load-balancer" and self.address is None:
            raise ValueError(
                f"address is needed where exposure is {self.exposure}: no load balancer says where the host names lead"
            )
        return self


class ExistingIngress(Section):
    """An ingress controller that is there."""

    kind: Literal["existing"] = Field(description="Use the cluster's own ingress controller.")
    class_name: Name | None = Field(default=None, description="Its ingress class; none: the cluster's default.")
    namespace: Name = Field(description="Namespace of its pods; network policies let them in.")
    address: str | None = Field(default=None, min_length=1, description="Address that the host names must lead to.")
    annotations: dict[str, str] = Field(
        default={}, description="Annotations of every Ingress: time-outs and body sizes as this controller wants them."
    )


class Certificates(Section):
    """cert-manager, and who signs the certificates."""

    issuer: Literal["selfsigned", "letsencrypt-staging", "letsencrypt", "acme", "existing"] = Field(
        description="`selfsigned`: an authority of this cluster's own, which browsers do not know. "
        "`letsencrypt-staging`: to try the way. `letsencrypt`. `acme`: another authority that speaks ACME "
        "(`acme_server`). `existing`: the cluster issuer named in `cluster_issuer`."
    )
    install: bool = Field(default=True, description="Install cert-manager. No: the cluster has it.")
    namespace: Name = Field(default="cert-manager", description="Namespace of cert-manager.")
    challenge: Literal["http01", "dns01"] = Field(
        default="http01",
        description="How names are proven: by an answer on port 80, or by a record that `dns.provider` sets. Only the "
        "second gives one wildcard certificate for all hubs; the first asks for one for each course.",
    )
    email: Mail | None = Field(default=None, description="Address of the account; none: `site.contact`.")
    acme_server: Url | None = Field(default=None, description="Directory of the authority, where issuer is `acme`.")
    eab_key_id: str | None = Field(default=None, description="Key id of an account there that must exist already.")
    eab_hmac_key: SecretStr | None = Field(default=None, description="Key of that account, as the authority gave it.")
    cluster_issuer: Name | None = Field(default=None, description="Its name, where issuer is `existing`.")
    ca: Pem | None = Field(
        default=None,
        description="Certificates (PEM) that the portal, hubs and notebooks believe beside the public ones: of an "
        "authority of your own (`acme`, `existing`), Let's Encrypt's roots for staging, your campus. That of "
        "`selfsigned` they believe without it.",
    )
    wildcard: bool | None = Field(
        default=None,
        description="One wildcard certificate for all hubs. None: where the issuer can "
        "(`selfsigned`, `dns01`) and the ingress controller is ours. Yours finds it in the Secret `hubs-wildcard` of "
        "its namespace.",
    )

    @property
    def is_acme(self) -> bool:
        """Whether an authority outside signs, after a proof."""
        return self.issuer in ("letsencrypt", "letsencrypt-staging", "acme")

    @property
    def can_wildcard(self) -> bool:
        """Whether one wildcard certificate for all hubs is wanted, or can be had where nothing is said."""
        if self.wildcard is not None:
            return self.wildcard
        return self.issuer == "selfsigned" or (self.is_acme and self.challenge == "dns01")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for key, issuer in (("acme_server", "acme"), ("cluster_issuer", "existing")):
            if (getattr(self, key) is not None) != (self.issuer == issuer):
                raise ValueError(f"{key} is needed where issuer is {issuer}, and only there")
        if (self.eab_key_id is None) != (self.eab_hmac_key is None):
            raise ValueError("eab_key_id and eab_hmac_key belong together: give both or neither")
        if self.eab_key_id is not None and self.issuer != "acme":
            raise ValueError("eab_key_id is for issuer acme only")
        if self.issuer == "letsencrypt-staging" and self.ca is None:
            raise ValueError(
                "ca is needed where issuer is letsencrypt-staging: nobody knows its roots, and nobody could sign in "
                "(https://letsencrypt.org/docs/staging-environment/ has them)"
            )
        if self.is_acme and self.challenge == "http01" and self.wildcard:
            raise ValueError("wildcard needs challenge dns01: no authority signs one for an answer on port 80")
        return self


class NoProvider(Section):
    """Nobody's API."""

    kind: Literal["none"] = Field(default="none", description="No provider.")


class Rfc2136(Section):
    """A name server that takes signed updates (BIND, Knot, PowerDNS, Windows DNS)."""

    kind: Literal["rfc2136"] = Field(description="Dynamic updates, signed with a key.")
    nameserver: str = Field(pattern=r"^[^\s:]+(:[0-9]+)?$", description="`ADDRESS` or `ADDRESS:PORT` of the primary.")
    key_name: str = Field(min_length=1, description="Name of the key.")
    key_algorithm: Literal["HMACSHA256", "HMACSHA512"] = Field(default="HMACSHA256", description="Its algorithm.")
    key_secret: SecretStr = Field(description="The key, in Base64.")


class Route53(Section):
    """AWS Route 53, by the `aws` section's account."""

    kind: Literal["route53"] = Field(description="AWS Route 53.")
    zone_id: str = Field(pattern=r"^Z[A-Z0-9]+$", description="Hosted zone that holds the host names.")
    hub_zone_id: str | None = Field(
        default=None, pattern=r"^Z[A-Z0-9]+$", description="Hosted zone of the hub domain, where it is another one."
    )


class Cloudflare(Section):
    """Cloudflare's DNS, for the proof of names only."""

    kind: Literal["cloudflare"] = Field(description="Cloudflare.")
    api_token: SecretStr = Field(description="Token with the right `Zone.DNS:Edit` on the zones.")


DnsProvider = Annotated[NoProvider | Rfc2136 | Route53 | Cloudflare, Field(discriminator="kind")]


class Dns(Section):
    """Where the host names lead, and who tells the world."""

    records: Literal["manual", "provider", "unchecked"] = Field(
        default="manual",
        description="`manual`: `up` says which records are needed and waits until they are there. `provider`: "
        "`dns.provider` sets them. `unchecked`: nobody looks (trials; names that something else keeps).",
    )
    wait_minutes: int = Field(default=60, ge=1, le=1440, description="Minutes that `up` waits for the records.")
    provider: DnsProvider = Field(default=NoProvider(), description="Who takes records for us.")
    nameservers: tuple[Annotated[str, Field(pattern=r"^[^\s:]+:[0-9]+$", examples=["9.9.9.9:53"])], ...] = Field(
        default=(),
        description="`ADDRESS:PORT` of resolvers that see the world's DNS, for cert-manager's proofs where the "
        "cluster's own see another one.",
    )

    @model_validator(mode="after")
    def _settable(self) -> Self:
        if self.records == "provider" and not isinstance(self.provider, Route53):
            raise ValueError(
                f"records cannot be set by provider {self.provider.kind}; allowed: route53, or records: manual"
            )
        return self


class PostgresBackups(Section):
    """Backups of the bundled Postgres to the bucket `object_storage.backups_bucket`."""

    enabled: bool = Field(default=True, description="Back up.")
    schedule: str = Field(
        default="0 30 1 * * *",
        pattern=r"^[0-9A-Z*,/?-]+( [0-9A-Z*,/?-]+){5}$",
        examples=["0 30 1 * * *"],
        description="When: second, minute, hour, day, month, day of week.",
    )
    retention: Annotated[str, Field(pattern=r"^[1-9][0-9]*[dwm]$", examples=["30d"])] = Field(
        default="30d", description="For how long the way back to any moment is kept."
    )


class PostgresRestore(Section):
    """From which backups a new generation of the bundled Postgres begins."""

    generation: int = Field(ge=1, description="Generation whose backups are read; an earlier one.")
    until: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$",
        examples=["2026-11-22T10:30:00+01:00"],
        description="Moment to which everything is brought back, with its zone: `2026-11-22T10:30:00+01:00`. None: the "
        "last that was backed up.",
    )


class BundledDatabase(Section):
    """Postgres by the CloudNativePG operator, in this cluster."""

    kind: Literal["bundled"] = Field(default="bundled", description="Run Postgres in this cluster.")
    install_operator: bool = Field(
        default=True, description="Install the operator and its Barman plugin. No: the cluster has them."
    )
    operator_namespace: Name = Field(default="cnpg-system", description="Namespace of both.")
    generation: int = Field(
        default=1,
        ge=1,
        le=999,
        description="Number of this life of the server: one more for each restore, and where another's backups are.",
    )
    restore: PostgresRestore | None = Field(
        default=None, description="Begin this generation from backups. None: it begins empty."
    )
    instances: int = Field(default=1, ge=1, le=9, description="Servers: one, and replicas that take over.")
    storage_size: Size = Field(default="10Gi", description="Disk of each.")
    storage_class: Name | None = Field(default=None, description="Its storage class; none: the cluster section's.")
    memory: Size = Field(default="1Gi", description="Memory of each.")
    cpu_millicores: int = Field(default=500, ge=100, description="CPU that each is sure of, in thousandths.")
    image: Image = Field(
        default="ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie", description="Image of Postgres."
    )
    backups: PostgresBackups = Field(default=PostgresBackups(), description="Backups.")

    @model_validator(mode="after")
    def _restorable(self) -> Self:
        if self.restore is None:
            return self
        if self.restore.generation >= self.generation:
            raise ValueError(
                f"generation must be greater than restore.generation ({self.restore.generation}): "
                "a restore makes a new server beside the old one"
            )
        if not self.backups.enabled:
            raise ValueError("backups.enabled is needed for restore: it says where the backups are")
        return self


class DatabaseLogin(Section):
    """A database on a server that is there, and a role that may use it."""

    database: str = Field(min_length=1, description="Database.")
    user: str = Field(min_length=1, description="Role.")
    password: SecretStr = Field(description="Its password.")


class PortalDatabase(DatabaseLogin):
    """The portal's database, and the two roles that use it."""

    owner: str = Field(min_length=1, description="Role that owns the tables and changes their form (migrations).")
    owner_password: SecretStr = Field(description="Its password.")

    @model_validator(mode="after")
    def _two_roles(self) -> Self:
        if self.user == self.owner:
            raise ValueError("user and owner must be two roles: pods with the first must not change the audit log")
        return self


class ExternalDatabase(Section):
    """A Postgres server that is there, 14 to 18, with UTF8 databases."""

    kind: Literal["external"] = Field(description="Use a Postgres server of yours.")
    host: Server = Field(description="Its name.")
    port: Port = Field(default=5432, description="Its port.")
    tls: Literal["verify-full", "require", "disable"] = Field(
        default="verify-full", description="How the way there is protected."
    )
    ca: Pem | None = Field(default=None, description="Certificate (PEM) of who signed its; none: the public ones.")
    portal: PortalDatabase = Field(description="The portal's database.")
    identity: DatabaseLogin | None = Field(default=None, description="Authentik's, where it is installed.")


class RdsDatabase(Section):
    """Postgres by AWS RDS, in the `aws` section's account."""

    kind: Literal["rds"] = Field(description="Make a Postgres at AWS RDS.")
    instance_class: str = Field(default="db.t4g.small", pattern=r"^db\.", description="Class of the instance.")
    storage_gib: int = Field(default=20, ge=20, description="Disk in GiB; it grows by itself to five times that.")
    multi_az: bool = Field(default=True, description="Keep a second server in another zone.")
    backup_days: int = Field(default=30, ge=1, le=35, description="Days of backups.")
    version: str = Field(default="18", pattern=r"^1[4-8]$", description="Major version of Postgres.")
    subnet_ids: tuple[str, ...] = Field(min_length=2, description="Subnets of two zones at least.")
    client_cidrs: tuple[Cidr, ...] = Field(min_length=1, description="Addresses of the nodes that may connect.")
    vpc_id: str = Field(pattern=r"^vpc-", description="Network of the subnets.")
    deletion_protection: bool = Field(default=True, description="Refuse to be deleted, and leave a last snapshot.")
    ca: Pem | None = Field(
        default=None,
        description="AWS's certificates (PEM, `global-bundle.pem`), by which clients know the server. None: the way is "
        "encrypted, and nobody asks who is at its end.",
    )
    client_image: Image = Field(
        default="ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie",
        description="Image with `psql`, by which a Job in the cluster makes roles and databases.",
    )


class Buckets(Section):
    """Names of the buckets of the platform; courses' own are made with each course."""

    state_bucket: Bucket = Field(default="jhaas-state", description="Bucket of the courses' stacks.")
    archives_bucket: Bucket = Field(default="jhaas-archives", description="Bucket of the archives of homes.")
    backups_bucket: Bucket = Field(default="jhaas-backups", description="Bucket of the database's backups.")

    @model_validator(mode="after")
    def _three(self) -> Self:
        if len({self.state_bucket, self.archives_bucket, self.backups_bucket}) < 3:
            raise ValueError(
                "state_bucket, archives_bucket and backups_bucket must differ: a key opens one of them and no other"
            )
        return self


class KeptBuckets(Buckets):
    """Buckets that we make, and for how long they keep what is gone."""

    deleted_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which what was deleted or written over can be brought back: state and archives.",
    )
    history_days: int = Field(
        default=180, ge=1, le=3650, description="Days for which each stack's history and backups of its state are kept."
    )


class BundledObjectStorage(KeptBuckets):
    """silo, which goes on where MinIO ended, in this cluster."""

    kind: Literal["bundled"] = Field(default="bundled", description="Run a store in this cluster.")
    storage_size: Size = Field(default="100Gi", description="Its disk: archives and backups.")
    storage_class: Name | None = Field(default=None, description="Its storage class; none: the cluster section's.")
    memory: Size = Field(default="1Gi", description="Its memory.")
    image: Image = Field(default="docker.io/pgsty/silo:RELEASE.2026-10-26T00-00-00Z", description="Image of the store.")


class StoreKey(Section):
    """An access key."""

    access_key_id: str = Field(min_length=1, description="Its id.")
    secret_access_key: SecretStr = Field(description="Its secret.")


class ExternalObjectStorage(Buckets):
    """A store that is there and speaks S3, with the three buckets and a key for each."""

    kind: Literal["external"] = Field(description="Use an S3 store of yours.")
    endpoint: Url = Field(description="Its address.")
    region: str = Field(default="us-east-1", description="Its region.")
    path_style: bool = Field(default=True, description="The bucket is part of the path, not of the host name.")
    ca: Pem | None = Field(default=None, description="Certificate (PEM) of who signed its; none: the public ones.")
    state: StoreKey | None = Field(
        default=None, description="May read and write the state bucket, and nothing else. None: `role_arn`."
    )
    archives: StoreKey | None = Field(
        default=None, description="May read and write the archives' bucket, and nothing else. None: `role_arn`."
    )
    backups: StoreKey | None = Field(
        default=None, description="May read and write the backups' bucket, where Postgres runs in this cluster."
    )
    courses: StoreKey | None = Field(
        default=None,
        description="May make a bucket and a key for each course. None: `role_arn`; without that, courses have no "
        "bucket.",
    )
    role_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws",
        description="At AWS, in an EKS cluster: role that workers take for whatever of `state`, `archives` and "
        "`courses` has no key.",
    )
    key_api: Literal["seaweedfs", "aws", "minio"] = Field(
        default="seaweedfs", description="How keys of courses are made there: whose way of making keys it speaks."
    )

    @model_validator(mode="after")
    def _opened(self) -> Self:
        if self.role_arn is not None and self.key_api != "aws":
            raise ValueError("role_arn is for key_api: aws only: no other store takes roles of pods")
        for key in ("state", "archives"):
            if getattr(self, key) is None and self.role_arn is None:
                raise ValueError(f"{key} is needed: give its key (or, at AWS, role_arn)")
        return self


class AwsObjectStorage(KeptBuckets):
    """Buckets at AWS S3, in the `aws` section's account."""

    kind: Literal["aws"] = Field(description="Make buckets at AWS S3.")


class Authentik(Section):
    """Authentik, installed by us."""

    kind: Literal["authentik"] = Field(default="authentik", description="Install Authentik.")
    enrolment: Literal["open", "closed"] = Field(
        default="closed",
        description="`open`: everybody may make an account. `closed`: people come from sources or invitations.",
    )
    verify_email: bool = Field(default=True, description="A new account waits until its mail address is proven.")
    terms_url: Url | None = Field(default=None, description="Terms of use that people accept; none: the built-in.")
    require_mfa: bool = Field(default=True, description="Ask everybody for a second factor.")
    server_replicas: int = Field(default=2, ge=1, le=10, description="Server pods.")
    worker_replicas: int = Field(default=1, ge=1, le=10, description="Worker pods.")
    log_level: Literal["trace", "debug", "info", "warning", "error"] = Field(
        default="info", description="How much its pods write to their logs."
    )
    admin_email: Mail | None = Field(default=None, description="Address of the first admin; none: `site.contact`.")
    image: Image = Field(default="ghcr.io/goauthentik/server:2026.8.5", description="Image of Authentik.")
    sources: tuple[str, ...] = Field(
        default=(),
        description="Files with entries of Authentik blueprints of yours, beside the stack's file: the university's "
        "directory or provider (docs/identity.md).",
    )
    source_secrets: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], SecretStr] = Field(
        default={},
        description="What these files call by `!Context NAME` and nobody may read: passwords of a directory.",
    )


class CoursesIdentity(Section):
    """The API of a provider of yours, by which each course gets a client and a group of its own there."""

    api: Literal["authentik", "canaille"] = Field(description="Whose API it is; `canaille` for trials.")
    url: Url = Field(
        examples=["https://sso.example.org"], description="Public base address of the provider, which its API is below."
    )
    key: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], SecretStr] = Field(
        min_length=1,
        description="What opens the API, as in a target's `identity.json` (docs/targets.md): `token`, where it is "
        "Authentik's.",
    )


class ExternalOidc(Section):
    """An OIDC provider that is there."""

    kind: Literal["oidc"] = Field(description="Use an OIDC provider of yours.")
    issuer: Url = Field(
        examples=["https://sso.example.org/realms/university"],
        description="Its issuer, exactly as its discovery document says.",
    )
    internal_url: Url | None = Field(
        default=None, description="Its base address for calls from pods, where they cannot reach the public one."
    )
    client_id: str = Field(min_length=1, description="The portal's client there.")
    client_secret: SecretStr = Field(description="Its secret.")
    courses: CoursesIdentity | None = Field(
        default=None,
        description="By which API courses get clients and groups there; none: courses cannot run on this cluster.",
    )


class Portal(Section):
    """The portal: web, workers and scheduler."""

    image: Image = Field(description="Image made from our Dockerfile and pushed where your cluster can fetch it.")
    registry: Login | None = Field(
        default=None, description="The registry's `config.json`, where fetching the images wants a sign-in."
    )
    web_replicas: int = Field(default=2, ge=1, le=20, description="Web pods.")
    worker_replicas: int = Field(default=2, ge=1, le=50, description="Workers; each runs up to four operations.")
    governance_group: str = Field(
        default="jhaas-governance", min_length=1, description="Group of the people who approve courses."
    )
    teachers_group: str = Field(
        default="jhaas-teachers", description="Group of the people who may ask for courses; empty: everybody may."
    )
    settings: dict[str, str | int | float | bool] = Field(
        default={},
        description="More of the portal's own settings (docs/settings.md) by their names without `JHAAS_`, in small "
        "letters: `lead_working_days: 3`.",
    )
    target: dict[str, Any] = Field(
        default={}, description="More of the target `cluster` (node selectors, images, openings), over what we set."
    )

    @model_validator(mode="after")
    def _two_groups(self) -> Self:
        if self.governance_group == self.teachers_group:
            raise ValueError(
                f"governance_group and teachers_group must differ (both are {self.teachers_group}): whoever may ask "
                "for courses would approve them"
            )
        return self


class MailServer(Section):
    """How mail leaves."""

    host: Server | None = Field(
        default=None, description="Mail server. None: no mail is sent, and people are told on pages only."
    )
    port: Port = Field(default=587, description="Its port.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`starttls` (port 587), `tls` from the first byte (port 465), or none."
    )
    user: str | None = Field(default=None, min_length=1, description="Name to sign in with, if it wants one.")
    password: SecretStr | None = Field(default=None, description="Password to that name.")
    sender: Mail | None = Field(default=None, description="Sender's address; none: `site.contact`.")

    @model_validator(mode="after")
    def _signed_in(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: give both or neither")
        if self.password is not None and self.tls == "none":
            raise ValueError("tls none would send the password in clear text; allowed: starttls, tls")
        if self.user is not None and self.host is None:
            raise ValueError("host is needed where user is given; or give neither: no mail is sent")
        for port, wrong, other in ((465, "starttls", "tls"), (587, "tls", "starttls")):
            if self.host is not None and (self.port, self.tls) == (port, wrong):
                raise ValueError(f"port {port} is for tls: {other}; with tls: {wrong}, give the port of your server")
        return self


class Monitoring(Section):
    """What is measured, and who is woken."""

    rules: bool = Field(
        default=False, description="Make ServiceMonitors and alert rules (the cluster has the Prometheus operator)."
    )
    dashboards: bool = Field(default=False, description="Make ConfigMaps of dashboards that Grafana's sidecar finds.")
    install: bool = Field(default=False, description="Install Prometheus, Alertmanager and Grafana, with both above.")
    labels: dict[str, str] = Field(
        default={}, description="Labels by which your Prometheus chooses monitors and rules (`release: prometheus`)."
    )

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        if self.labels and not self.watched:
            raise ValueError("labels are of monitors and rules: set rules: true or install: true, or leave them out")
        return self

    @property
    def watched(self) -> bool:
        """A Prometheus operator is there, or comes: it is told where numbers are."""
        return self.rules or self.install


class NoSharedStorage(Section):
    """Courses have no shared volumes."""

    kind: Literal["none"] = Field(default="none", description="Courses have no shared volumes.")


class ExistingSharedStorage(Section):
    """A storage class that is there."""

    kind: Literal["existing"] = Field(description="Use a storage class of yours.")
    storage_class: Name = Field(description="Its name. It must bind ReadWriteMany.")


class NfsSharedStorage(Section):
    """An NFS server that is there, by csi-driver-nfs."""

    kind: Literal["nfs"] = Field(description="Install csi-driver-nfs for an NFS server of yours.")
    storage_class: Name = Field(default="jhaas-shared", description="Name of the storage class that is made.")
    server: Server = Field(description="Name or address of the NFS server.")
    share: str = Field(pattern=r"^/", description="Folder that it exports.")
    mount_options: tuple[str, ...] = Field(default=("nfsvers=4.1", "hard"), description="Options of the mounts.")


class LonghornSharedStorage(Section):
    """Longhorn on the nodes' own disks."""

    kind: Literal["longhorn"] = Field(description="Install Longhorn.")
    storage_class: Name = Field(default="jhaas-shared", description="Name of the storage class that is made.")
    replicas: int = Field(default=2, ge=1, le=5, description="Copies of each volume, on as many nodes.")

    @field_validator("storage_class")
    @classmethod
    def _ours(cls, name: str) -> str:
        # https://github.com/longhorn/longhorn/blob/v1.12.1/chart/templates/storageclass.yaml, and its setting
        # default-longhorn-static-storage-class
        if name in ("longhorn", "longhorn-static"):
            raise ValueError(
                f"{name} is a class that Longhorn makes itself; give another name, for example jhaas-shared"
            )
        return name


class Aws(Section):
    """The AWS account, where a section chooses something of AWS. Its keys come from the environment, as for `aws`."""

    region: str = Field(
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$",
        examples=["eu-central-1"],
        description="Region of everything that is made.",
    )
    profile: str | None = Field(default=None, description="Profile of your AWS configuration; none: the environment's.")
    prefix: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,30}$")] = Field(
        default="jhaas", description="Begins the names of everything that is made. Names of buckets are the world's."
    )
    oidc_provider_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws",
        description="OIDC provider of an EKS cluster: workers, and servers of the bundled Postgres, then take roles in "
        "place of keys of their buckets.",
    )
    tags: dict[str, str] = Field(default={}, description="Tags of everything that is made.")


Ingress = Annotated[TraefikIngress | ExistingIngress, Field(discriminator="kind")]
Database = Annotated[BundledDatabase | ExternalDatabase | RdsDatabase, Field(discriminator="kind")]
ObjectStorage = Annotated[BundledObjectStorage | ExternalObjectStorage | AwsObjectStorage, Field(discriminator="kind")]
Identity = Annotated[Authentik | ExternalOidc, Field(discriminator="kind")]
SharedStorage = Annotated[
    NoSharedStorage | ExistingSharedStorage | NfsSharedStorage | LonghornSharedStorage, Field(discriminator="kind")
]


class PlatformConfig(Section):
    """Everything that can be set, by section."""

    site: Site = Field(description="Who runs the service, and under which names.")
    cluster: Cluster = Field(description="The Kubernetes cluster.")
    ingress: Annotated[Ingress, _kind("traefik")] = Field(
        default=TraefikIngress(), description="How browsers get into the cluster."
    )
    certificates: Certificates = Field(description="Who signs the certificates.")
    dns: Dns = Field(default=Dns(), description="Where the host names lead.")
    database: Annotated[Database, _kind("bundled")] = Field(default=BundledDatabase(), description="Postgres.")
    object_storage: Annotated[ObjectStorage, _kind("bundled")] = Field(
        default=BundledObjectStorage(), description="The S3 store."
    )
    identity: Annotated[Identity, _kind("authentik")] = Field(default=Authentik(), description="Who knows the people.")
    portal: Portal = Field(description="The portal.")
    mail: MailServer = Field(default=MailServer(), description="How mail leaves.")
    monitoring: Monitoring = Field(default=Monitoring(), description="What is measured.")
    shared_storage: Annotated[SharedStorage, _kind("none")] = Field(
        default=NoSharedStorage(), description="Volumes that all notebooks of a course mount."
    )
    aws: Aws | None = Field(default=None, description="The AWS account, where something is made there.")
    charts: Charts = Field(default=Charts(), description="Where the Helm charts come from.")

    @property
    def has_wildcard(self) -> bool:
        """Whether the edge shows one wildcard certificate for all hubs. An ingress controller that is there must be
        told of it by who runs it: only where the site says so."""
        theirs = isinstance(self.ingress, ExistingIngress) and self.certificates.wildcard is None
        return self.certificates.can_wildcard and not theirs

    @property
    def uses_aws(self) -> bool:
        """Whether a section chooses something of AWS."""
        return bool(self._at_aws())

    def _at_aws(self) -> list[str]:
        chosen = {
            "database.kind": isinstance(self.database, RdsDatabase),
            "object_storage.kind": isinstance(self.object_storage, AwsObjectStorage),
            "dns.provider.kind": isinstance(self.dns.provider, Route53),
        }
        return [key for key, is_chosen in chosen.items() if is_chosen]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self._at_aws() and self.aws is None:
            raise ValueError(f"aws.region is needed: {', '.join(self._at_aws())} makes something at AWS")
        certificates = self.certificates
        if certificates.is_acme and certificates.challenge == "dns01" and isinstance(self.dns.provider, NoProvider):
            raise ValueError(
                "certificates.challenge is dns01, which needs dns.provider; allowed: rfc2136, route53, cloudflare"
            )
        external = isinstance(self.object_storage, ExternalObjectStorage)
        backed_up = isinstance(self.database, BundledDatabase) and self.database.backups.enabled
        if external and backed_up and getattr(self.object_storage, "backups", None) is None:
            raise ValueError(
                "object_storage.backups is needed: database.backups.enabled writes there; give the key, or turn it off"
            )
        known = self.identity
        if isinstance(known, Authentik) and known.enrolment == "open" and known.verify_email and not self.mail.host:
            raise ValueError(
                "mail.host is needed: identity.verify_email sends a mail to whoever makes an account; give it, or set "
                "identity.verify_email: false"
            )
        has_login = not isinstance(self.database, ExternalDatabase) or self.database.identity is not None
        if isinstance(self.identity, Authentik) and not has_login:
            raise ValueError("database.identity is needed: Authentik keeps its people on that server")
        return self
