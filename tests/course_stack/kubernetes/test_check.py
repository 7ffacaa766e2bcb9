"""What a cluster lacks is said with what to do, and a probe leaves nothing."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from course_stack.kubernetes import probe as probes
from course_stack.kubernetes.api import Cluster
from course_stack.kubernetes.check import Finding, checks, needed_rights, worst
from course_stack.kubernetes.names import JOB_LABEL
from course_stack.kubernetes.probe import Probe
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import HELPER, cluster_target
from tests.support.fake_cluster import FakeCluster
from tests.support.pod_security import violations, without_requests

EDGE = {"kind": "ingress", "ingress_class": "traefik", "tls": "edge"}
READY = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "4"}}


class World(FakeCluster):
    """A cluster that has everything, and runs the pods of the probe at once; it enforces policies by making its client
    unready."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: set[str] = set()
        self.phases = {"server": "Running", "client": "Running"}
        self.enforces = True
        self.on_create = self.run
        self.add("nodes", "node-1", spec={}, status=READY)
        self.add("storageclasses", "nfs", provisioner="nfs.csi.k8s.io")
        default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
        self.add("storageclasses", "fast", provisioner="disk.csi", metadata=default)
        self.add("ingressclasses", "traefik", spec={})
        self.add("namespaces", "traefik")
        way = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        self.add("services", "traefik", "traefik", spec={}, status=way)

    def run(self, made: dict[str, Any]) -> None:
        if made["kind"] == "SelfSubjectAccessReview":
            asked = made["spec"]["resourceAttributes"]
            made["status"] = {"allowed": f"{asked['verb']} {asked['resource']}" not in self.forbidden}
        if made["kind"] == "Pod":
            name = made["metadata"]["name"]
            ready = {"type": "Ready", "status": str(name == "client")}
            phase = self.phases.get(name, "Succeeded")
            made["status"] = {"phase": phase, "podIP": "10.1.2.3", "conditions": [ready]}
        client = self.objects.get(("pods", "jhaas-probe", "client"))
        if made["kind"] == "NetworkPolicy" and self.enforces and client:
            client["status"]["conditions"] = [{"type": "Ready", "status": "False"}]

    def tried(self, content: dict[str, Any]) -> Any:
        self.on_try(content)
        return super().tried(content)

    def on_try(self, content: dict[str, Any]) -> None:
        """What is only tried."""


@pytest.fixture
def fake() -> World:
    return World()


def _found(
    cluster: Cluster,
    target: Target,
    address: str = "192.0.2.1",
    handshake: Callable[[str], object] = lambda _: None,
) -> dict[str, Finding]:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 10

    probe = Probe(cluster, target, sleep=sleep, monotonic=lambda: now)
    found = checks(
        cluster,
        target,
        probe=probe,
        resolve=lambda _: frozenset([address] if address else []),
        handshake=handshake,
    )
    return {one.about: one for one in found}


def test_a_cluster_that_has_everything_is_in_order_and_nothing_of_the_probe_stays(
    fake: World, cluster: Cluster
) -> None:
    found = _found(cluster, cluster_target(edge=EDGE))
    assert {about: one.text for about, one in found.items() if one.state != "ok"} == {}
    assert found["address"].text == "probe.hubs.example.org leads to 192.0.2.1: the edge"
    assert found["storage of homes"].text == "Class fast of disk.csi"
    assert worst(found.values()) == "ok"
    assert ("namespaces", "", "jhaas-probe") not in fake.objects


