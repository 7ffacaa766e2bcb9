"""The pods and claims that a hub makes with our settings: built by the real KubeSpawner, without a cluster."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_asyncio.client import ApiException
from tornado import web

from course_stack import sizes
from course_stack.hub_files.spawner import ISSUER, SUBJECT, claim_name, token_name
from course_stack.kubernetes.notebooks import HOME, SHARED_MEMORY, START_UP
from course_stack.kubernetes.values import hub_values
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import Target
from tests.course_stack.kubernetes.targets import cluster_target, targets
from tests.course_stack.kubernetes.test_values import KEYS
from tests.course_stack.specs import course, specs
from tests.support import pod_security
from tests.support.z2jh import TOKEN, claim, pod, spawner

GROUP, LEADS = "jhaas-python-intro", "jhaas-python-intro-leads"
SUBJECTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.@+|:=-]{0,127}", fullmatch=True)
GPU = {"name": "With GPU", "gpu": {"count": 2, "toleration": {"key": "gpu"}}}


def values(target: Target | None = None, **changes: Any) -> dict[str, Any]:
    return hub_values(load_spec(course(**changes)), target or cluster_target(), KEYS)


def notebook(made: dict[str, Any]) -> dict[str, Any]:
    """The notebook's container of a pod."""
    (container,) = made["spec"]["containers"]
    found: dict[str, Any] = container
    return found


@settings(max_examples=25)
@given(specs(), targets(), SUBJECTS, st.booleans())
def test_every_notebook_is_restricted_and_asks_for_what_it_needs(
    spec: CourseSpec, target: Target, subject: str, leads: bool
) -> None:
    groups = (f"jhaas-{spec.slug}-leads",) if leads else ()
    made = hub_values(spec, target, KEYS)
    for profile in [one.key for one in spec.profiles] or [""]:
        built = pod(spawner(made, subject, groups, profile))
        assert pod_security.violations(built["spec"]) == []
        assert pod_security.without_requests(built["spec"]) == []
        assert built["spec"]["automountServiceAccountToken"] is False
        assert len(built["metadata"]["name"]) <= 63


def test_without_profiles_a_notebook_is_the_courses() -> None:
    resources = {"memory_guarantee": 0.5, "memory_limit": 2, "cpu_guarantee": 0.25, "cpu_limit": 1.5}
    container = notebook(pod(spawner(values(resources=resources, image="a/course:1"), "anna")))
    assert container["image"] == "a/course:1"
    assert container["resources"] == {
        "requests": {"memory": 512 * 2**20, "cpu": 0.25},
        "limits": {"memory": 2048 * 2**20, "cpu": 1.5},
    }


def test_a_profile_brings_its_image_sizes_processors_and_nodes() -> None:
    target = cluster_target(
        notebooks={"node_selector": {"pool": "users"}, "tolerations": [{"key": "users"}]},
        gpu={"node_selector": {"gpu": "a100"}, "tolerations": [{"key": "dear"}]},
    )
    large = {"memory_guarantee": 1, "memory_limit": 4, "cpu_guarantee": 0.5, "cpu_limit": 3}
    made = values(target, profiles=[{"name": "Small"}, {**GPU, "image": "a/gpu:1", "resources": large}])
    small, gpu = pod(spawner(made, "anna", profile="small")), pod(spawner(made, "anna", profile="with-gpu"))
    assert small["spec"]["nodeSelector"] == {"pool": "users"}
    assert [one["key"] for one in small["spec"]["tolerations"]] == ["users"]
    assert "nvidia.com/gpu" not in notebook(small)["resources"]["limits"]
    assert gpu["spec"]["nodeSelector"] == {"pool": "users", "gpu": "a100"}
    assert [one["key"] for one in gpu["spec"]["tolerations"]] == ["users", "dear", "gpu"]
    assert notebook(gpu)["image"] == "a/gpu:1"
    assert notebook(gpu)["resources"] == {
        "requests": {"memory": 2**30, "cpu": 0.5, "nvidia.com/gpu": 2},
        "limits": {"memory": 4 * 2**30, "cpu": 3.0, "nvidia.com/gpu": 2},
    }


def test_who_chooses_nothing_gets_the_preset_profile() -> None:
    profiles = [{"name": "Small", "image": "a/small:1"}, {"name": "Large", "image": "a/large:1", "default": True}]
    assert notebook(pod(spawner(values(profiles=profiles), "anna")))["image"] == "a/large:1"
    profiles[1] = {"name": "Large", "image": "a/large:1"}
    assert notebook(pod(spawner(values(profiles=profiles), "anna")))["image"] == "a/small:1"


def test_a_profile_that_does_not_exist_is_the_callers_mistake() -> None:
    with pytest.raises(web.HTTPError) as refused:
        pod(spawner(values(profiles=[{"name": "Small"}]), "anna", profile="huge"))
    assert refused.value.status_code == 400
    assert "small" in str(refused.value)


