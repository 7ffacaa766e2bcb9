"""A course's hub on a cluster, as a component of the course stack: the namespace with what is in it, and the chart.

The cluster's address and keys are in the kubeconfig that the environment names (`course_stack.credentials`), and never
an input: another kubeconfig for the same cluster changes no course.
"""

from __future__ import annotations

import base64
import hashlib
import json

import pulumi
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs
from pulumi_kubernetes.provider import Provider
from pulumi_random import RandomPassword

from course_stack.cluster import ClusterTarget
from course_stack.credentials import REGISTRY, credentials
from course_stack.hub_secrets import LENGTH, Secrets
from course_stack.kubernetes.network import Manifest
from course_stack.kubernetes.objects import course_objects
from course_stack.kubernetes.release import release_plan
from course_stack.kubernetes.values import HubKeys, hub_values
from course_stack.login import Login
from course_stack.spec import CourseSpec
from course_stack.target import Target
from course_stack.trust import authority

HISTORY = 3
"""Revisions of the release that Helm keeps, each a Secret with all values."""
NAMESPACE_GOES = "15m"
"""Volumes are let go and deleted in that time, on slow storage too."""


class ClusterHub(pulumi.ComponentResource):
    """A JupyterHub on a cluster. Outputs: `hub_url`, `api_url`."""

    hub_url: pulumi.Output[str]
    api_url: pulumi.Output[str]

    def __init__(
        self, name: str, spec: CourseSpec, target: Target, login: Login, secrets: Secrets, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("jhaas:kubernetes:ClusterHub", name, None, opts)
        cluster = target.cluster
        assert cluster is not None
        provider = _provider(target, cluster, pulumi.ResourceOptions(parent=self))
        inside = pulumi.ResourceOptions(parent=self, provider=provider)

        namespace, *rest = course_objects(spec, target, _registry(target, cluster))
        home = ClusterObject(
            namespace,
            pulumi.ResourceOptions.merge(
                inside, pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=NAMESPACE_GOES))
            ),
        )
        # What lies in the namespace goes with it, in one deletion: the release too, which makes nothing elsewhere.
        within = pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[home], deleted_with=home))
        objects = [ClusterObject(manifest, within) for manifest in rest]
        proxy_token = RandomPassword(
            "proxy-token", length=LENGTH, special=False, opts=pulumi.ResourceOptions(parent=self)
        ).result
        release = _release(
            spec,
            target,
            hub_keys(login, secrets, proxy_token),
            pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=objects)),
        )

        url = target.hub_url(spec.slug)
        # known when the release runs: what is built on them waits for it
        self.hub_url = release.status.apply(lambda _: url)
        self.api_url = release.status.apply(lambda _: f"{url}hub/api/")
        self.register_outputs({"hub_url": self.hub_url, "api_url": self.api_url})


class ClusterObject(pulumi.CustomResource):
    """An object of Kubernetes, as its manifest says. Named as kubectl names it: `Kind/name`.

    The typed classes of the SDK say the same in more words, and take seconds to import.
    """

    def __init__(self, manifest: Manifest, opts: pulumi.ResourceOptions) -> None:
        version, kind = manifest["apiVersion"], manifest["kind"]
        module = version if "/" in version else f"core/{version}"
        super().__init__(f"kubernetes:{module}:{kind}", f"{kind}/{manifest['metadata']['name']}", dict(manifest), opts)


def hub_keys(login: Login, secrets: Secrets, proxy_token: pulumi.Output[str]) -> HubKeys:
    """What the chart is given of the sign-in and of the stack's secrets. Keys are digests of the stored passwords:
    the chart wants 32 bytes in hex, and only RandomPassword keeps its value out of its id."""
    endpoints = login.client.endpoints
    return HubKeys(
        client_id=login.client.client_id,
        client_secret=login.client.secret,
        authorize_url=endpoints["authorize"],
        token_url=endpoints["token"],
        userinfo_url=endpoints["userinfo"],
        issuer=endpoints["issuer"],
        end_session_url=endpoints["end_session"],
        cookie_secret=_hex(secrets.cookie_secret),
        crypt_key=_hex(secrets.crypt_key),
        proxy_token=_hex(proxy_token),
        api_token=secrets.api_token,
    )


def _release(spec: CourseSpec, target: Target, keys: HubKeys, opts: pulumi.ResourceOptions) -> Release:
    plan = release_plan(spec, target)
    return Release(
        "release",
        name=plan.name,
        namespace=plan.namespace,
        chart=plan.chart,
        version=plan.version,
        repository_opts=RepositoryOptsArgs(repo=plan.repository) if plan.repository else None,
        timeout=plan.timeout,
        values=hub_values(spec, target, keys, authority(target)),
        max_history=HISTORY,
        # what a failed upgrade added goes again; a failed first try stays, and the next one goes on from there
        cleanup_on_fail=True,
        opts=opts,
    )


def _provider(target: Target, cluster: ClusterTarget, opts: pulumi.ResourceOptions) -> Provider:
    return Provider(
        "cluster",
        # not the path of the file, which the SDK would take from KUBECONFIG and keep in the state
        kubeconfig="",
        context=cluster.context,
        # which cluster it is: nothing else about the way to it makes other objects
        cluster_identifier=target.name,
        enable_server_side_apply=True,
        # an interrupted run leaves objects of our names behind, with fields in the name of another field manager
        upsert_existing_objects=True,
        enable_patch_force=True,
        opts=opts,
    )


def _registry(target: Target, cluster: ClusterTarget) -> pulumi.Output[str] | None:
    if not cluster.images.pull_secret:
        return None
    content = json.dumps(credentials(REGISTRY, of=target.name), sort_keys=True, separators=(",", ":"))
    return pulumi.Output.secret(base64.b64encode(content.encode()).decode())


def _hex(password: pulumi.Output[str]) -> pulumi.Output[str]:
    return password.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())