@pytest.mark.parametrize(
    ("cluster_fields", "about", "state", "text"),
    [
        ({"storage_class": "gold"}, "storage of homes", "fail", "There is no storage class gold"),
        ({"shared_class": "gold"}, "shared volumes", "fail", "There is no storage class gold"),
        ({"shared_class": None}, "shared volumes", "ok", "Off: courses"),
        ({"edge": {**EDGE, "ingress_class": "nginx"}}, "edge", "fail", "There is no ingress class nginx"),
        ({"edge": {**EDGE, "ingress_class": None}}, "edge", "fail", "no default ingress class; it has: traefik"),
        ({"edge": {**EDGE, "namespace": "ingress"}}, "edge's pods", "fail", "There is no namespace ingress"),
        ({"edge": {**EDGE, "tls": "none"}}, "certificates", "warn", "go in clear text"),
        (
            {"edge": {**EDGE, "tls": "issuer", "cluster_issuer": "le"}},
            "certificates",
            "fail",
            "There is no ClusterIssuer le",
        ),
        (
            {"edge": {"kind": "gateway", "gateway": "public", "gateway_namespace": "traefik"}},
            "edge",
            "fail",
            "There is no Gateway public in traefik",
        ),
        ({"edge": {"kind": "none"}}, "edge", "warn", "inside the cluster only"),
        ({"notebooks": {"node_selector": {"pool": "x"}}}, "nodes of notebooks", "fail", "None of 1 is ready"),
        ({"gpu": {"node_selector": {"gpu": "yes"}}}, "graphics processors", "warn", "no node offers one"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    fake: World, cluster: Cluster, cluster_fields: dict[str, Any], about: str, state: str, text: str
) -> None:
    one = _found(cluster, cluster_target(**{"edge": EDGE, **cluster_fields}))[about]
    assert one.state == state
    assert text in one.text
    assert state == "ok" or one.advice


def test_an_old_cluster_is_refused_and_one_that_does_not_answer_is_the_only_finding(
    fake: World, cluster: Cluster
) -> None:
    fake.answers["/version"] = {"major": "1", "minor": "27+"}
    assert _found(cluster, cluster_target(edge=EDGE))["version"].state == "fail"
    fake.refuse = lambda _method, _path: 401
    (only,) = _found(cluster, cluster_target(edge=EDGE)).values()
    assert (only.about, only.state) == ("connection", "fail")


@pytest.mark.parametrize(
    ("address", "state", "text"), [("", "warn", "leads nowhere"), ("192.0.2.9", "warn", "the edge is at 192.0.2.1")]
)
def test_where_hosts_lead_is_told_and_no_failure(
    fake: World, cluster: Cluster, address: str, state: str, text: str
) -> None:
    found = _found(cluster, cluster_target(edge=EDGE), address)
    assert found["address"].state == state
    assert text in found["address"].text
    assert worst(found.values()) == "warn"


def test_a_certificate_that_nobody_vouches_for_is_told_with_what_to_do(fake: World, cluster: Cluster) -> None:
    asked: list[str] = []

    def handshake(url: str) -> None:
        asked.append(url)
        if "id." in url:
            error = ssl.SSLCertVerificationError(1, "failed")
            error.verify_message = "unable to get local issuer certificate"
            raise error
        raise ConnectionRefusedError(111, "Connection refused")

    found = _found(cluster, cluster_target(edge=EDGE), handshake=handshake)
    # AWS itself has no address of its own to ask at
    assert asked == ["https://id.example.org", "https://probe.hubs.example.org/"]
    assert found["certificate of the sign-in"] == Finding(
        "certificate of the sign-in",
        "fail",
        "https://id.example.org shows one that nobody vouches for: unable to get local issuer certificate",
        "Give the certificate of who signed it: cluster.authority of the target.",
    )
    assert found["certificate of hubs"].state == "warn"
    assert "Connection refused" in found["certificate of hubs"].text


def test_hubs_that_get_a_certificate_each_are_not_asked_for_one_before(fake: World, cluster: Cluster) -> None:
    each = {**EDGE, "tls": "issuer", "cluster_issuer": "le"}
    assert "certificate of hubs" not in _found(cluster, cluster_target(edge=each))
    assert "certificate of hubs" not in _found(cluster, cluster_target(edge=EDGE), address="")


def test_rights_that_are_missing_are_listed(fake: World, cluster: Cluster) -> None:
    fake.forbidden = {"create namespaces", "list persistentvolumes"}
    found = _found(cluster, cluster_target(edge=EDGE))["rights"]
    assert (found.state, found.text) == ("fail", "We may not: create namespaces, list persistentvolumes")


def test_each_edge_needs_its_own_rights() -> None:
    def kinds(**edge: Any) -> set[str]:
        settings = cluster_target(edge=edge).cluster
        assert settings is not None
        return {resource for _, resource, _ in needed_rights(settings)}

    assert "ingresses" in kinds(**EDGE)
    assert "httproutes" in kinds(kind="gateway", gateway="g", gateway_namespace="n")
    assert not {"ingresses", "httproutes"} & kinds(kind="none")


def test_policies_that_are_not_enforced_are_told(fake: World, cluster: Cluster) -> None:
    fake.enforces = False
    found = _found(cluster, cluster_target(edge=EDGE))["network policies"]
    assert (found.state, found.text) == ("warn", "The cluster does not enforce NetworkPolicy")


def test_a_helper_image_that_does_not_run_ends_the_probe_and_nothing_stays(fake: World, cluster: Cluster) -> None:
    fake.phases["image"] = "Failed"
    found = _found(cluster, cluster_target(edge=EDGE))
    assert found["helper image"].state == "fail"
    assert HELPER in found["helper image"].text
    assert "network policies" not in found
    assert ("namespaces", "", "jhaas-probe") not in fake.objects


def test_a_namespace_that_a_check_left_is_removed_and_somebody_elses_is_not(fake: World, cluster: Cluster) -> None:
    fake.add("namespaces", "jhaas-probe", metadata={"labels": {JOB_LABEL: "probe"}})
    assert _found(cluster, cluster_target(edge=EDGE))["removal"].state == "ok"
    fake.add("namespaces", "jhaas-probe")
    found = _found(cluster, cluster_target(edge=EDGE))["probe"]
    assert (found.state, found.text) == ("fail", "There is a namespace jhaas-probe, which is not ours: remove it.")
    assert ("namespaces", "", "jhaas-probe") in fake.objects


def test_the_pods_of_the_probe_are_restricted_and_fit_into_the_quota(fake: World, cluster: Cluster) -> None:
    made: list[dict[str, Any]] = []
    before = fake.on_create

    def keep(one: dict[str, Any]) -> None:
        if one["kind"] == "Pod":
            made.append(json.loads(json.dumps(one)))
        before(one)

    fake.on_create = keep
    fake.on_try = made.append  # type: ignore[method-assign]
    _found(cluster, cluster_target(edge=EDGE))
    tried = {one["metadata"]["name"]: one["spec"] for one in made}
    assert tried.keys() == {"unsafe", "image", "home", "shared", "server", "client"}
    unsafe = tried.pop("unsafe")
    assert violations(unsafe)
    assert [violations(spec) + without_requests(spec) for spec in tried.values()] == [[]] * len(tried)
    assert probes.SLUG == "probe"
