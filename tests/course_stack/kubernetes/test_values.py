"""What the chart is told: always valid for it, never more than the course has, and secrets only where they are kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from course_stack import hub_files, sizes
from course_stack.cluster import ClusterTarget
from course_stack.hub_files.trust import AUTHORITY
from course_stack.hub_rules import CHECK_USER, PORTAL_SERVICE, lead_scopes, portal_scopes
from course_stack.kubernetes.chart import file, image
from course_stack.kubernetes.values import CONFIG_FOLDER, HubKeys, hub_values
from course_stack.names import CourseNames
from course_stack.sizes import Compute
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import HELPER, cluster_target, targets
from tests.course_stack.specs import course, specs
from tests.support import charts, pod_security
from tests.support.tls import Authority
from tests.support.z2jh import CHART

KEYS = HubKeys(
    client_id="jhaas-python-intro",
    client_secret="the-client-secret",
    authorize_url="https://id.example.org/authorize",
    token_url="https://id.example.org/token",
    userinfo_url="https://id.example.org/userinfo",
    issuer="https://id.example.org/",
    end_session_url="https://id.example.org/end",
    cookie_secret="c0" * 32,
    crypt_key="c1" * 32,
    proxy_token="c2" * 32,
    api_token="the-api-token",
)
FEW = settings(max_examples=25)
SECRETS = {
    "hub.config.CourseAuthenticator.client_secret": "the-client-secret",
    "hub.config.CryptKeeper.keys.0": "c1" * 32,
    "hub.cookieSecret": "c0" * 32,
    f"hub.services.{PORTAL_SERVICE}.apiToken": "the-api-token",
    "proxy.secretToken": "c2" * 32,
}


def values(target: Target | None = None, **changes: Any) -> dict[str, Any]:
    """The values of a course with these fields changed."""
    return hub_values(load_spec(course(**changes)), target or cluster_target(), KEYS)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping or list, with its path."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, below in pairs:
            yield from leaves(below, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


@FEW
@given(specs(), targets())
def test_values_are_valid_for_the_chart_whatever_the_course_and_the_cluster(spec: CourseSpec, target: Target) -> None:
    assert charts.problems(CHART, hub_values(spec, target, KEYS)) == []


@pytest.mark.parametrize("place", ["", "hub", "hub.db", "singleuser", "singleuser.storage", "proxy.chp", "ingress"])
def test_a_key_that_the_chart_does_not_know_is_found(place: str) -> None:
    made = values()
    at = made
    for part in filter(None, place.split(".")):
        at = at.setdefault(part, {})
    at["noSuchKey"] = 1
    assert any("noSuchKey" in problem for problem in charts.problems(CHART, made))


def _sizes(made: dict[str, Any]) -> Iterator[tuple[Compute, Compute]]:
    """Guarantee and limit of everything that runs, as the chart is told."""
    for container in (made["hub"], made["proxy"]["chp"]):
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        yield _written(requests), _written(limits)
    yield from (one for _, one in _notebooks(made))


def _written(amounts: dict[str, str]) -> Compute:
    return Compute(int(amounts["memory"].removesuffix("Mi")), int(amounts["cpu"].removesuffix("m")))


def _notebooks(made: dict[str, Any]) -> Iterator[tuple[dict[str, int], tuple[Compute, Compute]]]:
    """Graphics processors, guarantee and limit of each notebook that a person can choose."""
    single = made["singleuser"]
    if not single["profileList"]:
        memory, cpu = single["memory"], single["cpu"]
        yield {}, (_counted(memory["guarantee"], cpu["guarantee"]), _counted(memory["limit"], cpu["limit"]))
    for profile in single["profileList"]:
        chosen = profile["kubespawner_override"]
        guarantee = _counted(chosen["mem_guarantee"], chosen["cpu_guarantee"])
        gpus = chosen.get("extra_resource_limits", {})
        assert gpus == chosen.get("extra_resource_guarantees", {})
        yield gpus, (guarantee, _counted(chosen["mem_limit"], chosen["cpu_limit"]))


def _counted(memory: int, cores: float) -> Compute:
    assert memory % 2**20 == 0
    return Compute(memory // 2**20, round(cores * 1000))


@FEW
@given(specs(), targets())
def test_nothing_is_promised_more_than_it_may_use(spec: CourseSpec, target: Target) -> None:
    for guarantee, limit in _sizes(hub_values(spec, target, KEYS)):
        assert 0 < guarantee.memory_mib <= limit.memory_mib
        assert 0 < guarantee.cpu_millicores <= limit.cpu_millicores


@FEW
@given(specs(), targets())
def test_the_quota_has_room_for_everything_that_the_hub_may_start(spec: CourseSpec, target: Target) -> None:
    made, quota = hub_values(spec, target, KEYS), sizes.quota(spec)
    servers = made["hub"]["activeServerLimit"]
    core = [(_written(one["resources"]["requests"]), _written(one["resources"]["limits"])) for one in _core(made)]
    for gpus, (guarantee, limit) in _notebooks(made):
        together = guarantee * servers + core[0][0] + core[1][0], limit * servers + core[0][1] + core[1][1]
        for needed, allowed in zip(together, (quota.compute.guarantee, quota.compute.limit), strict=True):
            assert needed.memory_mib <= allowed.memory_mib
            assert needed.cpu_millicores <= allowed.cpu_millicores
        assert all(count * servers <= quota.gpus[kind] for kind, count in gpus.items())
    assert servers + len(core) <= quota.pods
    people = spec.seats + len(spec.leads) + sizes.SPARE_SERVERS
    home = int(made["singleuser"]["storage"]["capacity"].removesuffix("Mi"))
    database = int(made["hub"]["db"]["pvc"]["storage"].removesuffix("Mi"))
    assert people * home + database + sizes.shared_mib(spec) <= quota.storage_mib
    assert people + 1 + len(spec.shared_volumes) <= quota.volumes


def _core(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [made["hub"], made["proxy"]["chp"]]


@FEW
@given(specs(), targets())
def test_secrets_stand_only_where_the_chart_makes_secrets_of_them(spec: CourseSpec, target: Target) -> None:
    found = {
        path: value
        for path, value in leaves(hub_values(spec, target, KEYS))
        if any(secret in str(value) for secret in SECRETS.values())
    }
    assert found == SECRETS


def test_what_is_known_only_while_the_stack_comes_up_is_put_in_its_place_untouched() -> None:
    unknown: dict[str, Any] = {name: object() for name in HubKeys.__dataclass_fields__}
    made = hub_values(load_spec(course()), cluster_target(), HubKeys(**unknown))
    placed = [value for _, value in leaves(made) if type(value) is object]
    assert sorted(map(id, placed)) == sorted(map(id, unknown.values()))


def test_keys_show_no_secret() -> None:
    assert [secret for secret in SECRETS.values() if secret in repr(KEYS)] == []


def test_only_the_courses_group_gets_in_and_nobody_is_an_admin() -> None:
    hub = values()["hub"]
    sign_in = hub["config"]["CourseAuthenticator"]
    assert sign_in["allowed_groups"] == ["jhaas-python-intro"]
    assert not {"admin_users", "admin_groups", "allow_all", "allow_existing_users", "allowed_users"} & set(sign_in)
    assert hub["config"]["JupyterHub"]["admin_access"] is False
    assert not any(service.get("admin") for service in hub["services"].values())


def test_the_portal_and_leads_may_do_what_they_may_on_one_machine() -> None:
    roles = values()["hub"]["loadRoles"]
    names = CourseNames("python-intro")
    assert roles == {
        PORTAL_SERVICE: {"scopes": portal_scopes(), "services": [PORTAL_SERVICE]},
        "leads": {"scopes": lead_scopes(names), "groups": [names.lead_group]},
    }
    assert values()["hub"]["config"]["CourseAuthenticator"]["check_user"] == CHECK_USER


def test_a_removed_person_is_out_within_five_minutes() -> None:
    config = values()["hub"]["config"]
    sign_in = config["CourseAuthenticator"]
    assert sign_in["auth_refresh_age"] + sign_in["recheck_seconds"] < 300
    assert sign_in["refresh_pre_spawn"]
    assert sign_in["enable_auth_state"]
    assert sign_in["enable_pkce"]
    assert config["CryptKeeper"]["keys"]


def test_as_many_servers_run_as_the_course_has_people_and_one_for_the_check() -> None:
    assert values(seats=5, leads=["a", "b"])["hub"]["activeServerLimit"] == 8
    limited = values(seats=5, spawning={"active_servers": 3, "concurrent": 2})["hub"]
    assert (limited["activeServerLimit"], limited["concurrentSpawnLimit"]) == (4, 2)


def test_idle_and_overdue_servers_are_stopped_and_nobody_is_removed() -> None:
    culling = values(culling={"idle_minutes": 10, "max_age_hours": 8})["cull"]
    assert (culling["timeout"], culling["every"], culling["maxAge"], culling["users"]) == (600, 300, 28800, False)
    assert values(culling={"idle_minutes": 10})["cull"]["maxAge"] == 0


def test_a_home_outlives_its_owners_place_in_the_hub() -> None:
    assert values()["hub"]["config"]["CourseSpawner"]["delete_pvc"] is False


@FEW
@given(specs(), targets())
def test_no_course_leaves_anything_outside_its_namespace(spec: CourseSpec, target: Target) -> None:
    made = charts.merged(CHART, hub_values(spec, target, KEYS))
    scheduling, puller = made["scheduling"], made["prePuller"]
    assert not any(scheduling[one]["enabled"] for one in ("userScheduler", "podPriority", "userPlaceholder"))
    assert not any(puller[one]["enabled"] for one in ("hook", "continuous"))
    assert made["proxy"]["service"]["type"] == "ClusterIP"


@FEW
@given(specs(), targets())
def test_the_charts_policies_open_no_way_into_or_out_of_the_course(spec: CourseSpec, target: Target) -> None:
    made = charts.merged(CHART, hub_values(spec, target, KEYS))
    for policy in (made["hub"], made["proxy"]["chp"], made["singleuser"]):
        rules = policy["networkPolicy"]
        assert rules["enabled"]
        assert not any(rules["egressAllowRules"].values())
        assert rules["egress"] == rules["ingress"] == rules["allowedIngressPorts"] == []
        assert rules["interNamespaceAccessLabels"] == "ignore"


@pytest.mark.parametrize(
    ("edge", "tls", "annotations"),
    [
        ({"tls": "none"}, [], {}),
        ({"tls": "edge", "annotations": {"a": "b"}}, [{"hosts": ["python-intro.hubs.example.org"]}], {"a": "b"}),
        (
            {"tls": "issuer", "cluster_issuer": "letsencrypt"},
            [{"hosts": ["python-intro.hubs.example.org"], "secretName": "hub-tls"}],
            {"cert-manager.io/cluster-issuer": "letsencrypt"},
        ),
    ],
)
def test_a_hub_has_its_own_host_at_the_ingress(edge: dict[str, Any], tls: Any, annotations: Any) -> None:
    made = values(cluster_target(edge={"kind": "ingress", "ingress_class": "traefik", **edge}))
    assert made["ingress"] == {
        "enabled": True,
        "ingressClassName": "traefik",
        "annotations": annotations,
        "hosts": ["python-intro.hubs.example.org"],
        "tls": tls,
    }
    assert "httpRoute" not in made


def test_a_hub_has_its_own_host_at_the_gateway() -> None:
    edge = {"kind": "gateway", "gateway": "hubs", "gateway_namespace": "edge"}
    assert values(cluster_target(edge=edge))["httpRoute"] == {
        "enabled": True,
        "hostnames": ["python-intro.hubs.example.org"],
        "gateway": {"name": "hubs", "namespace": "edge"},
    }
    assert values(cluster_target(edge={**edge, "section": "https"}))["httpRoute"]["gateway"]["sectionName"] == "https"
    assert "ingress" not in values(cluster_target(edge=edge))


def test_a_cluster_without_an_edge_has_no_way_in_from_outside() -> None:
    assert not {"ingress", "httpRoute"} & set(values(cluster_target(edge={"kind": "none"})))


@pytest.mark.parametrize(
    "reference",
    ["hub:4.4.0", "registry.example.org:5000/a/hub:4.4.0", "a/hub@sha256:" + "ab" * 32, "a/hub:1@sha256:" + "ab" * 32],
)
def test_every_way_to_pin_an_image_reaches_the_kubelet_as_it_was_written(reference: str) -> None:
    cluster = cluster_target(images={"helper": HELPER, "hub": reference}).cluster
    assert isinstance(cluster, ClusterTarget)
    made = image(reference, cluster)
    assert f"{made['name']}:{made['tag']}" == reference
    assert made["pullPolicy"] == "IfNotPresent"
    single = values(image=reference)["singleuser"]["image"]
    assert (single["name"], single["tag"]) == (reference, "")


@FEW
@given(specs(), targets())
def test_no_image_is_left_to_chance(spec: CourseSpec, target: Target) -> None:
    assert [path for path, value in leaves(hub_values(spec, target, KEYS)) if "latest" in str(value)] == []


def test_images_come_from_the_sites_mirror_with_its_secret() -> None:
    images = {"helper": HELPER, "hub": "mirror/hub:1", "proxy": "mirror/chp:2", "pull_secret": True}
    made = values(cluster_target(images=images))
    assert made["imagePullSecrets"] == [{"name": "registry"}]
    assert (made["hub"]["image"]["name"], made["proxy"]["chp"]["image"]["tag"]) == ("mirror/hub", "2")
    assert values()["imagePullSecrets"] == []


def test_core_and_notebooks_run_on_their_own_nodes() -> None:
    made = values(
        cluster_target(
            core={"node_selector": {"pool": "core"}, "tolerations": [{"key": "core"}]},
            notebooks={"node_selector": {"pool": "users"}, "tolerations": [{"key": "users", "operator": "Equal"}]},
        )
    )
    for core in (made["hub"], made["proxy"]["chp"]):
        assert core["nodeSelector"] == {"pool": "core"}
        assert core["tolerations"] == [{"key": "core", "operator": "Exists", "effect": "NoSchedule"}]
    single = made["singleuser"]
    assert single["nodeSelector"] == {"pool": "users"}
    assert single["extraTolerations"] == [{"key": "users", "operator": "Equal", "value": "", "effect": "NoSchedule"}]


def test_the_hub_is_given_its_own_modules_and_runs_them() -> None:
    hub = values()["hub"]
    folder = Path(str(hub_files.__file__)).parent
    given_files = {one["mountPath"]: one["stringData"] for one in hub["extraFiles"].values()}
    assert given_files == {
        f"/usr/local/etc/jupyterhub/hub_files/{path.name}": path.read_text() for path in folder.glob("*.py")
    }
    for name in ("authenticator_class", "spawner_class"):
        package, module, kind = hub["config"]["JupyterHub"][name].split(".")
        assert f"class {kind}(" in given_files[f"/usr/local/etc/jupyterhub/{package}/{module}.py"]
        assert kind in hub["config"]


def test_the_hubs_modules_need_nothing_of_ours() -> None:
    for path in Path(str(hub_files.__file__)).parent.glob("*.py"):
        ours = [line for line in path.read_text().splitlines() if "import" in line and "course_stack" in line]
        assert ours == [], path.name


@pytest.mark.parametrize("content", ["one\n\ttwo ä 🐍\n", " begins so\n", "a\u2028b", "\ufeffmark", "nul\x00"])
def test_a_file_reaches_its_place_letter_by_letter(content: str) -> None:
    entry = file("/etc/x", content)
    if "stringData" in entry:
        # as the chart writes it: a literal block
        block = "x: |\n" + "".join(f"  {line}\n" for line in entry["stringData"].removesuffix("\n").split("\n"))
        assert yaml.safe_load(block)["x"] == content
    else:
        assert base64.b64decode(entry["binaryData"]).decode() == content


@FEW
@given(specs(), targets())
def test_hub_and_proxy_are_restricted_and_ask_for_what_they_need(spec: CourseSpec, target: Target) -> None:
    made = charts.merged(CHART, hub_values(spec, target, KEYS))
    for container in _core(made):
        # as the chart's templates put them into the pods
        pod = {
            "securityContext": container.get("podSecurityContext"),
            "containers": [
                {
                    "name": "container",
                    "securityContext": container["containerSecurityContext"],
                    "resources": container["resources"],
                }
            ],
        }
        assert pod_security.violations(pod) == []
        assert pod_security.without_requests(pod) == []
    assert made["hub"]["initContainers"] == made["hub"]["extraContainers"] == []
    assert made["proxy"]["chp"]["extraPodSpec"]["automountServiceAccountToken"] is False


@FEW
@given(specs(), targets())
def test_a_placeholder_takes_the_room_of_a_notebook_and_keeps_its_rules(spec: CourseSpec, target: Target) -> None:
    made = hub_values(spec, target, KEYS)
    cluster = target.cluster
    assert cluster is not None
    assert ("placeholders.json" in made["hub"]["extraFiles"]) == bool(cluster.placeholders)
    if cluster.placeholders:
        settings = json.loads(made["hub"]["extraFiles"]["placeholders.json"]["stringData"])
        assert 1 <= settings["keep"] <= settings["most"] == spec.active_servers
        pod = settings["pod"]["spec"]
        assert pod_security.violations(pod) == []
        assert pod["activeDeadlineSeconds"] <= 3600
        asked = pod["containers"][0]["resources"]
        most = sizes.largest_notebook(spec)
        for amounts, bound in ((asked["requests"], most.guarantee), (asked["limits"], most.limit)):
            assert 0 < _written(amounts).memory_mib <= bound.memory_mib
            assert 0 < _written(amounts).cpu_millicores <= bound.cpu_millicores


def test_a_target_that_is_no_cluster_is_refused() -> None:
    local = cluster_target().model_copy(update={"kind": "local", "cluster": None, "name": "desk"})
    with pytest.raises(ValueError, match="desk is no cluster"):
        hub_values(load_spec(course()), local, KEYS)


def test_what_the_targets_authority_signed_is_believed_by_hub_and_notebooks() -> None:
    own = Authority().pem
    target = cluster_target(authority="campus.crt")
    made = hub_values(load_spec(course()), target, KEYS, own)
    assert charts.problems(CHART, made) == []
    assert made["hub"]["extraFiles"]["authority.crt"] == {
        # there where `hub_files.trust` looks
        "mountPath": f"{CONFIG_FOLDER}/{AUTHORITY.name}",
        "stringData": own,
    }
    assert AUTHORITY.parent == Path(str(hub_files.__file__)).parents[1]
    assert "with_authority(c)" in made["hub"]["extraConfig"]["surroundings"]
    files = made["singleuser"]["extraFiles"]
    assert files["authority.crt"]["stringData"] == own
    # stands in front of the server also where the course has no start-up of its own
    assert made["singleuser"]["cmd"][:2] == ["/bin/sh", files["start-up.sh"]["mountPath"]]
    assert files["authority.crt"]["mountPath"] in files["start-up.sh"]["stringData"]
    without = hub_values(load_spec(course()), cluster_target(), KEYS)
    assert "authority.crt" not in without["hub"]["extraFiles"] | without["singleuser"]["extraFiles"]
    assert without["singleuser"]["cmd"] == ["jupyterhub-singleuser"]
