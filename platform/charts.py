"""The Helm charts that the platform installs: where each comes from and which version, pinned.

Every one is a setting (`charts`), so that a site can take it from a mirror, an OCI registry or a folder.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Chart(BaseModel):
    """Where one chart comes from, and what a site sets in it beyond what we set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chart: str = Field(description="Name in the repository, `oci://REGISTRY/PATH`, or the full path of a folder.")
    repository: str | None = Field(default=None, description="Helm repository; none for OCI and folders.")
    version: str | None = Field(default=None, description="Version of the chart; none for folders.")
    values: dict[str, Any] = Field(
        default={}, description="Values of the chart that go before ours: registries of mirrored images, tolerations."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Chart:
        placed = self.chart.startswith(("oci://", "/"))
        if placed and self.repository is not None:
            raise ValueError(f"repository must be none where chart ({self.chart}) is an OCI address or a folder")
        if not placed and self.repository is None:
            raise ValueError("repository is needed where chart is neither an OCI address nor a folder's full path")
        if not self.chart.startswith("/") and self.version is None:
            raise ValueError("version is needed where chart is no folder: the newest would change under your feet")
        return self


def over_pins(pins: Chart, given: dict[str, Any]) -> dict[str, Any]:
    """What a site says of a chart over its pins; a chart in another place takes no repository from here."""
    place = str(given.get("chart", pins.chart))
    kept = pins.model_dump(exclude={"values"})
    if place.startswith(("oci://", "/")):
        kept["repository"] = None
    if place.startswith("/"):
        kept["version"] = None
    return {**kept, **given}


JETSTACK = "oci://quay.io/jetstack/charts"
TRAEFIK = "oci://ghcr.io/traefik/helm"
CLOUDNATIVE_PG = "https://cloudnative-pg.github.io/charts"
CSI_NFS = "https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts"
AUTHENTIK = "https://charts.goauthentik.io"
LONGHORN = "https://charts.longhorn.io"
JUPYTERHUB = "https://hub.jupyter.org/helm-chart/"
PROMETHEUS = "https://prometheus-community.github.io/helm-charts"


def _pin(place: str, name: str, version: str) -> Chart:
    if place.startswith("oci://"):
        return Chart(chart=f"{place}/{name}", version=version)
    return Chart(chart=name, repository=place, version=version)


class Charts(BaseModel):
    """Every chart, each with its pin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    traefik: Chart = Field(_pin(TRAEFIK, "traefik", "41.3.0"), description="The ingress controller.")
    cert_manager: Chart = Field(_pin(JETSTACK, "cert-manager", "v1.21.1"), description="Certificates.")
    cloudnative_pg: Chart = Field(_pin(CLOUDNATIVE_PG, "cloudnative-pg", "0.29.0"), description="Postgres.")
    barman_plugin: Chart = Field(_pin(CLOUDNATIVE_PG, "plugin-barman-cloud", "0.7.1"), description="Its backups.")
    authentik: Chart = Field(_pin(AUTHENTIK, "authentik", "2026.8.5"), description="The identity provider.")
    csi_driver_nfs: Chart = Field(_pin(CSI_NFS, "csi-driver-nfs", "4.13.4"), description="Volumes on an NFS server.")
    longhorn: Chart = Field(_pin(LONGHORN, "longhorn", "1.12.1"), description="Volumes on the nodes' own disks.")
    kube_prometheus_stack: Chart = Field(
        _pin(PROMETHEUS, "kube-prometheus-stack", "88.4.0"), description="Prometheus, Alertmanager and Grafana."
    )
    jupyterhub: Chart = Field(_pin(JUPYTERHUB, "jupyterhub", "4.4.0"), description="The hub of each course.")

    @model_validator(mode="before")
    @classmethod
    def _pinned(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        pins = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: over_pins(pins[name], chart) if name in pins and isinstance(chart, dict) else chart
            for name, chart in given.items()
        }
