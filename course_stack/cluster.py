"""What a Kubernetes cluster offers to courses: classes, edge, images, and what pods may reach."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from course_stack.spec import Toleration
from course_stack.spec.fields import Image

KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", examples=["fast-disks"])]


def _cidr(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no range of addresses like 10.0.0.0/8 or fd00::/8 ({error})") from None
    return text


Cidr = Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$", examples=["10.0.0.0/8"]), AfterValidator(_cidr)]

METADATA = ("169.254.169.254/32", "fd00:ec2::254/128")
"""Where machines of clouds tell who they are, with keys to the cloud: never for notebooks, whatever a target opens."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _never(*refused: tuple[dict[str, JsonValue], str]) -> ConfigDict:
    """What a model's validator refuses of several keys together, in its JSON Schema: (condition, sentence)."""
    rules: list[JsonValue] = [{"not": condition, "message": sentence} for condition, sentence in refused]
    return ConfigDict(json_schema_extra={"allOf": rules})


def _given(**keys: JsonValue) -> dict[str, JsonValue]:
    """The condition that these keys are there and as these schemas say."""
    return {"properties": keys, "required": [*keys]}


_SOMETHING: JsonValue = {"not": {"type": "null"}}


class ChartSource(_Frozen):
    """Where the chart of Zero to JupyterHub comes from: its repository, an OCI registry, or a folder."""

    model_config = _never(
        (
            _given(chart={"pattern": "^(oci://|/)"}, repository=_SOMETHING),
            "repository must be none where chart is an OCI address or a folder",
        ),
        (
            {**_given(repository={"type": "null"}), "not": _given(chart={"pattern": "^(oci://|/)"})},
            "repository is needed where chart is neither an OCI address nor a folder's full path",
        ),
    )

    chart: str = Field(
        default="jupyterhub", description="Name in the repository, oci://REGISTRY/PATH, or the full path of a folder."
    )
    repository: str | None = Field(
        default="https://hub.jupyter.org/helm-chart/", description="Helm repository; none for OCI and folders."
    )
    version: str | None = Field(default="4.4.0", description="Version of the chart; none for folders.")

    @model_validator(mode="after")
    def _one_place(self) -> ChartSource:
        placed = self.chart.startswith(("oci://", "/"))
        if placed and self.repository is not None:
            raise ValueError(f"repository must be none where chart ({self.chart}) is an OCI address or a folder")
        if not placed and self.repository is None:
            raise ValueError("repository is needed where chart is neither an OCI address nor a folder's full path")
        return self


class Images(_Frozen):
    """Images of our own pods and, where a site mirrors them, of the chart's. Each with tag or digest."""

    hub: Image | None = Field(default=None, description="Image of the hub; none: the chart's own.")
    proxy: Image | None = Field(default=None, description="Image of configurable-http-proxy; none: the chart's own.")
    helper: Image = Field(
        description="Image of our Jobs (archives, probes): Python 3.11 with boto3 and zstandard, no root needed."
    )
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", description="When nodes fetch these images and those of notebooks."
    )
    pull_secret: bool = Field(
        default=False, description="Give each course `registry.json` of the credentials' folder as image pull secret."
    )


class IngressEdge(_Frozen):
    """Hubs are reached by an Ingress each."""

    model_config = _never(
        (
            {**_given(tls={"const": "issuer"}), "not": _given(cluster_issuer=_SOMETHING)},
            "cluster_issuer is needed where tls is issuer",
        ),
        (
            {**_given(cluster_issuer=_SOMETHING), "not": _given(tls={"const": "issuer"})},
            "cluster_issuer is for tls: issuer only",
        ),
    )

    kind: Literal["ingress"] = "ingress"
    ingress_class: KubernetesName | None = Field(default=None, description="None: the cluster's default class.")
    annotations: dict[str, str] = Field(default={}, description="Of each Ingress.")
    tls: Literal["none", "edge", "issuer"] = Field(
        default="edge", description="edge: the ingress controller has a wildcard certificate. issuer: one a course."
    )
    cluster_issuer: KubernetesName | None = Field(default=None, description="cert-manager's, where tls is issuer.")
    namespace: KubernetesName = Field(default="traefik", description="Namespace of the ingress controller's pods.")
    addresses: tuple[Cidr, ...] = Field(
        default=(), description="From where its pods call, where they are in their nodes' network (hostNetwork)."
    )

    @model_validator(mode="after")
    def _issued(self) -> IngressEdge:
        if (self.tls == "issuer") != (self.cluster_issuer is not None):
            raise ValueError("cluster_issuer is needed where tls is issuer, and only there")
        return self


