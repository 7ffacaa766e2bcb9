"""The portal in the cluster: settings that it knows, pods that hold only what they need, an order that works."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pulumi
import pytest
import yaml
from sqlalchemy import make_url

from automation.settings import StateSettings, check_environment
from course_stack.spec.fields import RESERVED_SLUGS
from course_stack.target import ObjectStoreTarget
from course_stack.targets import TargetFile, load_target
from portal.config import PortalSettings, is_secret, load, variable
from portal.worker.main import GRACE, PATIENCE
from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Rehearse

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

NAMESPACE = "jhaas-portal"
PROCESSES = ("portal-web", "portal-worker", "portal-scheduler")
CAPACITY = {"memory": 512, "cpu": 128, "storage": 5000}
POSITIONS = [
    {},
    *(
        switches.SWITCHES[switch][position]
        for switch, position in (
            ("ingress", "existing"),
            ("certificates", "http01"),
            ("database", "external"),
            ("object_storage", "external"),
            ("identity", "authentik open"),
            ("identity", "oidc with an API"),
            ("mail", "starttls"),
            ("shared_storage", "nfs"),
            ("portal", "private image"),
        )
    ),
]


def of_kind(made: Rehearsal, kind: str) -> dict[str, Made]:
    """Objects of the portal's namespace, by name."""
    return {
        one.inputs["metadata"]["name"]: one
        for one in made.objects
        if one.inputs["kind"] == kind and one.inputs["metadata"].get("namespace") == NAMESPACE
    }


def pod_of(made: Rehearsal, name: str) -> dict[str, Any]:
    found = {**of_kind(made, "Deployment"), **of_kind(made, "Job")}[name].inputs["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


def secret(made: Rehearsal, name: str) -> dict[str, str]:
    found: dict[str, str] = of_kind(made, "Secret")[name].inputs["stringData"]
    return found


def mounted(made: Rehearsal, pod: Mapping[str, Any]) -> dict[str, str]:
    """Files that the pod's main container finds: path → content. Folders to write in are left out."""
    volumes = {one["name"]: one for one in pod["volumes"]}
    maps = {name: one.inputs.get("data", {}) for name, one in of_kind(made, "ConfigMap").items()}
    found: dict[str, str] = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        volume = volumes[mount["name"]]
        sources = volume.get("projected", {}).get("sources", [volume])
        for source in sources:
            if "secret" in source:
                name = source["secret"].get("name") or source["secret"]["secretName"]
                if source["secret"].get("optional"):
                    continue
                content = secret(made, name)
            elif "configMap" in source:
                content = maps[source["configMap"]["name"]]
            else:
                continue
            (inner,) = source.values() if len(source) == 1 else [source.get("secret") or source["configMap"]]
            items = inner.get("items", [{"key": key, "path": key} for key in content])
            found |= {f"{mount['mountPath']}/{item['path']}": content[item["key"]] for item in items}
    return found


@pytest.fixture(scope="module")
def made(rehearse: Rehearse) -> Rehearsal:
    return rehearse()


# --- the settings are the portal's


@pytest.mark.parametrize("position", POSITIONS, ids=lambda one: next(iter(one), "least"))
def test_every_process_starts_with_the_settings_that_its_pod_has(
    rehearse: Rehearse, position: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is misspelt, missing or out of its bounds: the portal itself reads them, with the pod's files."""
    made = rehearse(**position)
    for name in (*PROCESSES, "portal-prepare"):
        pod = pod_of(made, name)
        given = environment(pod["containers"][0])
        files = mounted(made, pod)
        for key in [key for key, value in given.items() if value.startswith("/run/jhaas/secrets/")]:
            # the same file at a place of this machine
            path = tmp_path / given[key].removeprefix("/").replace("/", "-")
            # what stands for a password is shorter than one
            path.write_text(files[given[key]].ljust(64, "-"))
            given[key] = str(path)
        check_environment(given)
        with monkeypatch.context() as context:
            for key in [key for key in os.environ if key.startswith(("JHAAS_", "DATABASE_"))]:
                context.delenv(key)
            for key, value in given.items():
                context.setenv(key, value)
            settings = load()
            assert settings.public_url == "https://courses.example.org"
            assert settings.secret_key.get_secret_value().rstrip("-") in files.values()
            if name == "portal-worker":
                state = StateSettings.of_environment(given)
                assert state is not None
                assert state.url.startswith("s3://")


def test_settings_that_a_site_may_set_are_all_that_no_section_sets() -> None:
    import portal_settings

    fields = set(PortalSettings.model_fields)
    assert fields - {"former_secret_key"} == portal_settings.OURS | portal_settings.FREE
    assert set() == portal_settings.OURS & portal_settings.FREE
    assert not [name for name in portal_settings.FREE if is_secret(PortalSettings.model_fields[name].annotation)]
    assert {name: portal_settings.variable(name) for name in fields} == {name: variable(name) for name in fields}


def test_a_site_sets_more_of_the_portals_settings(rehearse: Rehearse) -> None:
    made = rehearse(portal={"settings": {"lead_working_days": 3, "allow_own_approval": True, "warn_days": "7,1"}})
    for name in PROCESSES:
        given = environment(pod_of(made, name)["containers"][0])
        assert given["JHAAS_LEAD_WORKING_DAYS"] == "3"
        assert given["JHAAS_ALLOW_OWN_APPROVAL"] == "true"
        assert given["JHAAS_WARN_DAYS"] == "7,1"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "lead_working_day",
            r"portal\.settings\.lead_working_day: this setting does not exist \(nearest: lead_working_days\)",
        ),
        ("smtp_host", r"portal\.settings\.smtp_host: this setting is said by another section"),
        ("secret_key", r"portal\.settings\.secret_key: this setting is said by another section"),
    ],
)
def test_h16_a_setting_that_would_have_no_effect_stops_the_preview(rehearse: Rehearse, name: str, why: str) -> None:
    with pytest.raises(pulumi.RunError, match=why):
        rehearse(portal={"settings": {name: "3"}})


