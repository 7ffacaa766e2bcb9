"""The whole program in every position of its switches: what it would make is valid, secret where it must be, and made
in an order that can work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Rehearse, sections
from tests.platform_stack.test_chart_keys import LOOKED_UP
from tests.support import charts, custom_resources, pod_security, schemas

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

CASES = switches.cases()

SCHEMAS = {
    "traefik": "traefik-41.3.0",
    "cert-manager": "cert-manager-1.21.1",
    "cloudnative-pg": "cloudnative-pg-0.29.0",
    "plugin-barman-cloud": "plugin-barman-cloud-0.7.0",
    "authentik": "authentik-2026.8.0",
}
"""Release → the chart's folder (`tests.support.charts`)."""
WITHOUT_SCHEMA = LOOKED_UP.keys()
"""Releases of charts whose keys are checked by their names (`test_chart_keys`)."""
DEFINED_BY = {
    "cert-manager.io": "cert-manager",
    "postgresql.cnpg.io": "cloudnative-pg",
    "barmancloud.cnpg.io": "plugin-barman-cloud",
    "monitoring.coreos.com": "kube-prometheus-stack",
}
"""API group → the release that brings its definitions, where it is one of ours."""
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}


@cache
def run(index: int) -> Rehearsal:
    from rehearsal import rehearse

    return rehearse(sections(**switches.changes(CASES[index])))


@pytest.fixture(params=range(len(CASES)), ids=[switches.name(case) for case in CASES])
def made(request: pytest.FixtureRequest) -> Rehearsal:
    return run(request.param)


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod's spec in a workload."""
    found: Any = manifest.get("spec", {})
    match manifest["kind"]:
        case "Pod":
            pass
        case "CronJob":
            found = found["jobTemplate"]["spec"]["template"]["spec"]
        case kind if kind in WORKLOADS:
            found = found["template"]["spec"]
        case _:
            found = None
    pod: dict[str, Any] | None = found
    return pod


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value, with its path; keys of mappings count."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{path}.{key}" if path else str(key)
            yield below, str(key)
            yield from texts(inner, below)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{path}.{index}")
    elif isinstance(value, str):
        yield path, value


def is_below(path: str, marked: frozenset[str]) -> bool:
    return any(path == one or path.startswith(f"{one}.") for one in marked)


def test_every_object_is_one_that_kubernetes_takes(made: Rehearsal) -> None:
    own = [one.inputs for one in made.objects if not custom_resources.is_custom(one.inputs)]
    assert own
    assert [problem for one in own for problem in schemas.problems(one)] == []


def test_every_custom_resource_is_one_that_its_definition_takes(made: Rehearsal) -> None:
    # the Prometheus operator's definitions are not among those that tests read
    known = set(DEFINED_BY) - {"monitoring.coreos.com"}
    custom = [one.inputs for one in made.objects if custom_resources.is_custom(one.inputs)]
    checked = [one for one in custom if one["apiVersion"].partition("/")[0] in known]
    assert [problem for one in checked for problem in custom_resources.problems(one)] == []
    assert {one["apiVersion"].partition("/")[0] for one in custom} <= set(DEFINED_BY)


def test_every_charts_values_are_ones_that_the_chart_takes(made: Rehearsal) -> None:
    for release in made.of("Release"):
        if release.name in WITHOUT_SCHEMA:
            continue
        chart = SCHEMAS[release.name]
        values = release.inputs.get("values", {})
        if chart.startswith("authentik"):
            assert charts.unknown(chart, values) == [], release.name
        else:
            assert charts.problems(chart, values) == [], release.name


def test_every_release_has_a_name_a_pin_and_a_deadline(made: Rehearsal) -> None:
    releases = made.of("Release")
    for release in releases:
        inputs = release.inputs
        assert inputs["name"] == release.name
        assert inputs["namespace"]
        # not a range of them, which would be another one tomorrow
        assert re.fullmatch(r"v?\d+\.\d+\.\d+([-+][\w.+-]+)?", inputs["version"]), inputs["version"]
        assert inputs["timeout"] >= 60
        assert inputs["maxHistory"] == 3
        assert inputs["cleanupOnFail"] is True
        assert not inputs.get("skipAwait")
        assert not inputs.get("createNamespace")
    assert len({release.name for release in releases}) == len(releases)


def test_every_image_has_a_version(made: Rehearsal) -> None:
    for one in made.objects:
        for path, text in texts(one.inputs):
            if path.endswith((".image", ".imageName")) and text not in ("image", "imageName"):
                # a tag without a number (`latest`, `main`) is moved
                assert re.search(r"(:[\w.-]*\d[\w.-]*|@sha256:[0-9a-f]{64})$", text), f"{one.name}: {text}"


def test_nothing_comes_from_projects_that_have_ended(made: Rehearsal) -> None:
    ended = ("bitnami", "ingress-nginx", "minio/minio", "quay.io/minio", "datashim", "nfs-server-provisioner")
    for one in made.made:
        for path, text in texts(one.inputs):
            if path.rpartition(".")[2] in {"image", "imageName", "repository", "repo", "registry", "chart"}:
                assert not any(name in text for name in ended), f"{one.name}: {path} {text}"


