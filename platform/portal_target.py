"""This cluster as a target of the portal: the file that says where and how hubs run. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pulumi

from config import PlatformConfig
from kubernetes_objects import over
from outputs import Edge, Identity, Issuer, ObjectStore, SharedStorage
from portal_checks import target_problems
from portal_settings import OWN_AUTHORITIES

NAME = "cluster"
"""Of the target: its file is `cluster.yaml`."""

TRIAL = {"memory": 8, "cpu": 4, "storage": 50, "parallel_operations": 2}
"""What courses may take where the site says nothing: enough for a trial on one node."""


def lacking(who: Identity, store: ObjectStore) -> list[str]:
    """What courses on this cluster need and nobody gave, each as the key that gives it."""
    return [
        *(["identity.kind: authentik, or identity.courses"] if who.api_key is None else []),
        *(["object_storage.courses"] if store.courses is None else []),
    ]


def target(
    config: PlatformConfig, edge: Edge, issuer: Issuer, who: Identity, store: ObjectStore, shared: SharedStorage
) -> dict[str, Any]:
    """The content of the target's file: what the parts of the platform say, with `portal.target` over it. Some of it
    may be outputs."""
    chart = config.charts.jupyterhub
    if chart.values:
        raise pulumi.RunError(
            "jhaas-platform:charts.jupyterhub.values: hubs are told by the course and its target; set portal.target."
        )
    # what is none is left out: each key's own default holds
    found = {
        "hub_domain": config.site.hub_domain,
        "identity": _given(kind=who.kind, url=who.url, internal_url=who.internal_url),
        "object_store": _given(
            kind=store.kind, endpoint=store.endpoint, region=store.region, path_style=store.path_style
        ),
        "cluster": _given(
            authority=OWN_AUTHORITIES if has_own_authorities(issuer, store) else None,
            chart={"chart": chart.chart, "repository": chart.repository, "version": chart.version},
            # Jobs need Python, boto3 and zstandard, which this image has
            images={"helper": config.portal.image, "pull_secret": config.portal.registry is not None},
            edge=_edge(edge, issuer),
            storage_class=config.cluster.storage_class,
            shared_class=shared.storage_class,
            release_timeout=config.cluster.release_timeout,
            openings=_openings(store),
        ),
        "capacity": dict(TRIAL),
    }
    whole = over(found, config.portal.target)
    if problems := target_problems(whole):
        raise pulumi.RunError("\n".join(f"jhaas-platform:portal.target.{one}" for one in problems))
    boundary = store.permissions_boundary
    return whole if boundary is None else over({"object_store": {"permissions_boundary": boundary}}, whole)


def has_own_authorities(issuer: Issuer, store: ObjectStore) -> bool:
    """Whether somebody vouches for sign-in, hubs or store whom the world does not know."""
    return issuer.own or issuer.ca is not None or store.ca is not None


def _edge(edge: Edge, issuer: Issuer) -> dict[str, Any]:
    own = {"tls": "edge"} if issuer.wildcard else {"tls": "issuer", "cluster_issuer": issuer.cluster_issuer}
    return _given(
        kind="ingress",
        ingress_class=edge.ingress_class,
        annotations=edge.annotations,
        namespace=edge.namespace,
        **own,
    )


def _openings(store: ObjectStore) -> list[dict[str, Any]]:
    """Notebooks reach the buckets of their course where the store is in this cluster."""
    if store.namespace is None or store.endpoint is None:
        return []
    opened = {"namespace": store.namespace, "ports": [port_of(store.endpoint)], "hub": False, "notebooks": True}
    return [{"name": "buckets of courses", **opened}]


def port_of(url: str) -> int:
    """Port of an address, its scheme's own where none is written."""
    parts = urlsplit(url)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [], {})}
