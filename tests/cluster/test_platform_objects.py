"""Everything that the platform would make, offered to a real API server in every position of the switches."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster import kube
from tests.platform_stack import switches
from tests.platform_stack.conftest import sections
from tests.support import charts, custom_resources

pytestmark = pytest.mark.cluster

DEFINED_ELSEWHERE = {"monitoring.coreos.com"}
"""Groups whose definitions are not among those that tests read."""


@pytest.fixture
def namespace(cluster_target: dict[str, Any]) -> Iterator[str]:
    name = f"jhaas-dry-{secrets.token_hex(4)}"
    kube.kubectl("create", "namespace", name)
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false")


def test_a_real_api_server_takes_every_object(namespace: str) -> None:
    from rehearsal import rehearse

    define_custom_resources()
    found: dict[str, dict[str, Any]] = {}
    for case in switches.cases():
        for one in rehearse(sections(**switches.changes(case))).objects:
            if one.inputs["apiVersion"].partition("/")[0] not in DEFINED_ELSEWHERE:
                placed = put_in(namespace, one.inputs)
                found[json.dumps(placed, sort_keys=True)] = placed
    assert len(found) > 20
    # nothing is made: it answers what it would have made of them, or refuses them, unknown fields included
    answer = kube.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--field-manager=jhaas-trial", "--force-conflicts", "-f", "-"),
        stdin=yaml.safe_dump_all(found.values()),
    )
    assert answer.count("serverside-applied (server dry run)") == len(found)


def put_in(namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """The object in a namespace that exists; those of the platform do not, since nothing is made."""
    if "namespace" not in manifest["metadata"]:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def define_custom_resources() -> None:
    """The definitions of which objects of ours are; they stay, since others may use them by then."""
    for path in sorted(charts.folder("crds").glob("*.yaml")):
        kube.kubectl(
            *("apply", "--server-side", "--field-manager=jhaas-trial", "--force-conflicts", "-f", "-"),
            stdin=custom_resources.text(path),
        )
    kube.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