def test_secrets_are_marked_wherever_they_go(made: Rehearsal) -> None:
    for one in made.made:
        for path, text in texts(one.inputs):
            if switches.SECRET in text or "[secret: " in text:
                assert is_below(path, one.secrets), f"{one.type} {one.name}: {path} is not secret"


def test_what_is_in_a_secret_is_secret(made: Rehearsal) -> None:
    for one in made.of("core/v1:Secret"):
        for key in one.inputs.keys() & {"data", "stringData"}:
            assert is_below(key, one.secrets) or set(one.inputs[key]) == {
                path.removeprefix(f"{key}.") for path in one.secrets
            }, one.name


def test_no_secret_stands_in_a_config_map_a_command_or_an_environment(made: Rehearsal) -> None:
    for one in made.objects:
        if one.inputs["kind"] in WORKLOADS | {"ConfigMap"}:
            found = [path for path, text in texts(one.inputs) if switches.SECRET in text or "[secret: " in text]
            assert found == [], one.name
            assert not one.secrets, one.name


def test_secret_outputs_of_the_stack_are_secret(made: Rehearsal) -> None:
    for name, value in made.exports.items():
        if any(switches.SECRET in text or "[secret: " in text for _, text in texts({"": value})):
            assert name in made.secret_exports, name


def test_passwords_come_from_random_passwords_only(made: Rehearsal) -> None:
    # RandomBytes and RandomId show their value as their id
    assert {one.type for one in made.made if one.type.startswith("random:")} <= {
        "random:index/randomPassword:RandomPassword"
    }


def test_pods_of_ours_are_restricted_and_have_requests_and_limits(made: Rehearsal) -> None:
    pods = {one.name: pod for one in made.objects if (pod := pod_of(one.inputs))}
    assert {"jhaas-portal/portal-web", "jhaas-portal/portal-worker", "jhaas-portal/portal-scheduler"} <= pods.keys()
    for name, pod in pods.items():
        assert pod_security.violations(pod) == [], name
        assert pod_security.without_requests(pod) == [], name


ON_THE_NODES = {"csi-driver-nfs", "longhorn-system", "jhaas-monitoring"}
"""Namespaces whose charts mount or measure the nodes themselves; and Traefik's, where it takes their ports."""


def test_h20_pods_of_charts_are_held_to_the_same_unless_they_work_on_the_nodes(made: Rehearsal) -> None:
    for home in made.of("Namespace"):
        labels, name = home.inputs["metadata"]["labels"], home.inputs["metadata"]["name"]
        takes_ports = name == "traefik" and '"hostPort"' in json.dumps([one.inputs for one in made.of("Release")])
        free = name in ON_THE_NODES or takes_ports
        assert labels["pod-security.kubernetes.io/enforce"] == ("privileged" if free else "restricted"), name
        assert labels["pod-security.kubernetes.io/enforce-version"].startswith("v1.")


OF_THE_SITE = {"ingress"}
"""Namespaces that the cases' settings say are there."""


def test_nothing_is_made_before_its_namespace(made: Rehearsal) -> None:
    homes = {one.inputs["metadata"]["name"]: one.urn for one in made.of("Namespace")}
    for one in made.made:
        namespace = one.inputs.get("metadata", {}).get("namespace") or (
            one.inputs.get("namespace") if one.type.endswith(":Release") else None
        )
        if namespace is not None and not one.is_read:
            assert namespace in homes.keys() | OF_THE_SITE, one.name
        if namespace in homes:
            assert homes[namespace] in made.before(one), one.name


def test_h7_a_storage_class_that_is_made_is_the_one_that_courses_are_told_of(made: Rehearsal) -> None:
    made_here = {one.inputs["metadata"]["name"] for one in made.of("StorageClass")}
    files = [one.inputs.get("data", {}) for one in made.objects if one.name == "jhaas-portal/portal-targets"]
    told = [yaml.safe_load(file["cluster.yaml"])["cluster"].get("shared_class") for file in files if file]
    assert len(files) == 1
    assert not told or made_here <= {*told}


INSTALLED: dict[str, dict[str, dict[str, str]]] = {
    "ingress": {one: {"traefik": "traefik"} for one in ("load-balancer", "node-port", "host-port")},
    "certificates": {
        one: {"cert-manager": "cert-manager"} for one in switches.SWITCHES["certificates"] if one != "existing"
    },
    "database": {
        one: {"cloudnative-pg": "cnpg-system", "plugin-barman-cloud": "cnpg-system", "": "jhaas-database"}
        for one in ("bundled", "bundled without backups")
    }
    | {
        "rds": {"": "jhaas-database"},
    },
    "object_storage": {"bundled": {"": "jhaas-object-storage"}},
    "identity": {one: {"authentik": "jhaas-identity"} for one in ("authentik", "authentik open")},
    "monitoring": {"install": {"kube-prometheus-stack": "jhaas-monitoring"}},
    "shared_storage": {
        "nfs": {"csi-driver-nfs": "csi-driver-nfs"},
        "longhorn": {"longhorn": "longhorn-system"},
    },
}
"""Switch → position → the releases that it asks for, each with its namespace; `""`: a namespace of our own objects."""


