"""What Zero to JupyterHub is told about a course: the values of its Helm chart, version 4.4.

The hub is the local target's in another place: same sign-in, same rights, same words (`course_stack.hub_rules`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_stack import hub_files
from course_stack.cluster import ClusterTarget, GatewayEdge, IngressEdge
from course_stack.hub_rules import PORTAL_SERVICE, cull_every, lead_scopes, portal_scopes, sign_in
from course_stack.kubernetes.chart import CLOSED, RESTRICTED, RESTRICTED_POD, file, image, placement, resources
from course_stack.kubernetes.names import ClusterNames
from course_stack.kubernetes.notebooks import notebooks, placeholder, spawner
from course_stack.names import CourseNames
from course_stack.sizes import HUB, HUB_DATABASE_MIB, PROXY, SPARE_SERVERS, placeholders
from course_stack.spec import CourseSpec
from course_stack.target import Target

if TYPE_CHECKING:
    import pulumi

    Leaf = str | pulumi.Output[str]
    """Text, or text that is known only while the stack comes up: put in its place as it is, never looked into."""

CONFIG_FOLDER = "/usr/local/etc/jupyterhub"
"""Where the chart keeps JupyterHub's configuration in the hub's container, and lets Python look for modules."""

DATABASE = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
"""On the hub's own volume, which the chart mounts at /srv/jupyterhub. The chart's own address is relative to the
image's working folder: with an image that has another, every restart would begin with an empty database."""

SURROUNDINGS = """\
from hub_files.services import with_own_python, with_placeholders
from hub_files.trust import with_authority
with_own_python(c)
with_placeholders(c)
with_authority(c)
"""

OLD_REVISIONS = 2
"""Old ReplicaSets that a Deployment keeps. Going back is another `up`, not a rollback."""

HUB_UID, PROXY_UID = 1000, 65534
"""Accounts of the chart's own images (`jovyan`, `nobody`)."""


@dataclass(frozen=True, slots=True)
class HubKeys:
    """What the hub must know of others, and others must not know of it. Keys are 32 bytes in hex, as the chart wants
    them."""

    client_id: Leaf
    client_secret: Leaf = field(repr=False)
    authorize_url: Leaf
    token_url: Leaf
    userinfo_url: Leaf
    issuer: Leaf
    cookie_secret: Leaf = field(repr=False)
    crypt_key: Leaf = field(repr=False)
    proxy_token: Leaf = field(repr=False)
    api_token: Leaf = field(repr=False)
    end_session_url: Leaf = ""
    """Where a sign-out goes on to; empty: it ends at the hub."""


def hub_values(spec: CourseSpec, target: Target, keys: HubKeys, authority: str | None = None) -> dict[str, Any]:
    """The chart's values for this course on this cluster: plain data, with the leaves of `keys` in their places.
    `authority`: the certificates (PEM) that the target names (`course_stack.trust.authority`).

    Secrets stand only where the chart puts them into a Secret: `hub.config`, `hub.cookieSecret`, `hub.services` and
    `proxy.secretToken` (the hub's Secret holds the values whole). Nothing is left for the chart to make up, since
    Helm's `lookup` would make it up anew on every dry run.

    Network: the chart's policies stay, and open nothing but the ways between its own pods: hub → proxy:8001 and
    notebook:8888, proxy → hub:8081 and notebook:8888, notebook → hub:8081 and proxy:8000. Everything else is closed
    until a policy of ours opens it: edge → proxy, names (DNS), hub → cluster API and identity provider, notebooks →
    internet (`course_stack.kubernetes.network`). Raises ValueError for a target that is no cluster.
    """
    cluster = target.cluster
    if cluster is None:
        raise ValueError(f"The target {target.name} is no cluster: only a target of kind kubernetes has Helm values.")
    names = ClusterNames(spec.slug)
    return {
        # services and claims without the release's name before theirs: one hub has the namespace to itself
        "fullnameOverride": "",
        "imagePullSecrets": [{"name": names.registry_secret}] if cluster.images.pull_secret else [],
        "hub": _hub(spec, target, cluster, keys, authority),
        "proxy": _proxy(spec, cluster, keys),
        "singleuser": notebooks(spec, cluster, authority),
        **_edge(spec, target, cluster),
        "cull": _culling(spec),
        # A scheduler, priority classes and pre-pullers for each course would be objects of the whole cluster. The
        # chart's placeholders need such a class, and stand day and night: ours are `hub_files.placeholders`.
        "scheduling": {
            "userScheduler": {"enabled": False},
            "userPlaceholder": {"enabled": False},
            "podPriority": {"enabled": False},
            "corePods": {"tolerations": [], "nodeAffinity": {"matchNodePurpose": "ignore"}},
            "userPods": {"tolerations": [], "nodeAffinity": {"matchNodePurpose": "ignore"}},
        },
        "prePuller": {"hook": {"enabled": False}, "continuous": {"enabled": False}},
    }


