"""What an interrupted run leaves on a cluster, and how it is put right: half-made releases, and namespaces that do not
go.

Helm keeps each revision of a release as a Secret `sh.helm.release.v1.NAME.vN`, whose status is in its label `status`
and in its content. A revision whose Helm was killed stays `pending-…` for ever, and every later run is refused with
"another operation (install/upgrade/rollback) is in progress" (pulumi/pulumi-kubernetes#2054). What puts it right
depends on what the stack's state knows:

- The state has the release, and an older revision is there: the pending one is deleted; Helm goes on from the older.
- The state has the release, and no other revision is there: the pending one is marked as failed. Without any revision
  an upgrade would find nothing to upgrade.
- The state has no release (the first install never ended): all revisions are deleted, and the next install adopts the
  objects that carry Helm's own annotations (Helm 3.2 and later).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from course_stack.kubernetes.api import Cluster
from course_stack.kubernetes.look import RELEASE_SECRET
from course_stack.kubernetes.names import ClusterNames

if TYPE_CHECKING:
    from lightkube.models.core_v1 import Namespace

# --- releases


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a release: `secret` is its Secret's name, `status` as Helm writes it."""

    number: int
    status: str
    secret: str

    @property
    def pending(self) -> bool:
        """Whether a Helm works on it, or was killed at it."""
        return self.status.startswith("pending-")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a release's revisions: none of it where nothing was interrupted."""

    delete: tuple[Revision, ...] = ()
    fail: Revision | None = None

    def __bool__(self) -> bool:
        return bool(self.delete or self.fail)


def plan(revisions: Iterable[Revision], *, known: bool) -> Plan:
    """What puts a release right that nobody works on; `known` says whether the stack's state has it. Pure."""
    ordered = sorted(revisions, key=lambda one: one.number)
    if not known:
        return Plan(delete=tuple(ordered))
    pending = [one for one in ordered if one.pending]
    if not pending:
        return Plan()
    if len(pending) < len(ordered):
        return Plan(delete=tuple(pending))
    return Plan(delete=tuple(pending[:-1]), fail=pending[-1])


def repair_release(cluster: Cluster, slug: str, *, known: bool) -> list[str]:
    """Put the course's release right where an interrupted run left it; what was done, in sentences.

    Nobody else may work on it: call it with the stack's lease and lock held.
    """
    from lightkube.resources.core_v1 import Secret

    names = ClusterNames(slug)
    todo = plan(revisions(cluster, names), known=known)
    done = []
    for one in todo.delete:
        cluster.delete(Secret, one.secret, names.namespace)
        reason = "the stack does not know it" if not known else "the run that made it was interrupted"
        done.append(f"removed revision {one.number} ({one.status}) of Helm release {names.release}: {reason}")
    if todo.fail is not None:
        _mark_failed(cluster, names, todo.fail)
        done.append(
            f"marked revision {todo.fail.number} ({todo.fail.status}) of Helm release {names.release} as failed: the "
            "run that made it was interrupted"
        )
    return done


def revisions(cluster: Cluster, names: ClusterNames) -> list[Revision]:
    """All revisions of the course's release that Helm has kept."""
    found = cluster.metadata(
        f"/api/v1/namespaces/{names.namespace}/secrets",
        fieldSelector=f"type={RELEASE_SECRET}",
        labelSelector=f"owner=helm,name={names.release}",
    )
    return [
        Revision(int(one["labels"].get("version", 0)), one["labels"].get("status", ""), one["name"]) for one in found
    ]


def _mark_failed(cluster: Cluster, names: ClusterNames, revision: Revision) -> None:
    from lightkube.resources.core_v1 import Secret

    secret = cluster.get(Secret, revision.secret, names.namespace)
    if secret is None or not secret.data:
        return
    change = {
        "metadata": {"labels": {"status": "failed"}},
        "data": {"release": as_failed(secret.data["release"])},
    }
    cluster.patch(Secret, revision.secret, change, names.namespace)


def as_failed(data: str) -> str:
    """The content of a revision's Secret with the status `failed`: JSON, gzip, Base64 (Helm's), Base64 (the
    Secret's)."""
    release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(data))))
    release["info"] = {
        **release.get("info", {}),
        "status": "failed",
        "description": "The run that made it was interrupted.",
    }
    packed = gzip.compress(json.dumps(release).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(packed)).decode()