@pytest.mark.parametrize("index", range(len(CASES)), ids=[switches.name(case) for case in CASES])
def test_h19_what_is_installed_is_what_was_chosen_and_nothing_else(index: int) -> None:
    chosen = [INSTALLED.get(switch, {}).get(position, {}) for switch, position in CASES[index].items()]
    releases = {(name, namespace) for one in chosen for name, namespace in one.items() if name}
    made = run(index)
    assert {(one.inputs["name"], one.inputs["namespace"]) for one in made.of("Release")} == releases
    homes = {namespace for one in chosen for namespace in one.values()} | {"jhaas-portal"}
    assert {one.inputs["metadata"]["name"] for one in made.of("Namespace")} == homes
    is_watched = CASES[index]["monitoring"] != "none"
    kinds = {one.inputs["kind"] for one in made.objects}
    assert ({"ServiceMonitor", "PrometheusRule"} <= kinds) == is_watched
    assert bool(kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}) == is_watched
    assert ("ClusterIssuer" in kinds) == (CASES[index]["certificates"] != "existing")
    assert ("StorageClass" in kinds) == (CASES[index]["shared_storage"] in ("nfs", "longhorn"))
    assert ("ScheduledBackup" in kinds) == (CASES[index]["database"] == "bundled")


def test_h19_without_network_policies_there_are_none(rehearse: Rehearse) -> None:
    assert rehearse().of("NetworkPolicy")
    assert rehearse(cluster={"network_policies": False}).of("NetworkPolicy") == []


def test_nothing_is_made_before_its_definition(made: Rehearsal) -> None:
    releases = {one.name: one.urn for one in made.of("Release")}
    for one in made.objects:
        release = DEFINED_BY.get(one.inputs["apiVersion"].partition("/")[0])
        if release in releases:
            assert releases[release] in made.before(one), one.name


def test_no_workload_is_made_before_the_secrets_and_files_that_it_reads(made: Rehearsal) -> None:
    there = {
        (one.inputs["kind"], one.inputs["metadata"]["namespace"], one.inputs["metadata"]["name"]): one.urn
        for one in made.objects
        if one.inputs["kind"] in ("Secret", "ConfigMap", "PersistentVolumeClaim", "ServiceAccount")
    }
    for one in made.objects:
        pod = pod_of(one.inputs)
        if pod is None:
            continue
        before = made.before(one)
        for kind, name in references(pod):
            urn = there.get((kind, one.inputs["metadata"]["namespace"], name))
            if urn is not None:
                assert urn in before, f"{one.name} before {kind} {name}"


def references(pod: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Secrets, files and claims that a pod reads: (kind, name)."""
    if account := pod.get("serviceAccountName"):
        yield "ServiceAccount", account
    for pull in pod.get("imagePullSecrets", ()):
        yield "Secret", pull["name"]
    for volume in pod.get("volumes", ()):
        yield from _sources(volume)
        for source in volume.get("projected", {}).get("sources", ()):
            yield from _sources(source)
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if key in source:
                    yield kind, source[key]["name"]
        for source in container.get("envFrom", ()):
            for key, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
                if key in source:
                    yield kind, source[key]["name"]


def _sources(volume: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "secret" in volume:
        yield "Secret", volume["secret"].get("secretName") or volume["secret"]["name"]
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"]
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


def test_everything_of_the_cluster_goes_to_the_context_that_was_named(made: Rehearsal) -> None:
    (provider,) = made.of("pulumi:providers:kubernetes")
    assert provider.inputs["context"] == "university"
    assert "kubeconfig" not in provider.inputs
    for one in made.made:
        if one.type.startswith("kubernetes:"):
            assert one.provider.startswith(provider.urn), one.name


def test_names_are_unique_and_every_run_is_the_same(made: Rehearsal) -> None:
    assert len({one.urn for one in made.made}) == len(made.made)


def test_the_program_makes_the_same_twice() -> None:
    from rehearsal import rehearse

    again = rehearse(sections(**switches.changes(CASES[0])))
    assert _shape(again) == _shape(run(0))


def _shape(made: Rehearsal) -> dict[str, tuple[Any, frozenset[str], frozenset[str]]]:
    def plain(one: Made) -> tuple[Any, frozenset[str], frozenset[str]]:
        return one.inputs, one.secrets, one.after

    return {one.urn: plain(one) for one in made.made}


def test_nothing_of_aws_is_imported_where_nothing_of_it_is_chosen(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'platform')!r})\n"
        "from rehearsal import rehearse\n"
        "rehearse(json.loads(sys.stdin.read()))\n"
        "print([name for name in sys.modules if name.startswith('pulumi_aws')])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(sections()),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout.strip() == "[]"
