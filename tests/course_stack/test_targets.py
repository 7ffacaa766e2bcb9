"""Targets' files: what an operator writes, and what is said of a mistake in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from course_stack.spec import load_spec
from course_stack.target import Target
from course_stack.targets import TargetError, find_target, folder_of_targets, load_target, target_names
from tests.course_stack.specs import course
from tests.support.changes import GONE, changed

EXAMPLE = Path(__file__).parents[2] / "examples/targets/cluster.yaml"
GPUS = "nvidia.com/gpu, amd.com/gpu, gpu.intel.com/i915, gpu.intel.com/xe"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "campus.yaml").write_text(EXAMPLE.read_text())
    return tmp_path


def refusal(folder: Path, changes: dict[str, Any], name: str = "campus") -> str:
    """What is said of the example with these values; keys are paths with dots."""
    content = changed(yaml.safe_load(EXAMPLE.read_text()), changes)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(TargetError) as refused:
        load_target(file)
    text = str(refused.value)
    assert text.startswith(f"{file}: ")
    return text.removeprefix(f"{file}: ")


def test_the_example_is_a_target_named_after_its_file(folder: Path) -> None:
    found = load_target(folder / "campus.yaml")
    assert isinstance(found.target, Target)
    assert type(found.target) is Target
    assert (found.target.name, found.target.kind) == ("campus", "kubernetes")
    assert found.capacity.memory == 512
    assert found.is_open
    assert Target.model_validate(found.target.model_dump(mode="json")) == found.target


def test_every_key_of_the_example_s_cluster_is_explained_where_it_stands() -> None:
    content = yaml.safe_load(EXAMPLE.read_text())
    assert {"chart", "images", "edge", "storage_class", "shared_class", "gpu", "openings"} <= set(content["cluster"])
    assert EXAMPLE.read_text().count("#") > 20


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cluster.egde": {}}, "egde (cluster.egde): is unknown here; did you mean edge?"),
        (
            {"cluster.edge": {"kind": "ingres"}},
            "edge (cluster.edge): “ingres” is not one of the choices: 'ingress', 'gateway', 'none'",
        ),
        ({"cluster.edge": {"tls": "edge"}}, "edge (cluster.edge): must say which of its forms it has, by 'kind'"),
        (
            {"cluster.edge": {"kind": "gateway", "gateway": "a", "gateway_namespace": "b", "sektion": "c"}},
            "sektion (cluster.edge.sektion): is unknown here; did you mean section?",
        ),
        (
            {"cluster.edge": {"kind": "ingress", "tls": "wildcard"}},
            "tls (cluster.edge.tls): “wildcard” is not one of the choices: 'none', 'edge' or 'issuer'",
        ),
        (
            {"cluster.edge": {"kind": "ingress", "tls": "issuer"}},
            "edge (cluster.edge): cluster_issuer is needed where tls is issuer, and only there",
        ),
        ({"cluster.release_timeout": 5}, "release timeout (cluster.release_timeout): 5 is too little; at least 60"),
        ({"cluster.images": GONE}, "images (cluster.images): is missing"),
        (
            {"cluster.chart.chart": "oci://x/y"},
            "chart (cluster.chart): repository must be none where chart (oci://x/y) is an OCI address or a folder",
        ),
        ({"cluster": GONE}, "cluster is needed where kind is kubernetes, and only there"),
        (
            {"object_store.kind": "gcs"},
            "kind (object_store.kind): “gcs” is not one of the choices: 'seaweedfs', 'aws' or 'minio'",
        ),
        ({"capacity": GONE}, "capacity: is missing"),
        ({"capacity.cpu": 0}, "cpu (capacity.cpu): 0 is too little; at least 1"),
        (
            {"capacity.gpus": {"nvidia": 1}},
            f"gpus (capacity.gpus): nvidia is no kind that courses know; known are {GPUS}",
        ),
        (
            {"defaults": {"home_size": 1000}},
            "home directory per person (defaults.home_size): 1000 is too much; at most 100 GiB",
        ),
        ({"kind": "local"}, "kind: must be kubernetes: this machine is the target local, which needs no file"),
        ({"name": "other"}, "name: is “other”, but the file is called campus.yaml: leave it out, or rename the file"),
        ({"home": "/srv"}, "home: belongs to this machine as a target: leave it out"),
    ],
)
def test_a_mistake_is_told_with_its_key_and_what_is_allowed(
    folder: Path, changes: dict[str, Any], expected: str
) -> None:
    assert refusal(folder, changes) == expected


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hub_domain": "https://hubs.example.org/"}, "hub_domain"),
        ({"identity.url": "https://id.example.org/"}, "identity.url"),
        ({"identity.url": "https://admin:secret@id.example.org"}, "identity.url"),
        ({"object_store.endpoint": "s3.example.org"}, "object_store.endpoint"),
        ({"cluster.images.helper": "python:latest"}, "cluster.images.helper"),
        ({"cluster.openings": [{"name": "x", "cidr": "10.0.0.0/99", "ports": [1]}]}, "cluster.openings[0].cidr"),
        ({"cluster.openings": [{"name": "x", "cidr": "10.0.0.1/8", "ports": [1]}]}, "cluster.openings[0].cidr"),
        ({"cluster.openings": [{"name": "x", "cidr": "10.0.0.0/8", "ports": [0]}]}, "cluster.openings[0].ports[0]"),
        ({"cluster.openings": [{"name": "x", "ports": [1]}]}, "cluster.openings[0]"),
        ({"cluster.private_ranges": ["private"]}, "cluster.private_ranges[0]"),
        ({"cluster.storage_class": "Fast Disks"}, "cluster.storage_class"),
        ({"cluster.kubeconfig": "/etc/kubeconfig"}, "cluster.kubeconfig"),
        ({"defaults": {"imag": "x"}}, "defaults.imag"),
        ({"defaults": {"leads": ["anna"]}}, "defaults.leads"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_key(folder: Path, changes: dict[str, Any], key: str) -> None:
    text = refusal(folder, changes)
    assert f"({key}):" in text or text.startswith(f"{key}:")
    assert "secret" not in text


def test_everything_that_is_wrong_is_told_at_once(folder: Path) -> None:
    text = refusal(folder, {"hub_domain": GONE, "capacity.memory": -1, "cluster.uid": "me"})
    assert text.startswith("3 problems\n")


def test_a_file_that_is_no_yaml_is_told_with_line_and_column(folder: Path) -> None:
    (folder / "campus.yaml").write_text("hub_domain: a\nhub_domain: b\n")
    with pytest.raises(TargetError, match="line 2, column 1: hub_domain is given twice, first in line 1"):
        load_target(folder / "campus.yaml")


def test_a_name_without_a_file_is_told_with_those_that_there_are(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"no target campsu in .*: did you mean campus\? there are local, campus"):
        find_target("campsu", folder)
    with pytest.raises(TargetError, match=r"no target x in .*nowhere: there are local"):
        find_target("x", folder / "nowhere")
    assert find_target("campus", folder).name == "campus"


def test_files_lie_where_the_setting_says_else_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JHAAS_TARGETS_DIR", raising=False)
    assert folder_of_targets(tmp_path) == tmp_path / "targets"
    assert target_names(tmp_path / "targets") == []
    monkeypatch.setenv("JHAAS_TARGETS_DIR", "/etc/jhaas/targets")
    assert folder_of_targets(tmp_path) == Path("/etc/jhaas/targets")


def test_a_target_s_defaults_stand_in_for_what_a_course_leaves_out(folder: Path) -> None:
    defaults = load_target(folder / "campus.yaml").defaults
    content = {name: value for name, value in course().items() if name != "image"}
    spec = load_spec(content, defaults)
    assert (spec.image, spec.home_size) == ("quay.io/jupyter/scipy-notebook:2026-10-05", 4)
    assert load_spec({**content, "home_size": 1}, defaults).home_size == 1