# --- namespaces


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that keeps its namespace from going, by one of its finalizers. `path` is its own in the API."""

    kind: str
    name: str
    finalizer: str
    path: str
    going: bool
    """Whether it is being deleted itself: a finalizer of one that is not holds nothing yet."""

    @property
    def harmless(self) -> str | None:
        """Why the finalizer may be taken away; None where it may not."""
        return _HARMLESS.get((self.kind, self.finalizer)) or _HARMLESS.get(("", self.finalizer))

    @property
    def advice(self) -> str:
        """Why it may be taken away, or what to do instead."""
        return self.harmless or _KEPT.get(self.finalizer, "unknown to us: ask whoever set it")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a namespace does not go. `said` are the cluster's own sentences."""

    namespace: str
    going: bool
    said: tuple[str, ...]
    holders: tuple[Holder, ...]


_HARMLESS: Mapping[tuple[str, str], str] = {
    ("PersistentVolumeClaim", "kubernetes.io/pvc-protection"): (
        "holds a claim while a pod uses it; without such a pod its controller is behind, and the claim may go"
    ),
    ("Pod", "batch.kubernetes.io/job-tracking"): "counts the pods of a Job, which go with the namespace",
    ("", "foregroundDeletion"): "waits for objects that this one owns; they go with the namespace",
    ("", "orphan"): "waits until owned objects are let go; they go with the namespace",
}
"""Finalizers that may be taken away where their controller does not answer, by kind (none: any) and name, and why."""

_KEPT: Mapping[str, str] = {
    "service.kubernetes.io/load-balancer-cleanup": (
        "stands for a load balancer at the cloud: see that its cloud controller runs, or delete the load balancer there"
    ),
    "kubernetes.io/pv-protection": "stands for a volume that a claim has",
}
"""Finalizers that stand for something that would be left, and what to do. Those that are in neither list are unknown to
us: whoever set them must be asked."""


def diagnose(cluster: Cluster, namespace: str) -> Diagnosis | None:
    """What holds the namespace: its conditions, and every object in it that has finalizers. None where it is gone.

    Asks for all kinds that the cluster knows and can list; only names and finalizers are read.
    """
    from lightkube.resources.core_v1 import Namespace as NamespaceResource

    found = cluster.get(NamespaceResource, namespace)
    if found is None:
        return None
    holders = [holder for place in _kinds(cluster) for holder in _holders(cluster, namespace, *place)]
    going = found.metadata is not None and found.metadata.deletionTimestamp is not None
    return Diagnosis(namespace, going, tuple(_said(found)), tuple(holders))


def release_holders(cluster: Cluster, found: Diagnosis) -> list[Holder]:
    """Take away the finalizers that are known to be harmless from objects that are being deleted in a namespace that is
    being deleted; those that were taken away. A claim in use keeps its own."""
    if not found.going:
        return []
    used = _claims_in_use(cluster, found.namespace)
    done = []
    for holder in removable(found.holders, used):
        left = [one.finalizer for one in found.holders if one.path == holder.path and one.harmless is None]
        cluster.patch_path(holder.path, {"metadata": {"finalizers": left}}, f"release {holder.kind} {holder.name}")
        done.append(holder)
    return done


def removable(holders: Sequence[Holder], claims_in_use: frozenset[str]) -> list[Holder]:
    """Those that hold by a finalizer that is harmless for them now. Pure."""
    return [
        one
        for one in holders
        if one.going
        and one.harmless is not None
        and not (one.kind == "PersistentVolumeClaim" and one.name in claims_in_use)
    ]


def _said(namespace: Namespace) -> list[str]:
    conditions = (namespace.status and namespace.status.conditions) or []
    return [f"{one.type}: {one.message}" for one in conditions if one.status == "True" and one.message]


def _kinds(cluster: Cluster) -> list[tuple[str, str, str]]:
    """Path of the API, kind and plural of everything that lies in namespaces and can be listed."""
    groups = cluster.raw("/apis", "list what it knows").get("groups") or ()
    paths = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    # a group whose server does not answer holds namespaces by itself, and says so in their conditions
    return [
        (path, one["kind"], one["name"])
        for path in paths
        for one in cluster.raw(path, f"list what {path} has", absent=True).get("resources") or ()
        if one.get("namespaced") and "list" in one.get("verbs", ()) and "/" not in one["name"]
    ]


def _holders(cluster: Cluster, namespace: str, path: str, kind: str, plural: str) -> list[Holder]:
    if plural == "events":
        return []
    place = f"{path}/namespaces/{namespace}/{plural}"
    return [
        Holder(kind, meta["name"], finalizer, f"{place}/{meta['name']}", "deletionTimestamp" in meta)
        for meta in cluster.metadata(place, absent=True)
        for finalizer in meta.get("finalizers") or ()
    ]


def _claims_in_use(cluster: Cluster, namespace: str) -> frozenset[str]:
    from lightkube.resources.core_v1 import Pod

    from course_stack.kubernetes.homes import mounted

    return frozenset(name for pod in cluster.objects(Pod, namespace) for name in mounted(pod))