def test_everybody_may_ask_where_the_site_says_so_and_no_mail_leaves_without_a_server(
    made: Rehearsal, rehearse: Rehearse
) -> None:
    assert environment(pod_of(made, "portal-web")["containers"][0])["JHAAS_TEACHERS_GROUP"] == "jhaas-teachers"
    assert environment(pod_of(made, "portal-worker")["containers"][0])["JHAAS_SMTP_HOST"] == ""
    open_to_all = rehearse(portal={"teachers_group": ""})
    assert environment(pod_of(open_to_all, "portal-web")["containers"][0])["JHAAS_TEACHERS_GROUP"] == ""


def test_h11_both_ways_of_encrypting_mail_reach_the_portal(rehearse: Rehearse) -> None:
    for position, port in (("starttls", "587"), ("tls", "465")):
        given = environment(pod_of(rehearse(**switches.SWITCHES["mail"][position]), "portal-worker")["containers"][0])
        assert (given["JHAAS_SMTP_TLS"], given["JHAAS_SMTP_PORT"]) == (position, port)


def test_addresses_are_believed_from_as_many_proxies_as_there_are(made: Rehearsal, rehearse: Rehearse) -> None:
    assert environment(pod_of(made, "portal-web")["containers"][0])["JHAAS_PROXIES"] == "1"
    behind = rehearse(ingress={"trusted_proxies": ["192.0.2.0/24"]})
    assert environment(pod_of(behind, "portal-web")["containers"][0])["JHAAS_PROXIES"] == "2"


# --- who holds which key


