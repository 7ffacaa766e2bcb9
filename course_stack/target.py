"""Where hubs run: one Kubernetes cluster, or this machine.

A `Target` says which parts stand behind the course stack. It holds addresses and choices, never a credential:
administrative credentials reach the providers by file (`CREDENTIALS_ENV`), so that rotating one is not a diff.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from course_stack.cluster import ClusterTarget

CREDENTIALS_ENV = "JHAAS_CREDENTIALS_DIR"
"""Environment variable naming the folder that holds `identity.json`, `object-store.json` and `archives.json` (0600)."""

WITHOUT_CLUSTER = "without cluster"
"""Context in which a target is read whose cluster was left out (`course_stack.resources.target_inputs`)."""


Url = Annotated[
    str, Field(pattern=r"^https?://[^/\s?#@]+(/[^\s?#]*[^/\s?#])?$", examples=["https://login.example.org"])
]
"""Without account, query and trailing slash."""

HostName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", examples=["example-hubs.org"]),
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdentityTarget(_Frozen):
    """The OIDC provider that knows the people."""

    kind: Literal["canaille", "authentik"] = Field(description="Which provider it is.")
    url: Url = Field(description="Public base address, as browsers see it, without a trailing slash.")
    internal_url: Url | None = Field(
        default=None,
        description="Base address for calls between our own processes, where it differs; the public host name is then "
        "sent as the Host header (the C library does not resolve names below `localhost`).",
    )


class ObjectStoreTarget(_Frozen):
    """The S3 store that holds the buckets of courses."""

    kind: Literal["seaweedfs", "aws", "minio"] = Field(
        description="How keys are made: by AWS's identity API, as SeaweedFS does, or as MinIO and its heirs do."
    )
    endpoint: Url | None = Field(default=None, description="Address of the S3 API; none for AWS itself.")
    region: str = Field(default="us-east-1", description="Region of the buckets.")
    path_style: bool = Field(default=True, description="The bucket is part of the path, not of the host name.")
    keep_buckets: bool = Field(default=False, description="Leave a course's buckets in place when it is destroyed.")
    permissions_boundary: str | None = Field(
        default=None, description="AWS: ARN of the policy beyond which no user of a course can go."
    )


class Target(_Frozen):
    """One place where hubs run."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    kind: Literal["local", "kubernetes"]
    hub_domain: HostName = Field(description="A hub's host is SLUG.HUB_DOMAIN.")
    hub_scheme: Literal["http", "https"] = Field(default="https", description="Of hubs' addresses; http for trials.")
    hub_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of the edge where it is not the scheme's own."
    )
    identity: IdentityTarget
    object_store: ObjectStoreTarget
    home: Path | None = Field(default=None, description="Data folder of this machine (local targets only).")
    cluster: ClusterTarget | None = Field(default=None, description="The cluster (Kubernetes targets only).")

    @model_validator(mode="after")
    def _of_its_kind(self, info: ValidationInfo) -> Self:
        if info.context == WITHOUT_CLUSTER:
            return self
        if (self.kind == "kubernetes") != (self.cluster is not None):
            raise ValueError("cluster is needed where kind is kubernetes, and only there")
        return self

    def hub_host(self, slug: str) -> str:
        """Host name of a course's hub, without port."""
        return f"{slug}.{self.hub_domain}"

    def hub_url(self, slug: str) -> str:
        """Public address of a course's hub, with a trailing slash."""
        port = f":{self.hub_port}" if self.hub_port else ""
        return f"{self.hub_scheme}://{self.hub_host(slug)}{port}/"