def _hub(
    spec: CourseSpec, target: Target, cluster: ClusterTarget, keys: HubKeys, authority: str | None
) -> dict[str, Any]:
    names = CourseNames(spec.slug)
    return {
        "config": {
            "JupyterHub": {
                "authenticator_class": "hub_files.authenticator.CourseAuthenticator",
                "spawner_class": "hub_files.spawner.CourseSpawner",
                "admin_access": False,
                "public_url": target.hub_url(spec.slug),
                "db_url": DATABASE,
            },
            "CourseAuthenticator": _sign_in(spec, target, keys),
            "CourseSpawner": {"issuer": keys.issuer, "lead_group": names.lead_group, **spawner(spec, cluster)},
            "CryptKeeper": {"keys": [keys.crypt_key]},
        },
        "cookieSecret": keys.cookie_secret,
        "services": {PORTAL_SERVICE: {"apiToken": keys.api_token}},
        "loadRoles": {
            PORTAL_SERVICE: {"scopes": portal_scopes(), "services": [PORTAL_SERVICE]},
            "leads": {"scopes": lead_scopes(names), "groups": [names.lead_group]},
        },
        # one more than people may start, for the check
        "activeServerLimit": spec.active_servers + SPARE_SERVERS,
        "concurrentSpawnLimit": spec.spawning.concurrent,
        # an image that does not start is the course's trouble, and no reason to end the hub under everybody else
        "consecutiveFailureLimit": 0,
        "allowNamedServers": False,
        "extraFiles": _files(spec, cluster, authority),
        "extraConfig": {"surroundings": SURROUNDINGS},
        "db": {
            "type": "sqlite-pvc",
            "pvc": {"storage": f"{HUB_DATABASE_MIB}Mi", "storageClassName": cluster.storage_class},
        },
        "image": image(cluster.images.hub, cluster),
        "labels": ClusterNames(spec.slug).labels,
        "resources": resources(HUB),
        **placement(cluster.core),
        "revisionHistoryLimit": OLD_REVISIONS,
        "podSecurityContext": {**RESTRICTED_POD, "fsGroup": HUB_UID},
        "containerSecurityContext": {**RESTRICTED, "runAsUser": HUB_UID, "runAsGroup": HUB_UID},
        "networkPolicy": {"egressAllowRules": CLOSED},
    }


def _files(spec: CourseSpec, cluster: ClusterTarget, authority: str | None) -> dict[str, dict[str, Any]]:
    """The hub's own modules; whom it believes, and what its placeholders look like, where the target says so."""
    modules = sorted(Path(str(hub_files.__file__)).parent.glob("*.py"))
    files = {path.name: file(f"{CONFIG_FOLDER}/hub_files/{path.name}", path.read_text()) for path in modules}
    if authority:
        files["authority.crt"] = file(f"{CONFIG_FOLDER}/authority.crt", authority)
    if cluster.placeholders:
        settings = {
            "keep": placeholders(spec, cluster.placeholders),
            "most": spec.active_servers,
            "pod": placeholder(spec, cluster),
        }
        files["placeholders.json"] = file(f"{CONFIG_FOLDER}/placeholders.json", json.dumps(settings, indent=1) + "\n")
    return files


def _sign_in(spec: CourseSpec, target: Target, keys: HubKeys) -> dict[str, Any]:
    return {
        **sign_in(spec, target),
        "client_id": keys.client_id,
        "client_secret": keys.client_secret,
        "authorize_url": keys.authorize_url,
        "token_url": keys.token_url,
        "userdata_url": keys.userinfo_url,
        "end_session_url": keys.end_session_url,
        # somebody who is no longer in the course is told so, and does not lose a server a minute after its start
        "refresh_pre_spawn": True,
    }


def _proxy(spec: CourseSpec, cluster: ClusterTarget, keys: HubKeys) -> dict[str, Any]:
    return {
        "secretToken": keys.proxy_token,
        "labels": ClusterNames(spec.slug).labels,
        "service": {"type": "ClusterIP"},
        "https": {"enabled": False},
        "chp": {
            "image": image(cluster.images.proxy, cluster),
            "resources": resources(PROXY),
            **placement(cluster.core),
            "revisionHistoryLimit": OLD_REVISIONS,
            "containerSecurityContext": {**RESTRICTED, "runAsUser": PROXY_UID, "runAsGroup": PROXY_UID},
            "extraPodSpec": {"automountServiceAccountToken": False},
            "networkPolicy": {"egressAllowRules": CLOSED, "allowedIngressPorts": []},
        },
    }


def _edge(spec: CourseSpec, target: Target, cluster: ClusterTarget) -> dict[str, Any]:
    host = target.hub_host(spec.slug)
    edge = cluster.edge
    if isinstance(edge, IngressEdge):
        issuer = {"cert-manager.io/cluster-issuer": edge.cluster_issuer} if edge.cluster_issuer else {}
        # without a secret the controller answers with its own certificate
        secret = {"secretName": ClusterNames(spec.slug).hub_tls_secret} if edge.cluster_issuer else {}
        return {
            "ingress": {
                "enabled": True,
                "ingressClassName": edge.ingress_class,
                "annotations": {**edge.annotations, **issuer},
                "hosts": [host],
                "tls": [] if edge.tls == "none" else [{"hosts": [host], **secret}],
            }
        }
    if isinstance(edge, GatewayEdge):
        section = {"sectionName": edge.section} if edge.section else {}
        gateway = {"name": edge.gateway, "namespace": edge.gateway_namespace, **section}
        return {"httpRoute": {"enabled": True, "hostnames": [host], "gateway": gateway}}
    return {}


def _culling(spec: CourseSpec) -> dict[str, Any]:
    """Stops idle and overdue servers, removes nobody."""
    return {
        "enabled": True,
        "timeout": spec.culling.idle_minutes * 60,
        "every": cull_every(spec),
        "maxAge": (spec.culling.max_age_hours or 0) * 3600,
        "users": False,
        "adminUsers": True,
    }
