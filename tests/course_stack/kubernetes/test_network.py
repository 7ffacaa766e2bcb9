"""Who reaches whom in a course on a cluster: the whole matrix, by our policies together with the chart's."""

from __future__ import annotations

from typing import Any

import pytest

from course_stack.kubernetes.manifests import placeholders
from course_stack.kubernetes.names import HUB, JOB_LABEL, NOTEBOOK, PROXY
from course_stack.kubernetes.network import network_policies
from course_stack.kubernetes.values import hub_values
from course_stack.spec import load_spec
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import cluster_target
from tests.course_stack.specs import course
from tests.support.network import Outside, Place, Pod, Policy, allowed, chart_policies

OURS = "jhaas-python-intro"
OTHER = "jhaas-biology"
ACCESS = "hub.jupyter.org/network-access-"


def hub_of(namespace: str) -> Pod:
    access = {f"{ACCESS}proxy-api": "true", f"{ACCESS}proxy-http": "true", f"{ACCESS}singleuser": "true"}
    return Pod(namespace, {**HUB, "release": namespace, **access}, "10.244.0.2", {"http": 8081})


def proxy_of(namespace: str) -> Pod:
    access = {f"{ACCESS}hub": "true", f"{ACCESS}singleuser": "true"}
    return Pod(namespace, {**PROXY, "release": namespace, **access}, "10.244.0.3", {"http": 8000, "api": 8001})


def notebook_of(namespace: str) -> Pod:
    labels = {**NOTEBOOK, "release": namespace, f"{ACCESS}hub": "true"}
    return Pod(namespace, labels, "10.244.0.4", {"notebook-port": 8888})


PLACES: dict[str, Place] = {
    "hub": hub_of(OURS),
    "proxy": proxy_of(OURS),
    "notebook": notebook_of(OURS),
    "job": Pod(OURS, {JOB_LABEL: "archive"}, "10.244.0.5"),
    "unknown pod of the course": Pod(OURS, {}, "10.244.0.6"),
    "other hub": hub_of(OTHER),
    "other proxy": proxy_of(OTHER),
    "other notebook": notebook_of(OTHER),
    "edge": Pod("traefik", {"app": "traefik"}, "10.244.1.1"),
    "dns": Pod("kube-system", {"k8s-app": "kube-dns"}, "10.244.1.2"),
    "stranger": Pod("default", {}, "10.244.1.3"),
    "cunning stranger": Pod("default", {f"{ACCESS}hub": "true", f"{ACCESS}proxy-api": "true"}, "10.244.1.4"),
    "database": Pod("postgres", {}, "10.244.1.5"),
    "node's cache of names": Outside("169.254.20.10"),
    "api": Outside("10.0.0.10"),
    "node": Outside("192.168.7.7"),
    "metadata": Outside("169.254.169.254"),
    "metadata v6": Outside("fd00:ec2::254"),
    "internet": Outside("93.184.216.34"),
    "internet v6": Outside("2606:2800:220:1::1"),
    "campus": Outside("10.20.30.40"),
    "campus beside": Outside("10.20.31.40"),
    "carrier": Outside("100.64.0.1"),
}


def policies(target: Target) -> dict[str, list[Policy]]:
    spec = load_spec(course())
    ours: list[Policy] = [*network_policies(spec.slug, target), *network_policies("biology", target)]
    values = hub_values(spec, target, placeholders())
    charts = [*chart_policies(values, OURS, OURS), *chart_policies(values, OTHER, OTHER)]
    return {"ours": ours, "ours and the chart's": [*ours, *charts]}


def may(target: Target, source: str, to: str, port: int, protocol: str = "TCP") -> bool:
    """By ours alone and with the chart's: they must agree."""
    answers = {allowed(found, PLACES[source], PLACES[to], port, protocol) for found in policies(target).values()}
    assert len(answers) == 1, f"the chart's policies change {source} → {to}:{port}"
    return answers.pop()


TARGET = cluster_target()

