"""Authentik in the cluster: its chart's values, the objects beside it, and what the parts after it are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.platform_stack import blueprints
from tests.platform_stack.conftest import sections
from tests.support import charts, custom_resources, pod_security, schemas

if TYPE_CHECKING:
    from config import PlatformConfig
    from outputs import Edge, Issuer, Postgres
    from rehearsal import Rehearsal

CHART = "authentik-2026.8.0"
MAIL = {"host": "mail.example.org", "user": "jhaas", "password": "the-mail-password"}
SECRETS = {"AUTHENTIK_SECRET_KEY": "the-secret-key", "AUTHENTIK_POSTGRESQL__PASSWORD": "the-database-password"}


def config(**changes: Any) -> PlatformConfig:
    from stack_file import parsed

    return parsed(sections(**changes))


def postgres(**changes: Any) -> Postgres:
    from outputs import Login, Postgres

    any_login: Any = Login("authentik", "authentik", "the-database-password")  # type: ignore[arg-type]
    given = {"host": "db.example.org", "port": 5432, "sslmode": "verify-full", "ca": "the-ca"}
    return Postgres(**{**given, "portal": any_login, "portal_owner": any_login, "identity": any_login, **changes})


def edge() -> Edge:
    from outputs import Edge

    return Edge(ingress_class="traefik", namespace="jhaas-ingress", annotations={"a.example.org/b": "c"}, address=None)


def issuer() -> Issuer:
    from outputs import Issuer

    return Issuer(cluster_issuer="letsencrypt", wildcard=False, own=False)


def values(**changes: Any) -> dict[str, Any]:
    from identity_values import authentik_values

    return authentik_values(config(**changes), postgres(), edge(), issuer(), read_once="a-hash")


def environment(**changes: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in values(**changes)["global"]["env"]}


def objects(**changes: Any) -> list[dict[str, Any]]:
    from identity_objects import after_objects, before_objects

    chosen = config(**changes)
    before = before_objects(
        chosen,
        postgres(),
        edge(),
        settings=SECRETS,
        admin_password="the-admin-password",
        blueprints={"jhaas.yaml": "the-blueprint", "applied.yaml": "the-proof"},
        mails={"a.html": "a mail"},
    )
    return [*before, *after_objects(chosen, postgres(), blueprint_hash="a-hash")]


def test_the_chart_knows_every_key_and_gets_no_secret() -> None:
    for changes in ({}, {"mail": MAIL}, {"monitoring": {"rules": True}}, {"identity": {"server_replicas": 1}}):
        made = values(**changes)
        assert charts.unknown(CHART, made) == []
        assert "the-" not in str(made)


def test_the_chart_is_given_its_secrets_and_makes_none() -> None:
    made = charts.merged(CHART, values())
    assert made["authentik"]["existingSecret"]["secretName"] == "authentik-settings"
    assert made["postgresql"]["enabled"] is False
    assert made["serviceAccount"]["create"] is False
    secrets = {one["metadata"]["name"]: one["stringData"] for one in objects() if one["kind"] == "Secret"}
    assert secrets["authentik-settings"] == SECRETS


def test_only_the_worker_which_makes_the_first_admin_has_the_admins_password() -> None:
    made = charts.merged(CHART, values())
    assert made["worker"]["envFrom"] == [{"secretRef": {"name": "authentik-bootstrap"}}]
    assert made["global"]["envFrom"] == made["server"]["envFrom"] == []
    (bootstrap,) = [one for one in objects() if one["metadata"]["name"] == "authentik-bootstrap"]
    assert set(bootstrap["stringData"]) == {"AUTHENTIK_BOOTSTRAP_PASSWORD", "AUTHENTIK_BOOTSTRAP_EMAIL"}
    assert [one for one in objects() if "the-admin-password" in str(one)] == [bootstrap]
    # there is no token of the admin's at all
    assert "BOOTSTRAP_TOKEN" not in str(objects())


def test_it_says_where_it_is_and_tells_nobody_else_anything() -> None:
    told = environment()
    assert told["AUTHENTIK_WEB__BASE_URL"] == "https://login.courses.example.org"
    assert told["AUTHENTIK_ERROR_REPORTING__ENABLED"] == "false"
    assert told["AUTHENTIK_DISABLE_STARTUP_ANALYTICS"] == told["AUTHENTIK_DISABLE_UPDATE_CHECK"] == "true"


@pytest.mark.parametrize(
    ("tls", "use_tls", "use_ssl"), [("starttls", "true", "false"), ("tls", "false", "true"), ("none", "false", "false")]
)
def test_mail_that_goes_over_to_tls_is_not_mail_that_begins_with_it(tls: str, use_tls: str, use_ssl: str) -> None:
    told = environment(mail={"host": "mail.example.org", "port": 2525, "tls": tls})
    assert (told["AUTHENTIK_EMAIL__USE_TLS"], told["AUTHENTIK_EMAIL__USE_SSL"]) == (use_tls, use_ssl)


def test_mails_come_from_the_service_by_its_name() -> None:
    told = environment(mail=MAIL, site={**sections()["site"], "name": 'Kurse, "neu"'})
    assert told["AUTHENTIK_EMAIL__FROM"] == '"Kurse, \\"neu\\"" <help@example.org>'
    assert not any(name.startswith("AUTHENTIK_EMAIL") for name in environment())


def test_who_the_database_server_is_is_checked_as_the_site_says() -> None:
    from identity_values import environment as of

    for changes, wanted in (
        ({}, "/run/jhaas/database/ca.crt"),
        ({"ca": None}, "/etc/ssl/certs/ca-certificates.crt"),
        ({"ca": None, "sslmode": "require"}, None),
    ):
        assert of(config(), postgres(**changes)).get("AUTHENTIK_POSTGRESQL__SSLROOTCERT") == wanted


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("ghcr.io/goauthentik/server:2026.8.5", ("ghcr.io/goauthentik/server", "2026.8.5", "")),
        ("mirror.example.org:5000/authentik:1", ("mirror.example.org:5000/authentik", "1", "")),
        (
            f"mirror.example.org/authentik:1@sha256:{'a' * 64}",
            ("mirror.example.org/authentik", "1", f"sha256:{'a' * 64}"),
        ),
    ],
)
def test_the_job_runs_the_image_that_the_chart_runs(image: str, parts: tuple[str, str, str]) -> None:
    made = values(identity={"image": image})["global"]["image"]
    assert (made["repository"], made["tag"], made["digest"]) == parts
    (job,) = [one for one in objects(identity={"image": image}) if one["kind"] == "Job"]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_a_mirror_of_the_image_set_at_the_chart_holds_for_the_job_too() -> None:
    mirrored = {"authentik": {"values": {"global": {"image": {"repository": "mirror.example.org/authentik"}}}}}
    (job,) = [one for one in objects(charts=mirrored) if one["kind"] == "Job"]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror.example.org/authentik:2026.8.5"


def test_objects_are_ones_that_kubernetes_takes() -> None:
    made = objects(monitoring={"rules": True})
    own = [one for one in made if not custom_resources.is_custom(one)]
    assert [problem for one in own for problem in schemas.problems(one)] == []
    custom = [one for one in made if custom_resources.is_custom(one)]
    assert {one["kind"] for one in custom} == {"Issuer", "Certificate"}
    assert [problem for one in custom for problem in custom_resources.problems(one)] == []


def test_every_pod_is_restricted_and_has_no_token_of_the_cluster() -> None:
    made = values()
    for part in ("server", "worker"):
        pod = {
            "securityContext": made[part]["securityContext"],
            "containers": [{"name": part, "securityContext": made[part]["containerSecurityContext"]}],
        }
        assert pod_security.violations(pod) == []
        # the chart heeds the second for servers only beside the first
        assert made[part]["serviceAccountName"] == "authentik-pods"
        assert made[part]["automountServiceAccountToken"] is False
        assert set(made[part]["resources"]) == {"requests", "limits"}
    for one in objects():
        if one["kind"] in ("Job", "CronJob"):
            spec = one["spec"] if one["kind"] == "Job" else one["spec"]["jobTemplate"]["spec"]
            pod = spec["template"]["spec"]
            assert pod_security.violations(pod) == []
            assert pod_security.without_requests(pod) == []
            assert pod["automountServiceAccountToken"] is False
    (account,) = [one for one in objects() if one["kind"] == "ServiceAccount"]
    assert (account["metadata"]["name"], account["automountServiceAccountToken"]) == ("authentik-pods", False)


def test_nothing_secret_is_in_a_config_map_or_a_pod() -> None:
    for one in objects(mail=MAIL):
        if one["kind"] != "Secret":
            assert "the-" not in str(one), one["kind"]


def test_the_blueprint_is_applied_at_once_and_every_night() -> None:
    (job,) = [one for one in objects() if one["kind"] == "Job"]
    (nightly,) = [one for one in objects() if one["kind"] == "CronJob"]
    assert nightly["spec"]["jobTemplate"]["spec"] == job["spec"]
    assert nightly["spec"]["concurrencyPolicy"] == "Forbid"
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume.get("secret", volume.get("configMap")) for volume in pod["spec"]["volumes"]}
    assert set(mounts) == set(volumes)
    # Authentik looks for blueprints below /blueprints only
    assert container["args"][0] == "apply_blueprint"
    ours = [one for one in container["args"] if one.startswith("jhaas/")]
    assert ours == container["args"][-2:] == ["jhaas/jhaas.yaml", "jhaas/applied.yaml"]
    name = volumes["blueprint"]["secretName"]
    (mounted,) = [one for one in objects() if (one["kind"], one["metadata"]["name"]) == ("Secret", name)]
    assert {f"jhaas/{name}" for name in mounted["stringData"]} == set(ours)
    assert mounts["blueprint"] == "/blueprints/jhaas"
    assert mounts["signing"] == "/run/jhaas/signing"
    assert volumes["signing"]["secretName"] == "authentik-signing"
    # another blueprint is another Job
    assert pod["metadata"]["annotations"]["jhaas.io/blueprint"] == "a-hash"


def test_what_courses_need_of_authentiks_own_is_there_before_up_ends() -> None:
    """Its worker brings all that is its own at some time after its start; seen a second after `up` had ended."""
    from course_stack.identity.authentik import AUTHORIZATION_FLOW, INVALIDATION_FLOW

    (job,) = [one for one in objects() if one["kind"] == "Job"]
    applied = job["spec"]["template"]["spec"]["containers"][0]["args"]
    # its files are called as its flows are, but for the end of one
    flows = [f"default/flow-{name.removesuffix('-flow')}.yaml" for name in (AUTHORIZATION_FLOW, INVALIDATION_FLOW)]
    assert {"system/providers-oauth2.yaml", *flows} <= set(applied)


def test_a_worker_is_not_killed_because_its_node_is_busy() -> None:
    asked = {name: probe for name, probe in values()["worker"].items() if name.endswith("Probe")}
    assert len(asked) == 3
    assert all(probe["timeoutSeconds"] >= 20 for probe in asked.values())


def test_the_key_that_signs_tokens_is_renewed_in_time_and_brought_in_each_night() -> None:
    from tests.platform_stack.test_identity_blueprint import made

    (certificate,) = [one["spec"] for one in objects() if one["kind"] == "Certificate"]
    (issuer,) = [one for one in objects() if one["kind"] == "Issuer"]
    assert certificate["privateKey"]["rotationPolicy"] == "Always"
    assert certificate["privateKey"]["algorithm"] == "RSA"
    hours = [int(certificate[key].partition("h")[0]) for key in ("duration", "renewBefore")]
    # a month for nights in which the Job did not run
    assert hours[0] > hours[1] >= 24 * 30
    assert certificate["issuerRef"]["name"] == issuer["metadata"]["name"]
    (nightly,) = [one for one in objects() if one["kind"] == "CronJob"]
    assert nightly["spec"]["schedule"] == "17 3 * * *"
    pod = nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (mounted,) = [
        one["name"] for one in pod["volumes"] if one.get("secret", {}).get("secretName") == certificate["secretName"]
    ]
    (folder,) = [one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if one["name"] == mounted]
    (client,) = made().of("authentik_providers_oauth2.oauth2provider")
    key = made().by_id(client.attrs["signing_key"])
    files = {name: one.path for name, one in key.attrs.items()}
    assert files == {"certificate_data": f"{folder}/tls.crt", "key_data": f"{folder}/tls.key"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"identity": {"verify_email": "perhaps"}}, "identity.verify_email"),
        ({"identity": {"enrolment": "yes"}}, "identity.enrolment: 'yes' is not allowed"),
        ({"mail": {"host": "mail.example.org", "tls": True}}, "mail.tls: True is not allowed"),
        ({"identity": {"enrolment": "open"}}, "mail.host is needed"),
    ],
)
def test_a_switch_has_no_position_that_nobody_meant(changes: dict[str, Any], told: str) -> None:
    from stack_file import ConfigError

    with pytest.raises(ConfigError, match=re.escape(told)):
        config(**changes)
    # a no in quotes is a no
    said: Any = config(identity={"verify_email": "false"}).identity
    assert said.verify_email is False


def test_only_the_edge_gets_in() -> None:
    policies = [one["spec"] for one in objects() if one["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []} in policies
    peers = [peer for spec in policies for rule in spec["ingress"] for peer in rule["from"]]
    assert {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers} == {
        "jhaas-ingress"
    }
    assert not [one for one in objects(cluster={"network_policies": False}) if one["kind"] == "NetworkPolicy"]
    measured = [one for one in objects(monitoring={"rules": True}) if one["metadata"]["name"] == "authentik-metrics"]
    assert [rule["ports"][0]["port"] for one in measured for rule in one["spec"]["ingress"]] == [9300]


PROGRAM = """
import pulumi
from identity import identity
from kubernetes_objects import cluster_provider
from outputs import Edge, Issuer, Login, Names, Postgres
from stack_file import of_pulumi

