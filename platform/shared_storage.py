"""Volumes that all notebooks of a course mount: a storage class that binds ReadWriteMany, ours or the cluster's own."""

from __future__ import annotations

from typing import Any

import pulumi

from config import ExistingSharedStorage, LonghornSharedStorage, NfsSharedStorage, NoSharedStorage, PlatformConfig
from kubernetes_objects import Manifest, Part, apply, manifest, namespace_object, release
from outputs import SharedStorage


def shared_storage(config: PlatformConfig, on: pulumi.ResourceOptions) -> SharedStorage:
    """The storage class of shared volumes, if courses have any."""
    match config.shared_storage:
        case NoSharedStorage():
            return SharedStorage(None)
        case ExistingSharedStorage(storage_class=name):
            return SharedStorage(name)
        case NfsSharedStorage() as nfs:
            return Nfs(config, nfs, on).shared_storage
        case LonghornSharedStorage() as longhorn:
            return Longhorn(config, longhorn, on).shared_storage


class Nfs(Part):
    """csi-driver-nfs by its chart, and a class on the site's server. Output: `shared_storage`."""

    NAMESPACE = "csi-driver-nfs"
    shared_storage: SharedStorage

    def __init__(self, config: PlatformConfig, nfs: NfsSharedStorage, on: pulumi.ResourceOptions) -> None:
        super().__init__("shared-storage", on)
        # a storage driver mounts on the node
        (home,) = apply([namespace_object(self.NAMESPACE, "privileged")], self.inside())
        driver = release(
            "csi-driver-nfs",
            config.charts.csi_driver_nfs,
            nfs_values(),
            namespace=self.NAMESPACE,
            cluster=config.cluster,
            opts=self.inside([home]),
        )
        made = apply([nfs_class(nfs)], self.inside([driver]))
        self.shared_storage = SharedStorage(nfs.storage_class, (driver, *made))
        self.register_outputs({"storage_class": nfs.storage_class})


class Longhorn(Part):
    """Longhorn by its chart, and a class of shared volumes. Output: `shared_storage`."""

    NAMESPACE = "longhorn-system"
    shared_storage: SharedStorage

    def __init__(self, config: PlatformConfig, longhorn: LonghornSharedStorage, on: pulumi.ResourceOptions) -> None:
        super().__init__("shared-storage", on)
        (home,) = apply([namespace_object(self.NAMESPACE, "privileged")], self.inside())
        installed = release(
            "longhorn",
            config.charts.longhorn,
            longhorn_values(longhorn),
            namespace=self.NAMESPACE,
            cluster=config.cluster,
            opts=self.inside([home]),
        )
        made = apply([longhorn_class(longhorn)], self.inside([installed]))
        self.shared_storage = SharedStorage(longhorn.storage_class, (installed, *made))
        self.register_outputs({"storage_class": longhorn.storage_class})


def nfs_class(nfs: NfsSharedStorage) -> Manifest:
    """A folder of the server for each volume, named after its course; it goes with the volume."""
    return _class(
        nfs.storage_class,
        "nfs.csi.k8s.io",
        {
            "server": nfs.server,
            "share": nfs.share,
            "subDir": "${pvc.metadata.namespace}/${pvc.metadata.name}",
            "onDelete": "delete",
        },
        mountOptions=list(nfs.mount_options),
    )


def nfs_values() -> dict[str, Any]:
    """Values of csi-driver-nfs's chart: no snapshots, whose sidecar looks for ever for definitions that the chart does
    not bring along (kubernetes-csi/csi-driver-nfs#722)."""
    return {"controller": {"enableSnapshotter": False}}


def longhorn_class(longhorn: LonghornSharedStorage) -> Manifest:
    """Volumes with as many copies as the site wants."""
    return _class(
        longhorn.storage_class,
        "driver.longhorn.io",
        {"numberOfReplicas": str(longhorn.replicas), "staleReplicaTimeout": "30", "fsType": "ext4"},
        allowVolumeExpansion=True,
    )


def longhorn_values(longhorn: LonghornSharedStorage) -> dict[str, Any]:
    """Values of Longhorn's chart."""
    return {
        # which class is the cluster's default is not ours to change
        "persistence": {"defaultClass": False, "defaultClassReplicaCount": longhorn.replicas},
        "defaultSettings": {
            "defaultReplicaCount": longhorn.replicas,
            # without it, `pulumi destroy` waits for ever: Longhorn refuses to be uninstalled
            "deletingConfirmationFlag": True,
            "allowCollectingLonghornUsageMetrics": False,
        },
    }


def _class(name: str, provisioner: str, parameters: dict[str, str], **body: Any) -> Manifest:
    return manifest(
        "storage.k8s.io/v1",
        "StorageClass",
        name,
        provisioner=provisioner,
        parameters=parameters,
        reclaimPolicy="Delete",
        volumeBindingMode="Immediate",
        **body,
    )