NEEDED = [
    ("edge", "proxy", 8000),
    ("proxy", "hub", 8081),
    ("proxy", "notebook", 8888),
    ("hub", "proxy", 8001),
    ("hub", "notebook", 8888),
    ("notebook", "hub", 8081),
    ("notebook", "internet", 443),
    ("notebook", "internet", 22),
    ("notebook", "internet v6", 443),
    ("hub", "api", 443),
    ("hub", "api", 6443),
    ("hub", "internet", 443),
    ("hub", "edge", 8443),
    ("job", "internet", 443),
]

FORBIDDEN = [
    ("notebook", "metadata", 80),
    ("notebook", "metadata v6", 80),
    ("notebook", "api", 443),
    ("notebook", "api", 6443),
    ("notebook", "node", 10250),
    ("notebook", "campus", 443),
    ("notebook", "carrier", 443),
    ("notebook", "other notebook", 8888),
    ("notebook", "other hub", 8081),
    ("notebook", "other proxy", 8000),
    ("notebook", "other proxy", 8001),
    ("notebook", "proxy", 8001),
    ("notebook", "notebook", 8888),
    ("notebook", "database", 5432),
    ("notebook", "stranger", 80),
    ("notebook", "edge", 8443),
    ("hub", "metadata", 80),
    ("hub", "database", 5432),
    ("hub", "internet", 25),
    ("hub", "other hub", 8081),
    ("hub", "other notebook", 8888),
    ("proxy", "internet", 443),
    ("proxy", "api", 443),
    ("proxy", "other notebook", 8888),
    ("stranger", "hub", 8081),
    ("stranger", "proxy", 8000),
    ("stranger", "notebook", 8888),
    ("cunning stranger", "hub", 8081),
    ("cunning stranger", "proxy", 8001),
    ("other hub", "proxy", 8001),
    ("other notebook", "hub", 8081),
    ("other proxy", "notebook", 8888),
    ("edge", "hub", 8081),
    ("edge", "proxy", 8001),
    ("edge", "notebook", 8888),
    ("internet", "proxy", 8000),
    ("node", "hub", 8081),
    ("unknown pod of the course", "hub", 8081),
    ("unknown pod of the course", "notebook", 8888),
    ("unknown pod of the course", "internet", 443),
    ("job", "hub", 8081),
    ("job", "notebook", 8888),
    ("job", "internet", 22),
    ("job", "metadata", 80),
]


@pytest.mark.parametrize(("source", "to", "port"), NEEDED)
def test_what_a_course_needs_is_open(source: str, to: str, port: int) -> None:
    assert may(TARGET, source, to, port)


@pytest.mark.parametrize(("source", "to", "port"), FORBIDDEN)
def test_everything_else_is_closed(source: str, to: str, port: int) -> None:
    assert not may(TARGET, source, to, port)


@pytest.mark.parametrize("source", ["hub", "proxy", "notebook", "job"])
def test_every_pod_asks_the_cluster_for_names_and_nobody_else(source: str) -> None:
    assert may(TARGET, source, "dns", 53, "UDP")
    assert may(TARGET, source, "dns", 53)
    assert not may(TARGET, source, "dns", 9153)
    assert may(TARGET, source, "node's cache of names", 53, "UDP")
    assert not may(TARGET, source, "campus", 53, "UDP")
    assert not may(TARGET, source, "metadata", 53, "UDP")


def test_the_chart_s_own_defaults_would_open_what_we_close() -> None:
    """The referee sees it: without our values the same matrix is another one."""
    found = [*network_policies("python-intro", TARGET), *chart_policies({}, OURS, OURS)]
    assert allowed(found, PLACES["hub"], PLACES["metadata"], 80)
    assert allowed(found, PLACES["stranger"], PLACES["proxy"], 8000)


