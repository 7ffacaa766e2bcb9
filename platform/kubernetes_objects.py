"""How a part makes its objects and its charts in the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs

from charts import Chart
from config import Cluster

Manifest = dict[str, Any]
PodSecurity = Literal["restricted", "baseline", "privileged"]

PART_OF = {"app.kubernetes.io/part-of": "jhaas-platform"}
"""Label of every object that we make."""
READY = {"pulumi.com/waitFor": "condition=Ready"}
"""Annotation of custom resources whose controller says when they are ready: what comes after them waits for it."""
HISTORY = 3
"""Revisions of a release that Helm keeps, each a Secret with all values."""
NAMESPACE_GOES = "15m"
"""Volumes are let go and deleted in that time, on slow storage too."""
POD_SECURITY_VERSION = "v1.34"
"""Whose rules of the Pod Security standards hold; an older cluster takes the newest that it knows."""
SEALED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""Of each container of ours: no way to more rights, and nothing to write to but its volumes."""


def cluster_provider(cluster: Cluster) -> pulumi.ResourceOptions:
    """Options that put everything into this cluster. Which one it is says the context alone: your kubeconfig and the
    keys in it never get into the state."""
    provider = Provider(
        "cluster", context=cluster.context, enable_server_side_apply=True, suppress_helm_hook_warnings=True
    )
    return pulumi.ResourceOptions(providers=[provider])


def later(on: pulumi.ResourceOptions, ready: Iterable[pulumi.Resource]) -> pulumi.ResourceOptions:
    """Options of parts of which everything is made once these are ready."""
    return pulumi.ResourceOptions.merge(on, pulumi.ResourceOptions(depends_on=[*ready]))


class Part(pulumi.ComponentResource):
    """A part of the platform: what its class is called, it is called in the state."""

    def __init__(self, name: str, on: pulumi.ResourceOptions) -> None:
        super().__init__(f"jhaas:platform:{type(self).__name__}", name, None, on)
        self._ahead: list[Any] = [*on.depends_on] if isinstance(on.depends_on, list) else []

    def inside(self, after: Iterable[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        """Options of what belongs to this part, made once everything in `after` is ready, and what the part's own
        options name (`later`).

        What a component depends on does not hold for what it makes: each of its own objects must say so."""
        return pulumi.ResourceOptions(parent=self, depends_on=[*self._ahead, *after])


class KubernetesObject(pulumi.CustomResource):
    """An object of Kubernetes, as its manifest says.

    The typed classes of the SDK say the same in more words, and take seconds to import. What is in a Secret is secret
    in the state too. A disk is neither deleted nor replaced, unless an operator says so (`--ignore-protect`).
    """

    def __init__(self, manifest: Manifest, opts: pulumi.ResourceOptions) -> None:
        version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        module = version if "/" in version else f"core/{version}"
        place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
        given = dict(manifest)
        if kind == "Secret":
            secret = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            opts = pulumi.ResourceOptions.merge(opts, secret)
            given |= {key: pulumi.Output.secret(given[key]) for key in ("data", "stringData") if key in given}
        elif kind == "PersistentVolumeClaim":
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(protect=True))
        super().__init__(f"kubernetes:{module}:{kind}", f"{place}{metadata['name']}", given, opts)


def apply(manifests: Iterable[Manifest], opts: pulumi.ResourceOptions) -> tuple[KubernetesObject, ...]:
    """Make these objects. Namespaces among them come first: everything else waits for them, and goes with its own."""
    manifests = list(manifests)
    homes = {
        one["metadata"]["name"]: KubernetesObject(
            one,
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=NAMESPACE_GOES))
            ),
        )
        for one in manifests
        if one["kind"] == "Namespace"
    }
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[*homes.values()]))
    rest = [KubernetesObject(one, after) for one in manifests if one["kind"] != "Namespace"]
    return (*homes.values(), *rest)


def release(
    name: str,
    chart: Chart,
    values: dict[str, Any],
    *,
    namespace: str,
    cluster: Cluster,
    opts: pulumi.ResourceOptions,
) -> Release:
    """Install a chart under this name, once; it is made when its pods are ready. What the site sets in `charts` goes
    over `values`. The namespace must be there."""
    return Release(
        name,
        name=name,
        namespace=namespace,
        chart=chart.chart,
        version=chart.version,
        repository_opts=RepositoryOptsArgs(repo=chart.repository) if chart.repository else None,
        values=over(values, chart.values),
        timeout=cluster.release_timeout,
        max_history=HISTORY,
        # what a failed upgrade added goes again; a failed first try stays, and the next one goes on from there
        cleanup_on_fail=True,
        skip_await=False,
        opts=opts,
    )


def over(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` laid over `values`, as Helm does it: mappings are merged, everything else is replaced."""
    both = {key: over(values[key], more[key]) for key in values.keys() & more.keys() if _maps(values[key], more[key])}
    return {**values, **more, **both}


def _maps(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def manifest(
    api: str,
    kind: str,
    name: str,
    namespace: str | None = None,
    *,
    annotations: dict[str, str] | None = None,
    **body: Any,
) -> Manifest:
    """An object with our label."""
    metadata: dict[str, Any] = {"name": name, "labels": dict(PART_OF)}
    if namespace is not None:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def namespace_object(name: str, level: PodSecurity = "restricted") -> Manifest:
    """A namespace whose pods must keep to a level of the Pod Security standards."""
    home = manifest("v1", "Namespace", name)
    home["metadata"]["labels"] |= {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": POD_SECURITY_VERSION,
    }
    return home


def pod_security(user: int) -> dict[str, Any]:
    """Of a pod: everything in it runs as this user, who is not root and may write to its volumes."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def secret_object(name: str, namespace: str, data: dict[str, Any], kind: str = "Opaque") -> Manifest:
    """A Secret of these strings (secret outputs)."""
    return manifest("v1", "Secret", name, namespace, type=kind, stringData=data)


def secret(value: str) -> pulumi.Output[str]:
    """Something secret that the site gave, as an output that stays secret."""
    return pulumi.Output.secret(value)


def waits_for(*parts: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
    """Everything that these parts say must be ready, for `depends_on`."""
    return [resource for part in parts for resource in part]