def test_a_choice_is_shown_where_there_is_one_and_nothing_in_it_is_taken_for_html() -> None:
    one = {"name": "Small"}
    other = {"name": "<b>Large</b>", "description": "5 < 6"}
    assert spawner(values(), "anna").options_form == ""
    assert spawner(values(profiles=[one]), "anna").options_form == ""
    form = spawner(values(profiles=[one, other]), "anna").options_form
    assert 'value="small"' in form
    assert "<b>" not in form
    assert "&lt;b&gt;Large" in form
    assert "5 &lt; 6" in form


def test_shared_memory_is_as_large_as_the_notebooks_own_and_no_larger() -> None:
    large = {"memory_guarantee": 1, "memory_limit": 4, "cpu_guarantee": 0.5, "cpu_limit": 3}
    made = values(profiles=[{"name": "Small"}, {"name": "Large", "resources": large}])
    for profile, size in (("small", "1024Mi"), ("large", "4096Mi")):
        built = pod(spawner(made, "anna", profile=profile))
        volume = next(one for one in built["spec"]["volumes"] if one["name"] == SHARED_MEMORY)
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": size}
        assert {"name": SHARED_MEMORY, "mountPath": "/dev/shm"} in notebook(built)["volumeMounts"]


VOLUMES = [
    {"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 1},
    {"name": "teams", "kind": "share", "mount_path": "/mnt/teams", "size": 1},
]


@pytest.mark.parametrize(
    ("groups", "material_is_read_only"),
    [((GROUP,), True), ((), True), ((GROUP, LEADS), False), (("jhaas-other-leads",), True)],
)
def test_material_is_written_by_leads_alone_and_shares_by_everybody(
    groups: tuple[str, ...], material_is_read_only: bool
) -> None:
    built = pod(spawner(values(shared_volumes=VOLUMES), "anna", groups))
    mounts = {one["mountPath"]: one.get("readOnly") for one in notebook(built)["volumeMounts"]}
    assert mounts["/mnt/material"] is material_is_read_only
    assert mounts["/mnt/teams"] is False
    claims = {one["persistentVolumeClaim"]["claimName"] for one in built["spec"]["volumes"] if "persistent" in str(one)}
    assert claims == {"home-anna", "shared-material", "shared-teams"}


def test_a_lead_who_is_one_no_longer_finds_material_read_only_at_the_next_start() -> None:
    one = spawner(values(shared_volumes=VOLUMES), "anna", (GROUP, LEADS))

    def read_only() -> bool:
        mounts = notebook(pod(one))["volumeMounts"]
        return bool(next(mount["readOnly"] for mount in mounts if mount["mountPath"] == "/mnt/material"))

    assert not read_only()
    one.user.groups = []
    assert read_only()


def test_a_home_says_whose_it_is() -> None:
    home = claim(spawner(values(home_size=0.5), "Anna+{username}|x"))
    assert home["metadata"]["annotations"][SUBJECT] == "Anna+{username}|x"
    assert home["metadata"]["annotations"][ISSUER] == "https://id.example.org/"
    assert home["metadata"]["labels"]["component"] == "singleuser-storage"
    assert home["metadata"]["labels"]["jhaas.io/course"] == "python-intro"
    assert home["spec"]["resources"]["requests"]["storage"] == "512Mi"
    assert home["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_a_home_is_of_the_targets_class_or_the_clusters_own() -> None:
    named = claim(spawner(values(cluster_target(storage_class="fast")), "anna"))
    assert named["spec"]["storageClassName"] == "fast"
    assert "storageClassName" not in claim(spawner(values(), "anna"))["spec"]


def test_the_home_is_the_servers_folder_in_every_image() -> None:
    built = pod(spawner(values(), "anna"))
    container = notebook(built)
    assert {"name": "home", "mountPath": HOME} in container["volumeMounts"]
    assert container["workingDir"] == HOME
    assert {"name": "HOME", "value": HOME} in container["env"]


@given(st.lists(SUBJECTS, min_size=2, max_size=40, unique=True))
def test_different_people_have_different_homes_with_names_that_a_cluster_takes(subjects: list[str]) -> None:
    names = [name for subject in subjects for name in (claim_name(subject), token_name(subject))]
    assert len(set(names)) == 2 * len(subjects)
    assert all(len(name) <= 63 and re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) for name in names)


@pytest.mark.parametrize("twin", ["Anna", "anna.", "anna-", "_anna", "a" * 128, "anna--x"])
def test_nobody_comes_to_a_home_by_a_name_much_alike(twin: str) -> None:
    others = ["anna", "ANNA", "anna_", "a" * 127, "anna-x", claim_name(twin).removeprefix("home-")]
    assert claim_name(twin) not in [claim_name(other) for other in others if other != twin]
    assert claim_name("5f0c7c1e-52a5-4b5c-9d4e-3d1c6f0b7a11") == "home-5f0c7c1e-52a5-4b5c-9d4e-3d1c6f0b7a11"


def _expanded(value: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a value: `$(NAME)` is filled in where the name is known, `$$` becomes `$`."""

    def fill(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", fill, value)


@settings(max_examples=20)
@given(st.text("ab${}()\n 'HOME", max_size=20))
@pytest.mark.parametrize("around", ["", "$(HOME)", "{username}", "$$", "{0} {} }{"])
def test_variables_reach_the_notebook_as_they_were_written(around: str, value: str) -> None:
    made = values(environment={"X_VALUE": around + value})
    env = notebook(pod(spawner(made, "anna")))["env"]
    variables = {one["name"]: one["value"] for one in env if "value" in one}
    assert _expanded(variables["X_VALUE"], variables) == around + value


def test_nothing_but_the_server_runs_where_there_is_no_start_up() -> None:
    container = notebook(pod(spawner(values(), "anna")))
    assert container["args"][0] == "jupyterhub-singleuser"
    assert START_UP not in {one["mountPath"] for one in container["volumeMounts"]}


def test_the_start_up_is_a_file_in_front_of_the_server() -> None:
    made = values(start_commands=["echo $(date) $$"], git_repositories=[{"url": "https://example.org/a/intro"}])
    container = notebook(pod(spawner(made, "anna")))
    assert container["args"][:3] == ["/bin/sh", START_UP, "jupyterhub-singleuser"]
    assert {"name": "files", "mountPath": START_UP, "subPath": "start-up.sh"} in container["volumeMounts"]
    script = made["singleuser"]["extraFiles"]["start-up.sh"]["stringData"]
    assert "echo $(date) $$" in script
    assert "https://example.org/a/intro" in script
    assert "$" not in "".join(container["args"])


def test_nobody_is_asked_about_news_of_jupyter_unless_the_course_has_settings_of_its_own() -> None:
    made = values()
    container = notebook(pod(spawner(made, "anna")))
    variables = {one["name"]: one.get("value") for one in container["env"]}
    name = "default_setting_overrides.json"
    mount = next(one for one in container["volumeMounts"] if one.get("subPath") == name)
    assert mount["mountPath"] == f"{variables['JUPYTER_CONFIG_PATH']}/labconfig/{name}"
    settings = json.loads(made["singleuser"]["extraFiles"][name]["stringData"])
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    own = notebook(pod(spawner(values(environment={"JUPYTER_CONFIG_PATH": "/opt/own"}), "anna")))["env"]
    assert {"name": "JUPYTER_CONFIG_PATH", "value": "/opt/own"} in own


def test_a_page_with_a_dollar_in_its_address_is_left_alone() -> None:
    container = notebook(pod(spawner(values(default_url="/lab/tree/$(HOME).ipynb"), "anna")))
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["JUPYTERHUB_DEFAULT_URL"] == "/lab/tree/%24(HOME).ipynb"


def test_a_notebooks_token_is_in_a_secret_and_nowhere_in_its_pod() -> None:
    one = spawner(values(), "Anna|x")
    built = pod(one)
    name = token_name("Anna|x")
    assert one.api.kept == {name: {"token": TOKEN}}
    assert TOKEN not in str(built)
    variables = {variable["name"]: variable for variable in notebook(built)["env"]}
    for variable in ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"):
        assert variables[variable] == {
            "name": variable,
            "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}},
        }


def test_a_secret_that_was_left_behind_is_replaced_and_none_stays_when_the_notebook_ends() -> None:
    one = spawner(values(), "anna")
    one.api.kept["token-anna"] = {"token": "an older one"}
    pod(one)
    assert one.api.kept == {"token-anna": {"token": TOKEN}}
    for _ in range(2):
        asyncio.run(one.run_post_stop_hook())
        assert one.api.kept == {}


def test_a_cluster_that_does_not_keep_the_secret_makes_no_notebook() -> None:
    one = spawner(values(), "anna")
    one.api.delete_namespaced_secret = AsyncMock(side_effect=ApiException(status=403))
    with pytest.raises(ApiException):
        pod(one)


def test_the_quota_counts_what_a_pod_really_asks_for() -> None:
    resources = {"memory_guarantee": 0.33, "memory_limit": 1.01, "cpu_guarantee": 0.0123, "cpu_limit": 1.0001}
    spec = load_spec(course(resources=resources))
    asked = notebook(pod(spawner(values(resources=resources), "anna")))["resources"]
    size = sizes.notebook(spec.resources)
    assert asked["requests"] == {"memory": size.guarantee.memory_mib * 2**20, "cpu": 0.013}
    assert asked["limits"] == {"memory": size.limit.memory_mib * 2**20, "cpu": 1.001}
