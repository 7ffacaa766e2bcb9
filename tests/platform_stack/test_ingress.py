"""Traefik as hubs need it."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from tests.platform_stack.conftest import Rehearse, sections


def values(**changes: Any) -> dict[str, Any]:
    from config import TraefikIngress
    from ingress import traefik_values
    from stack_file import parsed

    config = parsed(sections(**changes))
    assert isinstance(config.ingress, TraefikIngress)
    return traefik_values(config, config.ingress)


def test_uploads_and_silent_notebooks_are_not_cut_off_after_a_minute() -> None:
    for port in ("web", "websecure"):
        timeouts = values()["ports"][port]["transport"]["respondingTimeouts"]
        assert timeouts == {"readTimeout": "3600s", "idleTimeout": "600s"}


def test_slashes_and_other_signs_in_names_of_files_pass() -> None:
    allowed = values()["ports"]["websecure"]["http"]["encodedCharacters"]
    assert allowed["allowEncodedSlash"] is True
    assert "allowEncodedNullCharacter" not in allowed


def test_nobody_passes_a_header_of_traefiks_under_a_name_that_servers_take_for_it() -> None:
    for port in ("web", "websecure"):
        assert values()["ports"][port]["http"]["underscoreHeadersStrategy"] == "delete"


def test_it_is_the_clusters_default_class_unless_told_otherwise() -> None:
    assert values()["ingressClass"] == {"enabled": True, "name": "traefik", "isDefaultClass": True}
    assert values(ingress={"default_class": False})["ingressClass"]["isDefaultClass"] is False


def test_nobody_is_served_without_encryption() -> None:
    redirection = values()["ports"]["web"]["http"]["redirections"]["entryPoint"]
    assert redirection == {"to": "websecure", "scheme": "https", "permanent": True}


def test_it_asks_nobody_outside_for_anything() -> None:
    assert values()["global"] == {"checkNewVersion": False, "sendAnonymousUsage": False}


def test_hubs_are_shown_the_wildcard_certificate_where_there_is_one() -> None:
    store = {"default": {"defaultCertificate": {"secretName": "hubs-wildcard"}}}
    assert values()["tlsStore"] == store
    assert "tlsStore" not in values(certificates={"issuer": "letsencrypt"})


def test_no_namespace_but_its_own_decides_which_certificate_is_shown_or_takes_anothers_routes() -> None:
    resources = values()["providers"]["kubernetesCRD"]
    assert (resources["defaultTLSResourcesNamespace"], resources["safeNaming"]) == ("traefik", True)


def test_the_address_is_what_the_load_balancer_says(rehearse: Rehearse) -> None:
    assert rehearse().exports["address"] == "192.0.2.1"


def test_the_load_balancer_is_asked_once_traefik_runs(rehearse: Rehearse) -> None:
    made = rehearse()
    service, traefik = made.named("balancer"), [one for one in made.of("Release") if one.name == "traefik"]
    assert service.is_read
    assert traefik[0].urn in made.before(service)


@pytest.mark.parametrize(
    ("status", "address"),
    [
        ({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}, "192.0.2.9"),
        ({"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}, "lb.example.org"),
        ({"loadBalancer": {"ingress": [{"ip": "", "hostname": "lb.example.org"}]}}, "lb.example.org"),
    ],
)
def test_a_load_balancer_has_an_address_or_a_name(status: dict[str, Any], address: str) -> None:
    from ingress import balancer_address

    assert balancer_address(status) == address


@pytest.mark.parametrize("status", [{}, {"loadBalancer": {}}, {"loadBalancer": {"ingress": []}}])
def test_without_a_load_balancer_it_is_said_what_to_set(status: dict[str, Any]) -> None:
    from ingress import balancer_address

    with pytest.raises(pulumi.RunError, match=r"ingress\.exposure to node-port or host-port"):
        balancer_address(status)


def test_on_the_ports_of_a_node_a_new_pod_waits_for_the_old_one_to_go() -> None:
    made = values(ingress={"exposure": "host-port", "address": "192.0.2.7"})
    assert (made["ports"]["web"]["hostPort"], made["ports"]["websecure"]["hostPort"]) == (80, 443)
    assert made["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert made["service"]["spec"] == {"type": "ClusterIP"}


def test_ingresses_say_where_they_are_reached_on_the_ports_of_a_node() -> None:
    def endpoint(address: str) -> Any:
        made = values(ingress={"exposure": "host-port", "address": address})
        return made["providers"]["kubernetesIngress"]["ingressEndpoint"]

    assert endpoint("192.0.2.7") == {"ip": "192.0.2.7"}
    assert endpoint("node.example.org") == {"hostname": "node.example.org"}


def test_only_ports_of_a_node_ask_for_more_than_restricted_pods(rehearse: Rehearse) -> None:
    def level(**ingress: Any) -> str:
        (home,) = [one for one in rehearse(ingress=ingress).of("Namespace") if one.name == "traefik"]
        found: str = home.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        return found

    assert level() == "restricted"
    assert level(exposure="node-port", address="192.0.2.7") == "restricted"
    assert level(exposure="host-port", address="192.0.2.7") == "privileged"


def test_a_controller_that_is_there_is_not_installed_again(rehearse: Rehearse) -> None:
    made = rehearse(ingress={"kind": "existing", "namespace": "ingress"})
    assert [one for one in made.of("Release") if one.name == "traefik"] == []
    assert "address" not in made.exports


def test_what_the_site_sets_in_the_chart_goes_before_what_we_set(rehearse: Rehearse) -> None:
    ours = {"values": {"image": {"registry": "mirror.example.org"}, "global": {"checkNewVersion": True}}}
    (traefik,) = [one for one in rehearse(charts={"traefik": ours}).of("Release") if one.name == "traefik"]
    assert traefik.inputs["values"]["image"] == {"registry": "mirror.example.org"}
    assert traefik.inputs["values"]["global"] == {"checkNewVersion": True, "sendAnonymousUsage": False}
