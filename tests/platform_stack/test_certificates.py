"""Who signs certificates, and in which order that comes about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse, sections


def objects(ingress_class: str | None = "traefik", **changes: Any) -> list[dict[str, Any]]:
    from certificates import issuer_objects
    from outputs import Edge
    from stack_file import parsed

    edge = Edge(ingress_class=ingress_class, namespace="traefik", annotations={}, address=None)
    return issuer_objects(parsed(sections(**changes)), edge)


def position(name: str) -> dict[str, Any]:
    return switches.SWITCHES["certificates"][name]


def acme(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = objects(**changes)[-1]["spec"]["acme"]
    return found


def test_an_authority_of_the_clusters_own_signs_where_no_other_is_wanted() -> None:
    begin, authority, issuer = objects()
    assert begin["spec"] == {"selfSigned": {}}
    assert authority["spec"]["isCA"] is True
    assert authority["spec"]["issuerRef"]["name"] == begin["metadata"]["name"]
    assert issuer["spec"] == {"ca": {"secretName": authority["spec"]["secretName"]}}


def test_what_an_authority_signed_goes_with_it_and_is_not_found_by_the_next_one(rehearse: Rehearse) -> None:
    (chart,) = [one for one in rehearse().of("Release") if one.name == "cert-manager"]
    assert chart.inputs["values"]["enableCertificateOwnerRef"] is True


def test_whoever_trusts_the_authority_once_goes_on_trusting_it() -> None:
    assert objects()[1]["spec"]["privateKey"]["rotationPolicy"] == "Never"


@pytest.mark.parametrize(
    ("issuer", "server"),
    [
        ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
        ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ],
)
def test_h9_the_authority_is_chosen_and_staging_is_one_of_them(issuer: str, server: str) -> None:
    given = {"issuer": issuer, **({"ca": switches.CERTIFICATE} if issuer == "letsencrypt-staging" else {})}
    assert acme(certificates=given)["server"] == server


def test_the_account_is_the_contacts_unless_another_address_is_given() -> None:
    assert acme(certificates={"issuer": "letsencrypt"})["email"] == "help@example.org"
    assert acme(certificates={"issuer": "letsencrypt", "email": "ca@example.org"})["email"] == "ca@example.org"


def test_an_answer_on_port_80_is_given_through_our_ingress_class() -> None:
    given = {"certificates": {"issuer": "letsencrypt"}}
    assert acme(**given)["solvers"] == [{"http01": {"ingress": {"ingressClassName": "traefik"}}}]
    assert acme(ingress_class=None, **given)["solvers"] == [{"http01": {"ingress": {}}}]


def test_an_account_of_the_university_signs_in_with_its_key() -> None:
    made = acme(**position("acme"))
    assert made["server"] == "https://acme.example.org/directory"
    assert made["externalAccountBinding"] == {
        "keyID": "university",
        "keySecretRef": {"name": "jhaas-dns", "key": "eab"},
    }


def test_names_are_proven_by_signed_updates_of_the_universitys_name_server() -> None:
    (solver,) = acme(**position("staging rfc2136"))["solvers"]
    assert solver["dns01"]["rfc2136"] == {
        "nameserver": "192.0.2.53",
        "tsigKeyName": "jhaas",
        "tsigAlgorithm": "HMACSHA256",
        "tsigSecretSecretRef": {"name": "jhaas-dns", "key": "tsig"},
    }


def test_hubs_may_lie_in_a_zone_of_their_own() -> None:
    portal, hubs = acme(**position("route53"))["solvers"]
    assert portal["dns01"]["route53"]["hostedZoneID"] == "Z123"
    assert hubs["dns01"]["route53"]["hostedZoneID"] == "Z456"
    assert hubs["selector"] == {"dnsZones": ["example-hubs.org"]}


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("selfsigned", True),
        ("http01", False),
        ("staging rfc2136", True),
        ("cloudflare", True),
        ("acme", False),
        ("existing", True),
    ],
)
def test_h9_all_hubs_share_a_wildcard_certificate_where_one_can_be_had(
    rehearse: Rehearse, name: str, has: bool
) -> None:
    made = rehearse(**position(name))
    wildcards = [one for one in made.of("cert-manager.io/v1:Certificate") if one.name == "traefik/hubs-wildcard"]
    assert [one.inputs["spec"]["dnsNames"] for one in wildcards] == ([["*.example-hubs.org"]] if has else [])


def test_a_controller_that_is_there_gets_a_wildcard_only_where_the_site_says_so(rehearse: Rehearse) -> None:
    theirs = {"kind": "existing", "namespace": "ingress"}

    def names(**certificates: Any) -> set[str]:
        made = rehearse(ingress=theirs, certificates={"issuer": "selfsigned", **certificates})
        return {one.name for one in made.of("cert-manager.io/v1:Certificate")}

    assert "ingress/hubs-wildcard" not in names()
    assert "ingress/hubs-wildcard" in names(wildcard=True)


def test_h8_an_issuer_is_made_when_cert_manager_is_ready_and_not_after_a_minute(rehearse: Rehearse) -> None:
    made = rehearse()
    (chart,) = [one for one in made.of("Release") if one.name == "cert-manager"]
    issuers = made.of("cert-manager.io/v1:ClusterIssuer")
    assert len(issuers) == 2
    for issuer in issuers:
        assert chart.urn in made.before(issuer)
        # and it counts as made when cert-manager says that it is ready
        assert issuer.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}


def test_the_check_of_the_webhook_runs_with_the_chart() -> None:
    from certificates import cert_manager_values
    from stack_file import parsed

    values = cert_manager_values(parsed(sections()))
    # the chart's hook is on unless it is switched off; without it the first issuer can come too early
    assert values["startupapicheck"].get("enabled", True) is True
    assert values["crds"] == {"enabled": True, "keep": True}


def test_cert_manager_that_is_there_is_not_installed_again(rehearse: Rehearse) -> None:
    made = rehearse(**position("existing"))
    assert [one for one in made.of("Release") if one.name == "cert-manager"] == []
    assert made.of("cert-manager.io/v1:ClusterIssuer") == []


def test_proofs_ask_the_resolvers_that_see_the_worlds_dns() -> None:
    from certificates import cert_manager_values
    from stack_file import parsed

    values = cert_manager_values(parsed(sections(**position("staging rfc2136"))))
    assert values["dns01RecursiveNameservers"] == "9.9.9.9:53"
    assert values["dns01RecursiveNameserversOnly"] is True
