"""The platform's own parts by the Pulumi CLI on a real cluster: made, unchanged by a second run, switched off, gone.

Charts are stand-ins (a folder each, with the values in a ConfigMap): what is tried is the way of configuration, order,
waiting and removal, which no mock knows.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import kube
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.test_by_hand import MISSING
from tests.platform_stack.conftest import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

PROGRAM = """
import pulumi

from certificates import certificates
from dns_records import dns_records
from ingress import ingress
from kubernetes_objects import cluster_provider
from shared_storage import shared_storage
from stack_file import ConfigError, of_pulumi

try:
    config = of_pulumi()
except ConfigError as error:
    raise pulumi.RunError(str(error)) from None
on = cluster_provider(config.cluster)
edge = ingress(config, on)
names = dns_records(config, on, edge)
certificates(config, on, edge, names)
shared_storage(config, on)
pulumi.export("address", edge.address)
"""
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "traefik"},
    "spec": {"ports": [{"port": 80}], "selector": {"app": "none"}},
}

WAITS = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "waits"},
    "spec": {
        "selector": {"matchLabels": {"app": "waits"}},
        "template": {
            "metadata": {"labels": {"app": "waits"}},
            "spec": {"containers": [{"name": "waits", "image": "registry.invalid/there-is-none:1"}]},
        },
    },
}
"""Of a chart, what Helm waits for without an end."""


def sections(folder: Path, context: str, mark: str) -> dict[str, Any]:
    """A platform of parts that need no images, under names with this mark; charts below the folder."""
    return {
        "site": {"portal_host": f"{mark}.example", "hub_domain": f"{mark}-hubs.example", "contact": "a@b.example"},
        "cluster": {"context": context, "release_timeout": 60},
        "ingress": {"exposure": "node-port", "address": "192.0.2.7"},
        "certificates": {"issuer": "existing", "cluster_issuer": "theirs", "namespace": f"{mark}-certificates"},
        "dns": {"records": "unchecked"},
        "shared_storage": {"kind": "nfs", "server": "nfs", "share": "/x", "storage_class": f"{mark}-shared"},
        "portal": {"image": "registry.example.org/portal:1"},
        "charts": {
            name.replace("-", "_"): {"chart": str(_chart(folder, name))}
            for name in ("traefik", "cert-manager", "csi-driver-nfs")
        },
    }


def _chart(folder: Path, name: str) -> Path:
    chart = folder / "charts" / name
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": name, "version": "1.0.0"}))
    values = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "values"}}
    (chart / "templates/values.yaml").write_text(
        yaml.safe_dump(values) + "data:\n  values: {{ toJson .Values | quote }}\n"
    )
    if name == "traefik":
        (chart / "templates/service.yaml").write_text(yaml.safe_dump(SERVICE))
    return chart


@pytest.fixture
def project(cluster_target: dict[str, Any], tmp_path: Path) -> Iterator[Project]:
    context = kube.kubectl("config", "current-context").strip()
    made = Project(tmp_path, sections(tmp_path, context, f"jhaas-{secrets.token_hex(3)}"))
    (tmp_path / "platform/__main__.py").write_text(PROGRAM)
    try:
        yield made
    finally:
        made.pulumi(*DESTROY)


def test_what_was_made_is_unchanged_by_a_second_run_and_goes_when_it_is_switched_off(project: Project) -> None:
    project.pulumi("preview")
    project.pulumi(*UP)
    assert '"192.0.2.7"' in project.pulumi("stack", "output", "--json")
    project.pulumi(*UP, "--expect-no-changes")
    values = yaml.safe_load(
        kube.kubectl("get", "configmap", "values", "-n", "traefik", "-o", "jsonpath={.data.values}")
    )
    assert values["service"]["spec"]["type"] == "NodePort"

    project.configure(shared_storage={"kind": "none"})
    project.pulumi(*UP)
    assert kube.show("storageclass", "-l", "app.kubernetes.io/part-of=jhaas-platform") == []

    project.pulumi(*DESTROY)
    assert kube.show("namespaces", "-l", "app.kubernetes.io/part-of=jhaas-platform") == []


def test_a_mistake_is_told_before_anything_is_touched(project: Project) -> None:
    project.configure(ingress={"replica": 3})
    told = project.pulumi(*UP, fails=True)
    assert "jhaas-platform:ingress.replica: there is no such key (nearest: replicas)" in told
    assert "Traceback" not in told
    assert kube.show("namespaces", "-l", "app.kubernetes.io/part-of=jhaas-platform") == []


def test_a_secret_is_taken_encrypted_and_refused_in_clear_text(project: Project) -> None:
    path = "jhaas-platform:mail.{}".format
    project.pulumi("config", "set", "--path", path("host"), "mail.example.org")
    project.pulumi("config", "set", "--path", path("user"), "jhaas")
    project.pulumi("config", "set", "--path", path("password"), "open-to-all")
    told = project.pulumi("preview", fails=True)
    assert "pulumi config set --secret --path 'jhaas-platform:mail.password'" in told
    project.pulumi("config", "set", "--secret", "--path", path("password"), "open-to-all")
    assert "open-to-all" not in project.pulumi("preview")


def test_a_cluster_without_a_load_balancer_is_told_what_to_set(project: Project) -> None:
    project.configure(ingress={})
    told = project.pulumi(*UP, fails=True)
    assert "Set jhaas-platform:ingress.exposure to node-port or host-port" in told


def test_host_names_are_waited_for_with_the_records_that_are_needed(project: Project) -> None:
    project.configure(dns={"wait_minutes": 1})
    told = project.pulumi(*UP, fails=True)
    assert f"{project.sections['site']['portal_host']}. A 192.0.2.7" in told
    assert "Make these records and run `pulumi up` again" in told
    assert "Traceback" not in told


def releases() -> dict[str, str]:
    """Last revision of each of Helm's releases → its status."""
    found = [one["metadata"]["labels"] for one in kube.show("secrets", "-A", "-l", "owner=helm")]
    return {one["name"]: one["status"] for one in sorted(found, key=lambda one: int(one["version"]))}


@pytest.mark.parametrize("begun", ["pending-install", "pending-upgrade"])
def test_a_run_that_was_killed_while_helm_worked_goes_on_as_the_guide_says(project: Project, begun: str) -> None:
    charts = project.sections["charts"]
    if begun == "pending-upgrade":
        project.pulumi(*UP)
        project.configure(charts={**charts, "traefik": {**charts["traefik"], "values": {"changed": True}}})
    waits = Path(charts["traefik"]["chart"]) / "templates/waits.yaml"
    waits.write_text(yaml.safe_dump(WAITS))
    project.killed(*UP, when=lambda: releases().get("traefik") == begun, what="Helm works")
    waits.unlink()
    assert "currently locked" in project.pulumi(*UP, fails=True)

    guide = (ROOT / "docs/platform.md").read_text()
    (block,) = re.findall(r"```console\n(\$ pulumi cancel\n.+?)```", guide, re.DOTALL)
    for line in block.splitlines():
        command = line.removeprefix("$ ")
        if "pulumi" in command:
            command += " --yes"
        project.bash(command)
    assert releases()["traefik"] == "deployed"
    # what a provider was told for one run is taken back by the next
    project.pulumi(*UP)
    project.pulumi(*UP, "--expect-no-changes")