def test_web_and_scheduler_hold_no_key_of_cluster_store_or_identity_provider(made: Rehearsal) -> None:
    for name in ("portal-web", "portal-scheduler", "portal-prepare"):
        pod = pod_of(made, name)
        assert pod["automountServiceAccountToken"] is False
        assert pod["serviceAccountName"] == "portal"
        files = mounted(made, pod)
        assert not [path for path in files if "/credentials/" in path or "state-" in path or "smtp" in path]
        held = set(files.values())
        for secret_name in ("portal-credentials", "portal-worker"):
            assert held.isdisjoint(secret(made, secret_name).values()), (name, secret_name)


def test_only_the_migration_knows_the_owner_of_the_database(made: Rehearsal) -> None:
    owner = secret(made, "portal-owner")["database-url"]
    assert owner != secret(made, "portal-settings")["database-url"]
    for name in PROCESSES:
        assert owner not in mounted(made, pod_of(made, name)).values()
    assert owner in mounted(made, pod_of(made, "portal-prepare")).values()


def test_the_token_of_the_numbers_is_the_web_processes_own(made: Rehearsal) -> None:
    token = secret(made, "portal-settings")["metrics-token"]
    holders = [name for name in PROCESSES if token in mounted(made, pod_of(made, name)).values()]
    assert holders == ["portal-web"]


def test_a_workers_folder_of_credentials_has_the_files_that_course_stacks_read(made: Rehearsal) -> None:
    files = mounted(made, pod_of(made, "portal-worker"))
    folder = environment(pod_of(made, "portal-worker")["containers"][0])["JHAAS_CREDENTIALS_DIR"]
    assert set(json.loads(files[f"{folder}/identity.json"])) == {"token"}
    for name in ("object-store.json", "archives.json"):
        assert set(json.loads(files[f"{folder}/{name}"])) == {"access_key_id", "secret_access_key"}
    # a kubeconfig would go before the pod's own account
    assert f"{folder}/kubeconfig" not in files


def test_a_password_with_signs_of_an_address_does_not_change_the_address() -> None:
    from outputs import Login, Postgres
    from portal_settings import database_url

    async def built() -> str | None:
        login = Login("courses", "jhaas@campus", pulumi.Output.secret("p@ss/w:rd?#%"))
        postgres = Postgres("db.example.org", 5432, "verify-full", None, login, login, None)
        address = database_url(postgres, login)
        assert await address.is_secret()
        return await address.future()

    url = make_url(str(asyncio.run(built())))
    assert (url.username, url.password) == ("jhaas@campus", "p@ss/w:rd?#%")
    assert (url.host, url.port, url.database) == ("db.example.org", 5432, "courses")
    assert url.query == {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}


# --- the order


def test_h13_the_database_has_the_new_form_before_pods_of_the_new_version_start(made: Rehearsal) -> None:
    job = of_kind(made, "Job")["portal-prepare"]
    pod = pod_of(made, "portal-prepare")
    migrate = pod["initContainers"][-1]
    assert migrate["args"][:2] == ["portal", "migrate"]
    assert migrate["image"] == pod_of(made, "portal-web")["containers"][0]["image"]
    # and it tells the portal's role what that may do
    role = secret(made, "portal-settings")["database-url"].split("//")[1].split(":")[0]
    assert migrate["args"][2:] == ["--grant", role]
    for name in PROCESSES:
        assert job.urn in made.before(of_kind(made, "Deployment")[name])


def test_another_image_or_another_target_is_another_job(made: Rehearsal, rehearse: Rehearse) -> None:
    def job(one: Rehearsal) -> Any:
        return of_kind(one, "Job")["portal-prepare"].inputs["spec"]["template"]

    assert job(made) == job(rehearse())
    for portal in ({"image": "registry.example.org/jhaas/portal:2"}, {"target": {"capacity": CAPACITY}}):
        assert job(rehearse(portal=portal)) != job(made)


def test_a_secret_that_changes_starts_pods_anew(made: Rehearsal, rehearse: Rehearse) -> None:
    def hash_of(one: Rehearsal) -> str:
        template = of_kind(one, "Deployment")["portal-worker"].inputs["spec"]["template"]
        return str(template["metadata"]["annotations"]["jhaas.io/settings"])

    assert len(hash_of(made)) == 64
    with_mail = {**switches.SWITCHES["mail"]["starttls"]}
    other = {"mail": {**with_mail["mail"], "password": "another"}}
    assert hash_of(rehearse(**with_mail)) != hash_of(rehearse(**other))


