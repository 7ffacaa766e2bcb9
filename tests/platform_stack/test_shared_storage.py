"""Volumes that all notebooks of a course mount."""

from __future__ import annotations

import yaml

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse


def test_without_a_choice_nothing_is_installed(rehearse: Rehearse) -> None:
    made = rehearse()
    assert made.of("StorageClass") == []
    assert {one.name for one in made.of("Release")}.isdisjoint({"longhorn", "csi-driver-nfs"})


def test_h7_the_class_of_an_nfs_server_is_made_after_its_driver_and_used_by_courses(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["shared_storage"]["nfs"])
    (storage,) = made.of("StorageClass")
    assert storage.inputs["provisioner"] == "nfs.csi.k8s.io"
    assert storage.inputs["parameters"]["server"] == "nfs.example.org"
    files = next(one.inputs["data"] for one in made.objects if one.name == "jhaas-portal/portal-targets")
    assert yaml.safe_load(files["cluster.yaml"])["cluster"]["shared_class"] == storage.inputs["metadata"]["name"]
    # a course's volumes lie in a folder of its own, by which people can find them
    assert storage.inputs["parameters"]["subDir"] == "${pvc.metadata.namespace}/${pvc.metadata.name}"
    (driver,) = [one for one in made.of("Release") if one.name == "csi-driver-nfs"]
    assert driver.urn in made.before(storage)
    # its sidecar would look for definitions of snapshots that nobody made
    assert driver.inputs["values"]["controller"]["enableSnapshotter"] is False


def test_longhorn_can_be_uninstalled_again_and_takes_over_no_default(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["shared_storage"]["longhorn"])
    (longhorn,) = [one for one in made.of("Release") if one.name == "longhorn"]
    values = longhorn.inputs["values"]
    assert values["defaultSettings"]["deletingConfirmationFlag"] is True
    assert values["persistence"]["defaultClass"] is False
    (storage,) = made.of("StorageClass")
    assert storage.inputs["parameters"]["numberOfReplicas"] == "3"
