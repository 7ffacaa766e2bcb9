"""Clusters as targets, for tests: one that is valid, changed field by field; and any valid one, for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from course_stack.target import Target

HELPER = "registry.example.org/jhaas/helper:1"


def cluster_target(**cluster: Any) -> Target:
    """A target on a cluster, with these fields of its cluster changed."""
    return Target.model_validate(
        {
            "name": "campus",
            "kind": "kubernetes",
            "hub_domain": "hubs.example.org",
            "identity": {"kind": "authentik", "url": "https://id.example.org"},
            "object_store": {"kind": "aws", "endpoint": None},
            "cluster": {"images": {"helper": HELPER}, "shared_class": "nfs", **cluster},
        }
    )


_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)
_IMAGES = st.sampled_from(
    [
        "registry.example.org:5000/mirror/hub:4.4.0",
        "mirror/hub@sha256:" + "0123456789abcdef" * 4,
        "registry.example.org/hub:4.4.0@sha256:" + "0123456789abcdef" * 4,
    ]
)
_TOLERATIONS = st.lists(
    st.fixed_dictionaries({"key": _NAMES}, optional={"effect": st.just("NoExecute")})
    | st.fixed_dictionaries({"key": _NAMES, "operator": st.just("Equal"), "value": _NAMES}),
    max_size=2,
)
_PLACEMENTS = st.fixed_dictionaries(
    {"node_selector": st.dictionaries(_NAMES, _NAMES, max_size=2), "tolerations": _TOLERATIONS}
)
_INGRESSES = st.fixed_dictionaries(
    {"kind": st.just("ingress"), "ingress_class": st.none() | _NAMES, "annotations": st.dictionaries(_NAMES, _NAMES)}
).flatmap(
    lambda edge: st.sampled_from(
        [{**edge, "tls": "none"}, {**edge, "tls": "edge"}, {**edge, "tls": "issuer", "cluster_issuer": "letsencrypt"}]
    )
)
_GATEWAYS = st.fixed_dictionaries(
    {"kind": st.just("gateway"), "gateway": _NAMES, "gateway_namespace": _NAMES, "section": st.none() | _NAMES}
)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """Any valid cluster: every switch that a course's hub depends on, in any position."""
    return cluster_target(
        images={
            "helper": HELPER,
            "hub": draw(st.none() | _IMAGES),
            "proxy": draw(st.none() | _IMAGES),
            "pull_policy": draw(st.sampled_from(["IfNotPresent", "Always", "Never"])),
            "pull_secret": draw(st.booleans()),
        },
        edge=draw(_INGRESSES | _GATEWAYS | st.just({"kind": "none"})),
        storage_class=draw(st.none() | _NAMES),
        core=draw(_PLACEMENTS),
        notebooks=draw(_PLACEMENTS),
        gpu=draw(_PLACEMENTS),
        placeholders=draw(st.integers(0, 50)),
        uid=draw(st.integers(1, 70000)),
        gid=draw(st.integers(1, 70000)),
    )