# --- pods


def test_h20_containers_write_in_folders_of_their_own_and_nowhere_else(made: Rehearsal) -> None:
    for name in (*PROCESSES, "portal-prepare"):
        pod = pod_of(made, name)
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, container["name"]
        given = environment(pod["containers"][0])
        writable = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if not one.get("readOnly")}
        wanted = [given["HOME"], given["JHAAS_HOME"], tempfile.gettempdir()]
        wanted += [str(Path(given[key]).parent) for key in ("PULUMI_HOME", "JHAAS_PULSE_FILE") if key in given]
        wanted += [given[key] for key in ("PROMETHEUS_MULTIPROC_DIR",) if key in given]
        assert set(wanted) <= writable, name


def test_a_worker_has_longer_to_end_than_its_work_has_to_stop(made: Rehearsal) -> None:
    assert pod_of(made, "portal-worker")["terminationGracePeriodSeconds"] >= PATIENCE + GRACE + 10


def test_a_web_pod_goes_on_for_as_long_as_requests_may_take_to_end(made: Rehearsal) -> None:
    # the module itself starts a server where it is imported
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "portal/gunicorn.py").read_text(), re.MULTILINE)
    pod = pod_of(made, "portal-web")
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + int(graceful)


def test_probes_ask_at_addresses_that_the_portal_answers_to_anybody(made: Rehearsal) -> None:
    from portal.app import create_app
    from portal.web.access import Access, access_of

    app = create_app(
        PortalSettings(
            database_url="postgresql://nobody@127.0.0.1/none",
            secret_key="of this test and of nothing else at all",
            public_url="https://courses.example.org",
            oidc_issuer="https://login.example.org",
            oidc_client_id="portal",
            oidc_client_secret="of this test",
        )
    )
    routes = {rule.rule: rule.endpoint for rule in app.url_map.iter_rules()}
    container = pod_of(made, "portal-web")["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert access_of(app, routes[asked["path"]]) is Access.ANYBODY
        # a kubelet calls by the pod's address, which is not the portal's name
        assert app.test_client().get(asked["path"], headers={"Host": "10.0.0.7:8001"}).status_code in (200, 503)
    # a database that is away must not end web processes
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_a_process_that_hangs_is_told_from_one_that_goes_on(made: Rehearsal, tmp_path: Path) -> None:
    for name in ("portal-worker", "portal-scheduler"):
        pod = pod_of(made, name)
        (_, _, script) = pod["containers"][0]["livenessProbe"]["exec"]["command"]
        pulse = tmp_path / name
        told = environment(pod["containers"][0])["JHAAS_PULSE_FILE"]
        assert script.count(told) == 1

        def alive(script: str = script.replace(told, str(pulse))) -> bool:
            return subprocess.run(["sh", "-c", script], check=False, capture_output=True).returncode == 0

        assert not alive()
        pulse.touch()
        assert alive()
        os.utime(pulse, (0, 0))
        assert not alive()


def test_a_drained_node_leaves_a_web_pod(made: Rehearsal, rehearse: Rehearse) -> None:
    budget = of_kind(made, "PodDisruptionBudget")["portal-web"].inputs["spec"]
    web = of_kind(made, "Deployment")["portal-web"].inputs["spec"]
    assert budget["selector"]["matchLabels"] == web["selector"]["matchLabels"]
    assert web["replicas"] > budget["maxUnavailable"]
    # with one pod, it would keep its node from being drained for ever
    assert of_kind(rehearse(portal={"web_replicas": 1}), "PodDisruptionBudget") == {}


def test_what_a_pod_asks_for_fits_on_one_node_of_a_trial(rehearse: Rehearse) -> None:
    small = rehearse(portal={"web_replicas": 1, "worker_replicas": 1})
    asked = [
        container["resources"]["requests"] for name in PROCESSES for container in pod_of(small, name)["containers"]
    ]
    assert sum(int(one["cpu"].removesuffix("m")) for one in asked) <= 1000
    assert all(of_kind(small, "Deployment")[name].inputs["spec"]["replicas"] == 1 for name in PROCESSES)


# --- the way in, and who may call whom


def test_the_ingress_leads_to_the_port_on_which_web_processes_listen(made: Rehearsal) -> None:
    (rule,) = of_kind(made, "Ingress")["portal-web"].inputs["spec"]["rules"]
    assert rule["host"] == "courses.example.org"
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    service = of_kind(made, "Service")[path["backend"]["service"]["name"]].inputs["spec"]
    (port,) = service["ports"]
    assert port["name"] == path["backend"]["service"]["port"]["name"]
    deployment = of_kind(made, "Deployment")["portal-web"].inputs["spec"]["template"]
    assert service["selector"].items() <= deployment["metadata"]["labels"].items()
    (container,) = deployment["spec"]["containers"]
    numbers = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert environment(container)["JHAAS_WEB_BIND"] == f"0.0.0.0:{numbers[port['targetPort']]}"


def test_the_certificate_is_there_before_anybody_is_let_in(made: Rehearsal) -> None:
    way_in = of_kind(made, "Ingress")["portal-web"]
    (tls,) = way_in.inputs["spec"]["tls"]
    shown = of_kind(made, "Certificate")[tls["secretName"]]
    assert shown.inputs["spec"]["dnsNames"] == tls["hosts"] == ["courses.example.org"]
    assert shown.urn in made.before(way_in)


def test_nobody_gets_in_but_by_the_edge_and_web_pods_get_out_to_few(made: Rehearsal) -> None:
    policies = {name: one.inputs["spec"] for name, one in of_kind(made, "NetworkPolicy").items()}
    assert policies["default-deny"] == {
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [],
    }  # fmt: skip
    (entry,) = policies["portal-web"]["ingress"]
    (peer,) = entry["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "traefik"}
    for name in ("portal-web", "portal-scheduler", "portal-prepare"):
        for rule in policies[name]["egress"]:
            assert rule.get("to") or {one["port"] for one in rule["ports"]} <= {53, 443, 8443}, name
    # nobody calls these
    assert "Ingress" not in policies["portal-worker"]["policyTypes"]
    assert policies["portal-worker"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "portal-worker"}


def test_the_database_of_another_place_is_reached_at_its_port(rehearse: Rehearse) -> None:
    external = {"database": {**switches.SWITCHES["database"]["external"]["database"], "port": 6432}}
    made = rehearse(**external)
    rules = of_kind(made, "NetworkPolicy")["portal-scheduler"].inputs["spec"]["egress"]
    assert {"ports": [{"port": 6432, "protocol": "TCP"}]} in rules


def test_a_provider_of_the_sites_is_reached_at_its_port(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["identity"]["oidc with an API"])
    rules = of_kind(made, "NetworkPolicy")["portal-web"].inputs["spec"]["egress"]
    assert {"ports": [{"port": port, "protocol": "TCP"} for port in (443, 8443, 9000)]} in rules


def test_a_site_without_network_policies_has_none(rehearse: Rehearse) -> None:
    assert of_kind(rehearse(cluster={"network_policies": False}), "NetworkPolicy") == {}


# --- the cluster as a target, and the account that works there


def loaded(path: Path) -> TargetFile:
    kind = yaml.safe_load(path.read_text())["object_store"]["kind"]
    if kind not in get_args(ObjectStoreTarget.model_fields["kind"].annotation):
        pytest.xfail(f"course stacks cannot make keys at a store of kind {kind} yet")
    return load_target(path)


@pytest.mark.parametrize("position", POSITIONS, ids=lambda one: next(iter(one), "least"))
def test_the_cluster_is_a_target_that_the_portal_takes(
    rehearse: Rehearse, position: dict[str, Any], tmp_path: Path
) -> None:
    made = rehearse(**position)
    ((name, content),) = of_kind(made, "ConfigMap")["portal-targets"].inputs["data"].items()
    (tmp_path / name).write_text(content)
    found = loaded(tmp_path / name)
    assert found.name == "cluster"
    assert found.hub_url("python") == "https://python.example-hubs.org/"
    assert found.cluster is not None
    assert found.cluster.images.helper == "registry.example.org/jhaas/portal:1"
    given = environment(pod_of(made, "portal-worker")["containers"][0])
    for process in ("portal-worker", "portal-prepare"):
        files = mounted(made, pod_of(made, process))
        assert files[f"{given['JHAAS_TARGETS_DIR']}/{name}"] == content


def test_h1_hubs_are_below_their_own_domain_and_have_its_certificate(made: Rehearsal, rehearse: Rehearse) -> None:
    def edge(one: Rehearsal) -> dict[str, Any]:
        content = of_kind(one, "ConfigMap")["portal-targets"].inputs["data"]["cluster.yaml"]
        found: dict[str, Any] = yaml.safe_load(content)["cluster"]["edge"]
        return found

    assert edge(made)["tls"] == "edge"
    each = edge(rehearse(**switches.SWITCHES["certificates"]["http01"]))
    assert (each["tls"], each["cluster_issuer"]) == ("issuer", "jhaas")


def test_h1_the_setting_for_the_hubs_domain_decides_where_hubs_are(rehearse: Rehearse, tmp_path: Path) -> None:
    made = rehearse(site={"hub_domain": "campus-hubs.net"})
    content = of_kind(made, "ConfigMap")["portal-targets"].inputs["data"]["cluster.yaml"]
    (tmp_path / "cluster.yaml").write_text(content)
    assert loaded(tmp_path / "cluster.yaml").hub_url("python") == "https://python.campus-hubs.net/"
    (wildcard,) = [one for one in made.of("Certificate") if one.name == "traefik/hubs-wildcard"]
    assert wildcard.inputs["spec"]["dnsNames"] == ["*.campus-hubs.net"]
    # and nothing of the platform itself is there
    hosts = {rule["host"] for one in made.of("Ingress") for rule in one.inputs["spec"]["rules"]}
    assert hosts == {"courses.example.org"}


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [("external", "https://s3.example.org"), ("aws", None), ("bundled", "http://silo.jhaas-object-storage.svc:9000")],
)
def test_h3_courses_are_told_the_stores_address_that_holds_where_they_run(
    rehearse: Rehearse, kind: str, endpoint: str | None
) -> None:
    made = rehearse(**switches.SWITCHES["object_storage"][kind])
    assert target_of(made)["object_store"].get("endpoint") == endpoint
    # a name inside a cluster is that of a service in this very cluster
    services = {one.name for one in made.of("Service")}
    assert ("jhaas-object-storage/silo" in services) == (kind == "bundled")


def test_a_site_says_more_of_the_target_over_what_we_say(rehearse: Rehearse, tmp_path: Path) -> None:
    more = {"capacity": CAPACITY, "cluster": {"notebooks": {"node_selector": {"pool": "notebooks"}}}}
    made = rehearse(portal={"target": more})
    path = tmp_path / "cluster.yaml"
    path.write_text(of_kind(made, "ConfigMap")["portal-targets"].inputs["data"]["cluster.yaml"])
    found = loaded(path)
    assert found.capacity.memory == 512
    assert found.cluster is not None
    assert found.cluster.notebooks.node_selector == {"pool": "notebooks"}
    assert found.cluster.images.helper == "registry.example.org/jhaas/portal:1"


def test_without_what_courses_need_there_is_no_target_and_the_operator_is_told(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["identity"]["oidc"])
    assert of_kind(made, "ConfigMap")["portal-targets"].inputs.get("data", {}) == {}
    assert any("identity.kind: authentik" in message for message in made.messages)


def test_workers_have_the_rights_that_an_account_for_courses_has_and_no_other(made: Rehearsal) -> None:
    """The same file as for a cluster of its own: rights are told in one place."""
    pod = pod_of(made, "portal-worker")
    account = f"system:serviceaccount:{NAMESPACE}:{pod['serviceAccountName']}"
    example = list(yaml.safe_load_all((ROOT / "examples/cluster/rights.yaml").read_text()))
    (role,) = [one for one in made.objects if one.inputs["kind"] == "ClusterRole"]
    assert role.inputs["rules"] == next(one["rules"] for one in example if one["kind"] == "ClusterRole")
    (binding,) = [one for one in made.objects if one.inputs["kind"] == "ClusterRoleBinding"]
    assert binding.inputs["subjects"] == [
        {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": NAMESPACE}
    ]
    (policy,) = [one for one in made.objects if one.inputs["kind"] == "ValidatingAdmissionPolicy"]
    expressions = {one["name"]: one["expression"] for one in policy.inputs["spec"]["matchConditions"]}
    assert expressions["this-account"] == f'request.userInfo.username == "{account}"'
    assert pod["automountServiceAccountToken"] is True
    # no token outlives its pod
    assert not [one for one in made.of("core/v1:Secret") if "service-account-token" in one.inputs.get("type", "")]
    # held down before it can work
    assert policy.urn in made.before(of_kind(made, "Deployment")["portal-worker"])


def test_the_portals_namespace_can_be_no_courses() -> None:
    assert NAMESPACE.removeprefix("jhaas-") in RESERVED_SLUGS


# --- what pods believe


def bundled(made: Rehearsal, name: str, authorities: Mapping[str, str], tmp_path: Path) -> str:
    """What the pod's first container writes, run here on files of this test."""
    pod = pod_of(made, name)
    (trust,) = [one for one in pod["initContainers"] if one["name"] == "trust"]
    script = trust["command"][-1]
    for place in ("/etc/ssl/certs", "/run/jhaas/authorities", "/run/jhaas/trust"):
        here = tmp_path / place.removeprefix("/")
        here.mkdir(parents=True, exist_ok=True)
        script = script.replace(place, str(here))
    (tmp_path / "etc/ssl/certs/ca-certificates.crt").write_text("public\n")
    for file, content in authorities.items():
        (tmp_path / "run/jhaas/authorities" / file).write_text(content)
    subprocess.run(["sh", "-euc", script], check=True)
    return (tmp_path / "run/jhaas/trust/bundle.crt").read_text()


def test_with_certificates_that_only_this_cluster_knows_pods_believe_them(made: Rehearsal, tmp_path: Path) -> None:
    for name in ("portal-web", "portal-worker"):
        given = environment(pod_of(made, name)["containers"][0])
        assert given["SSL_CERT_FILE"] == given["AWS_CA_BUNDLE"] == "/run/jhaas/trust/bundle.crt"
    # whoever signed the database's certificate vouches for nothing else
    found = bundled(made, "portal-web", {"edge.crt": "edge\n", "database.crt": "database\n"}, tmp_path)
    assert found == "public\nedge\n"


def test_a_certificate_of_nobody_known_is_not_waited_for(made: Rehearsal, tmp_path: Path) -> None:
    assert bundled(made, "portal-worker", {}, tmp_path) == "public\n"


def target_of(made: Rehearsal) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(of_kind(made, "ConfigMap")["portal-targets"].inputs["data"]["cluster.yaml"])
    return found


def test_courses_believe_whom_the_portal_believes(made: Rehearsal, rehearse: Rehearse, tmp_path: Path) -> None:
    """Hubs, notebooks and Jobs are told of the same authorities, without the public ones."""
    assert target_of(made)["cluster"]["authority"] == "/run/jhaas/trust/authority.crt"
    bundled(made, "portal-worker", {"edge.crt": "edge\n", "store.crt": "store\n", "site.crt": "site\n"}, tmp_path)
    assert (tmp_path / "run/jhaas/trust/authority.crt").read_text() == "store\nsite\nedge\n"
    mounts = {one["mountPath"] for one in pod_of(made, "portal-worker")["containers"][0]["volumeMounts"]}
    assert "/run/jhaas/trust" in mounts
    known = rehearse(**switches.SWITCHES["certificates"]["http01"])
    assert "authority" not in target_of(known)["cluster"]


def test_an_authority_of_the_sites_own_is_believed_by_portal_and_courses(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["certificates"]["staging rfc2136"])
    for name in ("portal-web", "portal-worker"):
        assert mounted(made, pod_of(made, name))["/run/jhaas/authorities/site.crt"] == switches.CERTIFICATE
        assert environment(pod_of(made, name)["containers"][0])["SSL_CERT_FILE"] == "/run/jhaas/trust/bundle.crt"
    assert target_of(made)["cluster"]["authority"] == "/run/jhaas/trust/authority.crt"


def test_without_its_roots_staging_is_refused_nobody_could_sign_in(rehearse: Rehearse) -> None:
    with pytest.raises(pulumi.RunError, match=r"certificates.*ca is needed where issuer is letsencrypt-staging"):
        rehearse(certificates={"issuer": "letsencrypt-staging"})


def test_at_aws_courses_are_told_of_the_boundary_of_their_users(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["object_storage"]["aws"])
    boundary = "arn:aws:iam::123456789012:policy/courses-boundary"
    assert target_of(made)["object_store"]["permissions_boundary"] == boundary
    other = {"object_store": {"permissions_boundary": "arn:aws:iam::123456789012:policy/mine"}}
    made = rehearse(**switches.SWITCHES["object_storage"]["aws"], portal={"target": other})
    assert target_of(made)["object_store"]["permissions_boundary"].endswith("policy/mine")


def test_where_all_the_world_knows_who_signs_nothing_is_bundled(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["certificates"]["http01"])
    for name in PROCESSES:
        assert "SSL_CERT_FILE" not in environment(pod_of(made, name)["containers"][0])
        assert "initContainers" not in pod_of(made, name)


def test_images_are_fetched_with_the_registrys_keys_by_pods_and_courses_alike(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["portal"]["private image"])
    pull = of_kind(made, "Secret")["portal-registry"].inputs
    assert pull["type"] == "kubernetes.io/dockerconfigjson"
    assert "auths" in json.loads(pull["stringData"][".dockerconfigjson"])
    for name in (*PROCESSES, "portal-prepare"):
        assert pod_of(made, name)["imagePullSecrets"] == [{"name": "portal-registry"}]
    files = mounted(made, pod_of(made, "portal-worker"))
    assert files["/run/jhaas/credentials/registry.json"] == pull["stringData"][".dockerconfigjson"]
    assert yaml.safe_load(files["/run/jhaas/targets/cluster.yaml"])["cluster"]["images"]["pull_secret"] is True


def test_the_states_address_names_a_store_that_is_not_awss() -> None:
    from outputs import ObjectStore, Role, StoreBucket
    from portal_settings import state_url

    bucket = StoreBucket("state", Role("arn:aws:iam::1:role/workers"))
    store = ObjectStore(
        endpoint=None, region="eu-central-1", path_style=False, ca=None,
        state=bucket, archives=bucket, backups=None, courses=None, kind="aws",
    )  # fmt: skip
    assert state_url(store) == "s3://state"
    assert "?endpoint=http%3A%2F%2Fs3.example" in state_url(replace(store, endpoint="http://s3.example"))


def test_the_passphrase_of_the_courses_stacks_is_not_replaced_unasked(rehearse: Rehearse) -> None:
    kept = {one.name for one in rehearse().of("RandomPassword") if one.is_kept}
    assert kept == {"portal-state-passphrase"}