@pytest.mark.parametrize(
    ("url", "place", "port"),
    [
        ("https://id.example.org", "internet", 443),
        ("https://id.example.org:8443", "campus", 8443),
        ("http://10.20.30.40:9000", "campus", 9000),
        ("http://server.postgres.svc:9000", "database", 9443),
        ("http://server.postgres.svc.cluster.local", "database", 8080),
    ],
)
def test_the_hub_reaches_the_identity_provider_wherever_it_is(url: str, place: str, port: int) -> None:
    target = _with(identity={"kind": "authentik", "url": "https://public.example.org", "internal_url": url})
    assert may(target, "hub", place, port)
    if place != "internet":
        assert not may(target, "notebook", place, port)


def test_an_identity_provider_at_an_address_opens_that_address_alone() -> None:
    target = _with(identity={"kind": "canaille", "url": "http://10.20.30.40:9000"})
    assert not may(target, "hub", "campus beside", 9000)
    assert not may(target, "hub", "campus", 9001)


def test_jobs_reach_the_object_store_and_nothing_beside_it() -> None:
    target = _with(object_store={"kind": "seaweedfs", "endpoint": "http://10.20.30.40:8333"})
    assert may(target, "job", "campus", 8333)
    assert not may(target, "job", "campus beside", 8333)
    assert not may(target, "job", "internet", 443)
    assert not may(target, "notebook", "campus", 8333)


def test_an_opening_lets_those_in_that_it_names() -> None:
    opening = {"name": "material", "cidr": "10.20.30.0/24", "ports": [443]}
    notebooks = cluster_target(openings=[{**opening, "hub": False, "notebooks": True}])
    assert may(notebooks, "notebook", "campus", 443)
    assert not may(notebooks, "notebook", "campus", 80)
    assert not may(notebooks, "notebook", "campus beside", 443)
    hubs = cluster_target(openings=[{**opening, "ports": [25]}])
    assert may(hubs, "hub", "campus", 25)
    assert not may(hubs, "notebook", "campus", 25)
    assert not may(hubs, "proxy", "campus", 25)


def test_an_opening_by_namespace_reaches_its_pods_only() -> None:
    target = cluster_target(
        openings=[{"name": "database", "namespace": "postgres", "ports": [5432], "notebooks": True}]
    )
    assert may(target, "notebook", "database", 5432)
    assert not may(target, "notebook", "stranger", 5432)


def test_no_opening_and_no_list_of_ranges_gives_notebooks_the_metadata_service() -> None:
    wide = {"name": "everything local", "cidr": "169.254.0.0/16", "ports": [80], "notebooks": True}
    target = cluster_target(openings=[wide], private_ranges=["10.0.0.0/8"])
    assert not may(target, "notebook", "metadata", 80)
    assert not may(target, "notebook", "metadata v6", 80)
    with pytest.raises(ValueError, match="hands out keys to the cloud"):
        cluster_target(openings=[{**wide, "cidr": "169.254.169.254/32"}])


def test_a_cluster_api_on_a_public_address_is_kept_from_notebooks_by_naming_it() -> None:
    assert may(TARGET, "notebook", "internet", 6443)
    target = cluster_target(private_ranges=["10.0.0.0/8", "93.184.216.34/32"])
    assert not may(target, "notebook", "internet", 6443)


def test_a_target_without_internet_gives_notebooks_none() -> None:
    target = cluster_target(private_ranges=["0.0.0.0/0", "::/0"])
    assert not may(target, "notebook", "internet", 443)
    assert not may(target, "notebook", "internet v6", 443)
    assert may(target, "notebook", "hub", 8081)


def test_an_edge_in_its_nodes_network_is_let_in_by_address() -> None:
    edge = {"kind": "ingress", "namespace": "ingress", "addresses": ["192.168.7.0/24"]}
    target = cluster_target(edge=edge)
    assert may(target, "node", "proxy", 8000)
    assert not may(target, "node", "hub", 8081)
    assert not may(target, "edge", "proxy", 8000)


def test_without_an_edge_the_proxy_is_open_to_all_and_nothing_else_is() -> None:
    target = cluster_target(edge={"kind": "none"})
    assert may(target, "stranger", "proxy", 8000)
    assert not may(target, "stranger", "hub", 8081)


def _with(**parts: Any) -> Target:
    return Target.model_validate({**TARGET.model_dump(), **parts})
