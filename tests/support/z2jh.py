"""What Zero to JupyterHub 4.4 makes of its values: the settings of the hub's spawner, and the pods that come of them.

The chart's own `jupyterhub_config.py` is not kept here; `TRAITS` says which key becomes which setting of KubeSpawner,
as that file does.
"""

from __future__ import annotations

import asyncio
import copy
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from jupyterhub.objects import Hub
from kubernetes_asyncio.client import ApiClient, ApiException
from traitlets.config import Config

from course_stack.hub_files.spawner import CourseSpawner
from tests.support import charts

CHART = "jupyterhub-4.4.0"

TOKEN = "the-notebooks-token"

TRAITS = {
    "start_timeout": "startTimeout",
    "image_pull_policy": "image.pullPolicy",
    "extra_labels": "extraLabels",
    "uid": "uid",
    "fs_gid": "fsGid",
    "service_account": "serviceAccountName",
    "storage_extra_labels": "storage.extraLabels",
    "node_selector": "nodeSelector",
    "init_containers": "initContainers",
    "extra_containers": "extraContainers",
    "lifecycle_hooks": "lifecycleHooks",
    "mem_limit": "memory.limit",
    "mem_guarantee": "memory.guarantee",
    "cpu_limit": "cpu.limit",
    "cpu_guarantee": "cpu.guarantee",
    "extra_resource_limits": "extraResource.limits",
    "extra_resource_guarantees": "extraResource.guarantees",
    "environment": "extraEnv",
    "profile_list": "profileList",
    "extra_pod_config": "extraPodConfig",
    "storage_class": "storage.dynamic.storageClass",
    "storage_access_modes": "storage.dynamic.storageAccessModes",
    "storage_capacity": "storage.capacity",
    "cmd": "cmd",
    "default_url": "defaultUrl",
}
"""Settings of KubeSpawner by keys below `singleuser`; a key without a value leaves the setting alone."""


def spawner(values: dict[str, Any], subject: str, groups: tuple[str, ...] = (), profile: str = "") -> CourseSpawner:
    """The spawner of one person in a hub with these values, with a profile chosen."""
    config = Config({"CourseSpawner": _settings(charts.merged(CHART, values))})
    user = SimpleNamespace(
        name=subject,
        id=1,
        url=f"/user/{subject}/",
        escaped_name=subject,
        groups=[SimpleNamespace(name=group) for group in groups],
        settings={},
    )
    with patch("kubespawner.spawner.load_config"), patch("kubespawner.spawner.shared_client"):
        made = CourseSpawner(
            config=config,
            user=user,
            hub=Hub(base_url="/hub/"),
            orm_spawner=SimpleNamespace(name="", server=None, oauth_client=None),
            api_token=TOKEN,
            user_options={"profile": profile} if profile else {},
            _mock=True,
        )
    made.api = Secrets()
    made.oauth_client_id = f"jupyterhub-user-{subject}"
    return made


class Secrets:
    """What the spawner uses of a cluster's API: its Secrets."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, str]] = {}

    async def create_namespaced_secret(self, namespace: str, secret: Any, **_: Any) -> None:
        assert secret.metadata.name not in self.kept
        self.kept[secret.metadata.name] = secret.string_data

    async def delete_namespaced_secret(self, name: str, namespace: str, **_: Any) -> None:
        if self.kept.pop(name, None) is None:
            raise ApiException(status=404)


async def _pod(one: CourseSpawner) -> Any:
    await one.load_user_options()
    return await one.modify_pod_hook(one, await one.get_pod_manifest())


def pod(one: CourseSpawner) -> dict[str, Any]:
    """The pod that would be made, as Kubernetes writes it."""
    return _written(asyncio.run(_pod(one)))


def claim(one: CourseSpawner) -> dict[str, Any]:
    """The claim of the home that would be made."""
    return _written(one.get_pvc_manifest())


def _written(manifest: Any) -> dict[str, Any]:
    # without a connection: only its way of writing is wanted
    written: dict[str, Any] = ApiClient.sanitize_for_serialization(ApiClient.__new__(ApiClient), manifest)
    return written


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    single = values["singleuser"]
    settings = {trait: value for trait, key in TRAITS.items() if (value := _at(single, key)) is not None}
    settings["common_labels"] = {"app": "jupyterhub", "release": "jhaas"}
    settings["image"] = ":".join(part for part in (single["image"]["name"], single["image"]["tag"]) if part)
    settings["allow_privilege_escalation"] = single["allowPrivilegeEscalation"]
    settings["image_pull_secrets"] = values["imagePullSecrets"]
    settings["tolerations"] = values["scheduling"]["userPods"]["tolerations"] + single["extraTolerations"]
    settings["volumes"], settings["volume_mounts"] = _storage(single)
    return settings | values["hub"]["config"].get("CourseSpawner", {})


def _storage(single: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    storage, files = single["storage"], single.get("extraFiles") or {}
    home = storage["dynamic"]["volumeNameTemplate"]
    volumes = {home: {"name": home, "persistentVolumeClaim": {"claimName": "{pvc_name}"}}}
    mounts = {home: {"name": home, "mountPath": storage["homeMountPath"]}}
    if files:
        items = [{"key": key, "path": key} for key in files]
        volumes["files"] = {"name": "files", "secret": {"secretName": "singleuser", "items": items}}
    for number, (key, file) in enumerate(files.items()):
        mounts[f"{number}-files"] = {"name": "files", "mountPath": file["mountPath"], "subPath": key}
    return volumes | copy.deepcopy(storage["extraVolumes"]), mounts | copy.deepcopy(storage["extraVolumeMounts"])


def _at(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) or {} if isinstance(values, dict) else {}
    return values if values != {} else None
