"""The parts together: what one of them alone cannot promise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal


@pytest.fixture(scope="module")
def everything(rehearse: Rehearse) -> Rehearsal:
    return rehearse(mail={"host": "mail.example.org"})


def deployments(made: Rehearsal) -> list[Made]:
    return [one for one in made.of("Deployment") if one.name.startswith("jhaas-portal/")]


def test_h6_the_portals_address_is_a_plain_prefix(everything: Rehearsal) -> None:
    paths = [
        path
        for one in everything.of("Ingress")
        for rule in one.inputs["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert paths
    for path in paths:
        assert path["pathType"] == "Prefix"
        assert re.fullmatch(r"/[\w/-]*", path["path"])


def test_h13_migrations_run_before_the_new_version_serves(everything: Rehearsal) -> None:
    (prepare,) = [one for one in everything.of("Job") if one.name == "jhaas-portal/portal-prepare"]
    found = deployments(everything)
    assert {one.name.partition("/")[2] for one in found} == {"portal-web", "portal-worker", "portal-scheduler"}
    for one in found:
        assert prepare.urn in everything.before(one), one.name


def test_the_portal_comes_up_after_database_store_and_sign_in(everything: Rehearsal) -> None:
    stand = {one.name for one in everything.made if one.urn in everything.before(deployments(everything)[0])}
    assert {
        "jhaas-database/postgres-1",
        "jhaas-object-storage/silo",
        "jhaas-object-storage/setup",
        "authentik",
        "jhaas-identity/authentik-blueprint",
    } <= stand


def test_nothing_is_told_people_before_their_names_lead_here(rehearse: Rehearse) -> None:
    made = rehearse(certificates={"issuer": "letsencrypt"})
    certificates = made.of("cert-manager.io/v1:Certificate")
    asked = [one for one in certificates if one.inputs["spec"]["issuerRef"]["name"] == "jhaas"]
    assert asked
    # an authority outside counts failed proofs
    for one in asked:
        assert made.named("host-names").urn in made.before(one), one.name


def test_somebody_elses_parts_leave_nothing_of_ours_in_the_cluster(rehearse: Rehearse) -> None:
    chosen = {
        "ingress": "existing",
        "certificates": "existing",
        "database": "external",
        "object_storage": "external",
        "identity": "oidc",
        "shared_storage": "existing",
    }
    made = rehearse(**switches.changes(chosen))
    assert made.of("Release") == []
    namespaces = {one.inputs["metadata"]["name"] for one in made.of("Namespace")}
    assert namespaces == {"jhaas-portal"}
