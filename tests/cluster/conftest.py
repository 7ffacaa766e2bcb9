"""A cluster, the services that its pods need, and a target: see "Trials on a cluster" in docs/developing.md."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from course_stack.target import Target
from tests.cluster import kube
from tests.cluster.edge import edge, own_address, port_of
from tests.cluster.git_server import git_server
from tests.conftest import Machine, free_port

_SETTINGS = {
    # the product refuses settings with its prefix that it does not know: these are ours alone
    name: os.environ.pop(name, None)
    for name in ("JHAAS_TEST_TARGET", "JHAAS_TEST_IMAGE", "JHAAS_TEST_EDGE")
}


@dataclass(frozen=True)
class Trial:
    """Everything that a course on the cluster needs."""

    machine: Machine
    """Its target is the cluster's."""
    image: str
    """Of notebooks."""
    git: Path
    """Folder whose bare repositories pods find below `git_url`."""
    git_url: str

    @property
    def target(self) -> Target:
        return self.machine.target


@pytest.fixture(scope="session")
def cluster_target() -> dict[str, Any]:
    """The target file that JHAAS_TEST_TARGET names; without it, such tests are skipped. Mark them `cluster`."""
    path = _SETTINGS["JHAAS_TEST_TARGET"]
    if path is None:
        pytest.skip("JHAAS_TEST_TARGET names no target: there is no cluster to try")
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH")
    content: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    kube.kubectl("version")
    return content


@pytest.fixture(scope="session")
def trial(
    cluster_target: dict[str, Any], machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    """The machine's services, reached from the cluster's pods, and the target, reached from here."""
    given = {name: value for name, value in cluster_target.items() if name in Target.model_fields}
    host, people = own_address(), free_port()
    local, git = machine.target, tmp_path_factory.mktemp("git")
    assert local.identity.internal_url is not None
    assert local.object_store.endpoint is not None
    with git_server(git) as git_port:
        behind = [port_of(local.identity.internal_url), port_of(local.object_store.endpoint), git_port]
        identity, store, repositories = ports = [free_port() for _ in behind]
        address = f"http://{host}"
        opening = {"name": "the trial's services", "cidr": f"{host}/32", "ports": ports, "notebooks": True}
        cluster = {**given["cluster"], "openings": [*given["cluster"].get("openings", ()), opening]}
        if cluster.get("edge", {}).get("kind", "ingress") == "ingress":
            cluster["edge"] = {**cluster.get("edge", {}), "tls": "none", "cluster_issuer": None}
        target = Target.model_validate(
            {
                **given,
                "hub_domain": "localhost",
                "hub_scheme": "http",
                "hub_port": people,
                "identity": {**local.identity.model_dump(), "internal_url": f"{address}:{identity}"},
                "object_store": {**local.object_store.model_dump(), "endpoint": f"{address}:{store}"},
                "cluster": cluster,
            }
        )
        ways = {(host, port): to for port, to in zip(ports, behind, strict=True)}
        ingress_class = cluster.get("edge", {}).get("ingress_class")
        image = _SETTINGS["JHAAS_TEST_IMAGE"] or cluster["images"]["helper"]
        with edge(tmp_path_factory.mktemp("edge"), people, ways, _SETTINGS["JHAAS_TEST_EDGE"], ingress_class):
            yield Trial(replace(machine, target=target), image, git, f"{address}:{repositories}")
