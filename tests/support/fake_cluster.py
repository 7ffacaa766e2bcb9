"""A cluster's API in memory, as far as our own calls use it: objects by their paths, selectors, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import yaml

from course_stack.kubernetes.api import Cluster, connect
from course_stack.target import Target

SERVER = "https://cluster.example.org:6443"

_KINDS = {
    "namespaces": ("v1", "Namespace"),
    "nodes": ("v1", "Node"),
    "pods": ("v1", "Pod"),
    "secrets": ("v1", "Secret"),
    "configmaps": ("v1", "ConfigMap"),
    "events": ("v1", "Event"),
    "resourcequotas": ("v1", "ResourceQuota"),
    "limitranges": ("v1", "LimitRange"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "networkpolicies": ("networking.k8s.io/v1", "NetworkPolicy"),
    "selfsubjectaccessreviews": ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
    "services": ("v1", "Service"),
    "persistentvolumes": ("v1", "PersistentVolume"),
    "persistentvolumeclaims": ("v1", "PersistentVolumeClaim"),
    "jobs": ("batch/v1", "Job"),
    "daemonsets": ("apps/v1", "DaemonSet"),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    "priorityclasses": ("scheduling.k8s.io/v1", "PriorityClass"),
    "storageclasses": ("storage.k8s.io/v1", "StorageClass"),
    "ingressclasses": ("networking.k8s.io/v1", "IngressClass"),
}
_WIDE = {
    "namespaces",
    "nodes",
    "persistentvolumes",
    "clusterroles",
    "clusterrolebindings",
    "priorityclasses",
    "storageclasses",
    "ingressclasses",
    "selfsubjectaccessreviews",
}
_PATH = re.compile(
    r"(?P<api>/api/v1|/apis/[^/]+/[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?"
    r"(/(?P<sub>[a-z]+))?"
)


class FakeCluster:
    """Objects by (plural, namespace, name). `refuse` says for (method, path) which status is answered instead;
    `answers` holds whole answers by path."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.answers: dict[str, Any] = {"/version": {"major": "1", "minor": "34"}}
        self.refuse: Callable[[str, str], int | None] = lambda _method, _path: None
        self.asked: list[tuple[str, str]] = []
        self.on_create: Callable[[dict[str, Any]], None] = lambda _made: None

    def add(self, plural: str, name: str, namespace: str = "", **content: Any) -> dict[str, Any]:
        """Put an object there; `metadata` of `content` is merged in."""
        version, kind = _KINDS[plural]
        given = content.pop("metadata", {})
        meta = {
            "name": name,
            "uid": f"uid-of-{plural}-{name}",
            **({"namespace": namespace} if namespace else {}),
            **given,
        }
        made = {"apiVersion": version, "kind": kind, "metadata": meta, **content}
        self.objects[plural, namespace, name] = made
        return made

    def of(self, plural: str) -> list[dict[str, Any]]:
        return [one for (kind, _, _), one in self.objects.items() if kind == plural]

    def connect(self, target: Target, folder: Path) -> Cluster:
        """Our client, with its kubeconfig in `folder`."""
        write_kubeconfig(folder / "kubeconfig")
        return connect(target, folder, transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        self.asked.append((request.method, path))
        if status := self.refuse(request.method, path):
            return _status(status, "refused by the test")
        if path in self.answers:
            return httpx2.Response(200, json=self.answers[path])
        found = _PATH.fullmatch(path)
        if found is None or found["plural"] not in _KINDS:
            return _status(404, "the server could not find the requested resource")
        plural, name = found["plural"], found["name"] or ""
        namespace = "" if plural in _WIDE else found["namespace"] or ""
        if found["sub"] == "log":
            return httpx2.Response(200, text=self.logs.get(name, ""))
        key = (plural, namespace, name)
        match request.method:
            case "GET" if not name:
                return self._list(plural, found["namespace"] if plural not in _WIDE else None, request)
            case "POST" if "dryRun" in request.url.params:
                return self.tried(json.loads(request.content))
            case "POST":
                return self._create(plural, namespace, json.loads(request.content))
            case "PATCH" if "apply" in request.headers["content-type"] and key not in self.objects:
                return self._create(plural, namespace, json.loads(request.content))
            case _ if key not in self.objects:
                return _status(404, f'{plural} "{name}" not found')
            case "PATCH":
                _merge(self.objects[key], json.loads(request.content))
            case "DELETE":
                self._delete(key)
                return httpx2.Response(200, json={"kind": "Status", "status": "Success"})
        return httpx2.Response(200, json=self.objects[key])

    def _list(self, plural: str, namespace: str | None, request: httpx2.Request) -> httpx2.Response:
        version, kind = _KINDS[plural]
        items = [
            one
            for (of, place, _), one in self.objects.items()
            if of == plural and (namespace is None or place == namespace) and _selected(one, request.url.params)
        ]
        # as Kubernetes does: an empty list of metadata is null
        bare = "PartialObjectMetadataList" in request.headers.get("accept", "")
        content = {
            "apiVersion": version,
            "kind": f"{kind}List",
            "metadata": {},
            "items": items or (None if bare else []),
        }
        return httpx2.Response(200, json=content)

    def _create(self, plural: str, namespace: str, content: dict[str, Any]) -> httpx2.Response:
        if plural == "selfsubjectaccessreviews":  # they are answers, and nowhere kept
            self.on_create(content)
            return httpx2.Response(201, json=content)
        name = content["metadata"]["name"]
        if (plural, namespace, name) in self.objects:
            return _status(409, f'{plural} "{name}" already exists', "AlreadyExists")
        content["metadata"].setdefault("uid", f"uid-of-{plural}-{name}")
        self.objects[plural, namespace, name] = content
        self.on_create(content)
        return httpx2.Response(201, json=content)

    def tried(self, content: dict[str, Any]) -> httpx2.Response:
        """Whether it could be made."""
        unsafe = any("privileged" in one.get("securityContext", {}) for one in content["spec"]["containers"])
        return _status(403, 'forbidden: violates PodSecurity "restricted"') if unsafe else httpx2.Response(201, json={})

    def _delete(self, key: tuple[str, str, str]) -> None:
        gone = self.objects.pop(key)
        uid = gone["metadata"].get("uid")
        for other in [
            other
            for other, one in self.objects.items()
            if any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", ()))
        ]:
            self._delete(other)


def write_kubeconfig(path: Path, **context: str) -> None:
    """A kubeconfig with one context, `here`."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "it", "user": "us", **context}}],
        "clusters": [{"name": "it", "cluster": {"server": SERVER}}],
        "users": [{"name": "us", "user": {"token": "very-secret-token"}}],
    }
    path.write_text(yaml.safe_dump(content))


def _selected(one: dict[str, Any], params: Any) -> bool:
    labels, meta = one["metadata"].get("labels", {}), one["metadata"]
    for name, value in _terms(params.get("labelSelector", "")):
        if (labels.get(name) != value) if value is not None else (name not in labels):
            return False
    for name, value in _terms(params.get("fieldSelector", "")):
        there: Any = one
        for part in name.split("."):
            there = there.get(part, {}) if isinstance(there, dict) else {}
        if there != value and meta.get(name.removeprefix("metadata.")) != value:
            return False
    return True


def _terms(selector: str) -> Iterator[tuple[str, str | None]]:
    for term in filter(None, selector.split(",")):
        name, equals, value = term.partition("=")
        yield name, value.lstrip("=") if equals else None


def _merge(into: dict[str, Any], change: dict[str, Any]) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _status(code: int, message: str, reason: str = "") -> httpx2.Response:
    reasons = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}
    content = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason or reasons.get(code, "InternalError"),
        "message": message,
    }
    return httpx2.Response(code, json=content)
