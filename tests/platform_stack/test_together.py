"""The parts together: what one of them alone cannot promise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse, sections

if TYPE_CHECKING:
    from pulumi.runtime.mocks import MockResourceArgs

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


def test_h10_a_preview_of_an_empty_cluster_looks_nothing_up_that_is_not_there_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pulumi looks up at preview whatever has a name then: it would end there, and `up` be done in two phases."""
    from pulumi.runtime.mocks import set_mocks
    from pulumi.runtime.rpc import UNKNOWN

    import rehearsal

    class NotYet(rehearsal._StandIns):
        def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            return "", {key: value for key, value in args.inputs.items() if value is not None}

    looked_up: dict[str, str] = {}

    class Recorder(rehearsal._Recorder):
        def ReadResource(self, request: Any) -> Any:
            looked_up[request.name] = request.id
            return super().ReadResource(request)

    monkeypatch.setattr(rehearsal, "_StandIns", NotYet)
    monkeypatch.setattr(rehearsal, "_Recorder", Recorder)
    monkeypatch.setattr(rehearsal, "set_mocks", lambda *args, **more: set_mocks(*args, **{**more, "preview": True}))
    rehearsal.rehearse(sections())
    assert {"balancer", "postgres-authority"} <= looked_up.keys()
    assert {name: one for name, one in looked_up.items() if one != UNKNOWN} == {}


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