class GatewayEdge(_Frozen):
    """Hubs are reached by an HTTPRoute each, at a Gateway that is there."""

    kind: Literal["gateway"] = "gateway"
    gateway: KubernetesName = Field(description="Name of the Gateway.")
    gateway_namespace: KubernetesName = Field(description="Where it is.")
    section: KubernetesName | None = Field(default=None, description="Listener of the Gateway; none: any.")
    namespace: KubernetesName = Field(default="traefik", description="Namespace of the gateway's own pods.")
    addresses: tuple[Cidr, ...] = Field(
        default=(), description="From where its pods call, where they are in their nodes' network (hostNetwork)."
    )


class NoEdge(_Frozen):
    """Hubs are reached at the cluster address of their service only (trials)."""

    kind: Literal["none"] = "none"


class Opening(_Frozen):
    """Something that pods of a course may reach beside the public internet."""

    model_config = _never(
        (_given(cidr=_SOMETHING, namespace=_SOMETHING), "only one of cidr and namespace may be given"),
        (
            {"not": {"anyOf": [_given(cidr=_SOMETHING), _given(namespace=_SOMETHING)]}},
            "cidr or namespace is needed",
        ),
        (
            _given(notebooks={"const": True}, cidr={"enum": [*METADATA]}),
            f"notebooks never reach {' or '.join(METADATA)}: it hands out keys to the cloud",
        ),
    )

    name: str = Field(description="What it is, for people.")
    cidr: Cidr | None = Field(default=None, description="Addresses; none where `namespace` is given.")
    namespace: KubernetesName | None = Field(default=None, description="Pods of this namespace.")
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        min_length=1, description="At least one, for TCP and UDP."
    )
    hub: bool = Field(default=True, description="The hub may.")
    notebooks: bool = Field(default=False, description="Notebooks may.")

    @model_validator(mode="after")
    def _one_peer(self) -> Opening:
        if (self.cidr is None) == (self.namespace is None):
            raise ValueError("exactly one of cidr and namespace is needed")
        if self.notebooks and self.cidr in METADATA:
            raise ValueError(f"notebooks never reach {self.cidr}: it hands out keys to the cloud")
        return self


class Placement(_Frozen):
    """Which nodes may carry pods."""

    node_selector: dict[str, str] = Field(default={}, description="Labels that a node must have.")
    tolerations: tuple[Toleration, ...] = Field(default=(), description="Taints that keep nobody away.")


class ClusterTarget(_Frozen):
    """One Kubernetes cluster as a place of hubs. Its kubeconfig is `kubeconfig` in the credentials' folder, or
    KUBECONFIG, and never part of a stack: another one is no change of any course."""

    context: str | None = Field(default=None, description="Context of the kubeconfig; none: its current one.")
    kubeconfig: str = Field(
        default="kubeconfig", pattern=r"^[a-z0-9][a-z0-9.-]*$", description="File in the credentials' folder."
    )
    authority: str | None = Field(
        default=None,
        pattern=r"^(/\S+|[a-z0-9][a-z0-9.-]*)$",
        description="Certificates (PEM) of who signed those of sign-in, object store and hubs, where the public "
        "authorities did not: a file in the credentials' folder, or its full path. Hubs, notebooks and Jobs believe "
        "them, and operations on courses.",
    )
    chart: ChartSource = ChartSource()
    images: Images
    edge: Annotated[IngressEdge | GatewayEdge | NoEdge, Field(discriminator="kind")] = IngressEdge()
    storage_class: KubernetesName | None = Field(
        default=None, description="Of homes and of hubs' databases; none: the cluster's default class."
    )
    shared_class: KubernetesName | None = Field(
        default=None, description="Of shared volumes: must bind ReadWriteMany. None: courses have no shared volumes."
    )
    core: Placement = Field(default=Placement(), description="Nodes of hubs and proxies.")
    notebooks: Placement = Field(default=Placement(), description="Nodes of notebooks.")
    gpu: Placement = Field(default=Placement(), description="Nodes of notebooks with graphics processors, in addition.")
    placeholders: int = Field(
        default=0,
        ge=0,
        le=50,
        description="Room kept for the next notebooks while a course is used, in per cent of its seats; for clusters "
        "that grow by themselves. 0: none.",
    )
    private_ranges: tuple[Cidr, ...] = Field(
        default=(
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ),
        description="Addresses that pods of a course do not reach unless an opening names them.",
    )
    openings: tuple[Opening, ...] = ()
    uid: int = Field(default=1000, ge=1, description="Account number of notebooks and Jobs.")
    gid: int = Field(default=100, ge=1, description="Group number that owns homes and shared volumes.")
    release_timeout: int = Field(default=900, ge=60, le=3600, description="Seconds until the chart's pods must run.")