config = of_pulumi()
login = Login("authentik", "authentik", pulumi.Output.secret("[secret: database]"))
told = identity(
    config,
    cluster_provider(config.cluster),
    Postgres("db.example.org", 5432, "require", None, login, login, login),
    Edge("traefik", "jhaas-ingress", {}, None),
    Issuer("letsencrypt", False, True),
    Names(),
)
for name in ("kind", "issuer", "url", "client_id", "client_secret", "api_key", "internal_url", "admin_password"):
    pulumi.export(name, getattr(told, name))
pulumi.export("ready", len(told.ready))
"""


def run(folder: Path, **changes: Any) -> Rehearsal:
    from rehearsal import rehearse

    program = folder / "program.py"
    program.write_text(PROGRAM)
    return rehearse(sections(**changes), program)


def test_people_can_sign_in_before_anything_after_it_is_made(tmp_path: Path) -> None:
    made = run(tmp_path)
    (job,), chart = made.of("batch/v1:Job"), made.named("authentik")
    before_job, before_chart = made.before(job), made.before(chart)
    assert chart.urn in before_job
    for one in made.of("core/v1:Secret") + made.of("core/v1:ConfigMap") + made.of("Certificate"):
        assert one.urn in before_chart, one.name
    # every resource but the provider, the component and the passwords
    kinds = {one.urn for one in made.objects} | {chart.urn}
    assert made.exports["ready"] == len(kinds)


def test_what_the_portal_is_told(tmp_path: Path) -> None:
    made = run(tmp_path)
    assert made.exports["kind"] == "authentik"
    # as the discovery document says, with the slash at its end
    assert made.exports["issuer"] == "https://login.courses.example.org/application/o/jhaas-portal/"
    assert made.exports["client_id"] == "jhaas-portal"
    assert made.secret_exports == {"client_secret", "api_key", "admin_password"}
    token = made.exports["api_key"]["token"]
    assert len({token, made.exports["client_secret"], made.exports["admin_password"]}) == 3
    (blueprint,) = [one for one in made.of("core/v1:Secret") if one.name.endswith("authentik-blueprint")]
    assert blueprint.secrets == {"stringData"}
    text = blueprint.inputs["stringData"]["jhaas.yaml"]
    assert made.exports["client_secret"] in text
    assert token in text
    assert made.exports["admin_password"] not in text


def test_a_provider_of_the_sites_is_told_on_and_nothing_is_made(tmp_path: Path) -> None:
    own = {"kind": "oidc", "issuer": "https://sso.example.org/realms/u", "client_id": "jhaas", "client_secret": "s"}
    made = run(tmp_path, identity=own)
    assert made.objects == made.of("Release") == made.of("random:index/randomPassword:RandomPassword") == []
    assert (made.exports["kind"], made.exports["issuer"], made.exports["client_id"]) == (
        "oidc",
        "https://sso.example.org/realms/u",
        "jhaas",
    )
    assert made.exports["client_secret"] == "s"
    assert made.secret_exports == {"client_secret"}
    assert "api_key" not in made.exports


def test_a_provider_of_the_sites_with_an_api_gives_courses_their_clients(tmp_path: Path) -> None:
    own = {
        "kind": "oidc",
        "issuer": "https://sso.example.org/application/o/jhaas/",
        "internal_url": "http://sso.campus:9000/",
        "client_id": "jhaas",
        "client_secret": "s",
        "courses": {"api": "authentik", "url": "https://sso.example.org/", "key": {"token": "t"}},
    }
    made = run(tmp_path, identity=own)
    told = [made.exports[name] for name in ("kind", "url", "internal_url", "api_key")]
    assert told == ["authentik", "https://sso.example.org", "http://sso.campus:9000", {"token": "t"}]
    assert made.secret_exports == {"client_secret", "api_key"}


def test_files_of_the_site_come_last_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    import pulumi

    own = tmp_path / "university.yaml"
    own.write_text("- model: authentik_core.group\n  identifiers: {name: !Context the_group}\n")
    given = {"sources": [str(own)], "source_secrets": {"the_group": "a group"}}
    made = run(tmp_path, identity=given)
    (blueprint,) = [one for one in made.of("core/v1:Secret") if one.name.endswith("authentik-blueprint")]
    entries = blueprints.read(blueprint.inputs["stringData"]["jhaas.yaml"]).entries
    assert entries[-1].identifiers == {"name": "a group"}
    with pytest.raises(pulumi.RunError, match=r"identity.sources: .*nowhere.yaml cannot be read"):
        run(tmp_path, identity={"sources": [str(tmp_path / "nowhere.yaml")]})
