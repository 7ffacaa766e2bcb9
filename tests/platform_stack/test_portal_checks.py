"""What the portal would refuse is refused at preview, by data: the platform imports nothing of the other packages."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, ValidationError, create_model

from course_stack.targets import TargetError, load_target
from portal.config import PortalSettings, is_secret
from tests.platform_stack.conftest import ROOT
from tests.support.changes import GONE, changed
from tools import platform_schemas

EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "examples/targets/cluster.yaml").read_text())


def test_nothing_of_the_other_packages_is_imported() -> None:
    ours = sorted((ROOT / "platform").glob("*.py"))
    assert len(ours) > 20
    for path in ours:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            assert {name.partition(".")[0] for name in names}.isdisjoint(
                {"portal", "automation", "course_stack", "tests", "tools", "benchmarks"}
            ), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("name", platform_schemas.SCHEMAS)
def test_the_schemas_are_those_of_the_models(name: str) -> None:
    assert (platform_schemas.FOLDER / f"{name}.json").read_text() == platform_schemas.text(name), "run: make schema"


def test_the_schemas_hold_no_setting_that_is_secret_and_no_value_of_any() -> None:
    from portal_checks import schema

    secret = {name for name, one in PortalSettings.model_fields.items() if is_secret(one.annotation)}
    assert {"secret_key", "smtp_password"} <= secret
    assert secret.isdisjoint(schema("portal_settings")["properties"])
    assert not [one for one in schema("portal_settings")["properties"].values() if "default" in one]


def refused_by_the_portal(content: dict[str, Any], folder: Path) -> bool:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        load_target(path)
    except TargetError:
        return True
    return False


def opening(**keys: Any) -> dict[str, Any]:
    return {"cluster.openings": [{"name": "licences", "ports": [443], **keys}]}


def notebook(**changes: float) -> dict[str, float]:
    return {"memory_guarantee": 2, "memory_limit": 2, "cpu_guarantee": 0.5, "cpu_limit": 0.5, **changes}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"capcity": {"memory": 1}}, "capcity: there is no such key (nearest: capacity)"),
    ({"name": "other"}, "name: there is no such key"),
    ({"home": "/srv"}, "home: there is no such key"),
    ({"kind": "local"}, "kind: 'local' is not allowed; allowed: 'kubernetes'"),
    ({"hub_domain": "https://hubs.example.org"}, "hub_domain: 'https://hubs.example.org' does not have its form, for"),
    ({"hub_port": 99999}, "hub_port: 99999 is not allowed; allowed: whole numbers from 1 to 65535"),
    ({"open": "ja"}, "open: 'ja' is not allowed; allowed: true, false"),
    ({"capacity": GONE}, "capacity is needed: How much a target has"),
    ({"capacity": 5}, "capacity: must have keys below it: memory, cpu, storage"),
    ({"capacity.cpu": 0}, "capacity.cpu: 0 is not allowed; allowed: numbers from 1"),
    ({"capacity.memory": "much"}, "capacity.memory: 'much' is not allowed; allowed: numbers from 1"),
    ({"capacity.memory": GONE}, "capacity.memory is needed: GiB that"),
    ({"capacity.gpus": {"nvidia": 1}}, "capacity.gpus: 'nvidia' is not allowed; allowed: 'nvidia.com/gpu', "),
    ({"object_store.kind": "gcs"}, "object_store.kind: 'gcs' is not allowed; allowed: 'seaweedfs', 'aws', 'minio'"),
    ({"cluster": GONE}, "cluster is needed: One Kubernetes cluster"),
    ({"cluster.egde": {}}, "cluster.egde: there is no such key (nearest: edge)"),
    ({"cluster.edge": {"kind": "ingres"}}, "cluster.edge.kind: 'ingres' is not allowed; allowed: gateway, ingress, "),
    ({"cluster.edge": {"tls": "edge"}}, "cluster.edge.kind is needed; allowed: gateway, ingress, none"),
    ({"cluster.edge": "ingress"}, "cluster.edge: must have keys below it, among them kind: gateway or ingress"),
    ({"cluster.edge": {"kind": "ingress", "tls": "all"}}, "cluster.edge.tls: 'all' is not allowed; allowed: 'none', "),
    ({"cluster.edge": {"kind": "ingress", "tls": "issuer"}}, "cluster.edge: cluster_issuer is needed where tls is"),
    ({"cluster.edge": {"kind": "ingress", "cluster_issuer": "x"}}, "cluster.edge: cluster_issuer is for tls: issuer"),
    ({"cluster.edge": {"kind": "gateway", "gateway": "a"}}, "cluster.edge.gateway_namespace is needed: Where it is."),
    ({"cluster.release_timeout": 5}, "cluster.release_timeout: 5 is not allowed; allowed: whole numbers from 60 to"),
    ({"cluster.storage_class": "Fast"}, "cluster.storage_class: 'Fast' does not have its form, for example fast-disks"),
    ({"cluster.images.helper": "a/b"}, "cluster.images.helper: 'a/b' does not have its form, for example "),
    ({"cluster.images.helper": "a/b:latest"}, "cluster.images.helper: 'a/b:latest' does not have its form"),
    ({"cluster.images.helper": 5}, "cluster.images.helper: 5 is no text; put it into quotes, for example"),
    ({"cluster.chart.chart": "oci://x/y"}, "cluster.chart: repository must be none where chart is an OCI address"),
    ({"cluster.chart.repository": None}, "cluster.chart: repository is needed where chart is neither"),
    ({"cluster.openings": "licences"}, "cluster.openings: must be a list, each entry on a line of its own"),
    (opening(), "cluster.openings.0: cidr or namespace is needed"),
    (opening(cidr="10.0.0.0/8", namespace="a"), "cluster.openings.0: only one of cidr and namespace may be given"),
    (opening(cidr="10.0.0.0"), "cluster.openings.0.cidr: '10.0.0.0' does not have its form, for example 10.0.0.0/8"),
    (opening(cidr="169.254.169.254/32", notebooks=True), "cluster.openings.0: notebooks never reach 169.254.169.254"),
    (opening(namespace="a", ports=[]), "cluster.openings.0.ports: needs at least 1 entries"),
    ({"defaults": {"hom_size": 1}}, "defaults.hom_size: there is no such key (nearest: home_size)"),
    ({"defaults": {"slug": "python"}}, "defaults.slug: there is no such key"),
    ({"defaults": {"home_size": 1000}}, "defaults.home_size: 1000 is not allowed; allowed: numbers from 0.25 to 100"),
    ({"defaults": {"resources": notebook(memory_limit=1)}}, "defaults.resources.memory_limit: 1 is less than memory_g"),
    (
        {"defaults": {"profiles": [{"name": "S", "resources": notebook(cpu_limit=0.25)}]}},
        "defaults.profiles.0.resources.cpu_limit: 0.25 is less than cpu_guarantee (0.5)",
    ),
    (
        {"defaults": {"culling": {"max_age_hours": 1000}}},
        "defaults.culling.max_age_hours: 1000 is not allowed; allowed: whole numbers from 1 to 336",
    ),
]


@pytest.mark.parametrize(("changes", "told"), MISTAKES, ids=[told.partition(" ")[0] for _, told in MISTAKES])
def test_what_the_portal_would_refuse_of_a_target_is_told_with_its_key_and_what_is_allowed(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    from portal_checks import target_problems

    content = changed(EXAMPLE, changes)
    assert refused_by_the_portal(content, tmp_path)
    problems = target_problems(content)
    assert any(one.startswith(told) for one in problems), problems


FITTING: list[dict[str, Any]] = [
    {},
    {"kind": "kubernetes"},
    {"cluster.edge": {"kind": "none"}},
    {"cluster.edge": {"kind": "gateway", "gateway": "a", "gateway_namespace": "b"}},
    {"cluster.edge": {"kind": "ingress", "tls": "issuer", "cluster_issuer": "x"}},
    {"cluster.edge": {"kind": "ingress", "tls": "edge", "cluster_issuer": None}},
    {"cluster.chart": {"chart": "/srv/charts/jupyterhub", "repository": None, "version": None}},
    {"cluster.chart": {"version": "4.4.1"}},
    {"cluster.images.helper": "registry.example.org:5000/a/b@sha256:" + "0" * 64},
    {"cluster.images.helper": "registry.example.org:5000/a/b:1.0"},
    {"cluster.storage_class": None},
    opening(namespace="licences", notebooks=True),
    opening(cidr="fd00::/8", namespace=None, hub=False),
    {"capacity.gpus": {"nvidia.com/gpu": 4}},
    {"defaults": {"resources": notebook()}},
    {"defaults": {"home_size": 2, "image": "quay.io/jupyter/scipy-notebook:2026-10-05", "profiles": [{"name": "S"}]}},
]


@pytest.mark.parametrize("changes", FITTING, ids=str)
def test_what_the_portal_takes_of_a_target_passes(changes: dict[str, Any], tmp_path: Path) -> None:
    from portal_checks import target_problems

    content = changed(EXAMPLE, changes)
    assert not refused_by_the_portal(content, tmp_path)
    assert target_problems(content) == []


VALUES = [0, 1, -1, 3, 2.5, 1000, 10**7, True, False, "soon", "3", "2.5", "1e3", "true", "7, 1", "7,x", float("nan")]


def taken_by_the_portal(name: str, value: Any) -> bool:
    """Whether a process would start with this value in its variable."""
    from portal_settings import _text

    field = PortalSettings.model_fields[name]
    alone: Any = {name: (field.annotation, field)}
    try:
        create_model("Setting", **alone).model_validate({name: _text(value)})
    except ValidationError:
        return False
    return True


def free() -> list[str]:
    from portal_settings import FREE

    return sorted(FREE)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_setting_passes_that_the_portal_would_not_start_with(value: Any) -> None:
    from portal_checks import setting_problems

    for name in free():
        if problems := setting_problems({name: value}):
            assert all(one.startswith(name) and "; allowed: " in one for one in problems)
        else:
            assert taken_by_the_portal(name, value), name


def test_each_setting_may_have_its_own_default() -> None:
    from portal_checks import setting_problems

    for name in free():
        default = PortalSettings.model_fields[name].default
        assert not isinstance(default, SecretStr)
        given = ",".join(map(str, default)) if isinstance(default, tuple) else default
        assert setting_problems({name: given}) == []
        assert setting_problems({name: str(given).lower()}) == []
