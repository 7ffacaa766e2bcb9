"""docs/coming-from.md names fields and keys that exist, and leaves out none of the settings that people come with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from course_stack.spec import CourseSpec
from tools.targets import guide

PAGE = (Path(__file__).parents[2] / "docs/coming-from.md").read_text()
TF_CONFIG = (
    "kubeconfig issuer jh_chart_version name domain authentik_url authentik_token oidc_id authentication_flow "
    "authorization_flow invalidation_flow jupyter_notebook_image jupyter_notebook_default_url authentik_jh_group_id "
    "jh_display_name jh_description jh_icon jh_admin_id jh_placeholder_replicas jh_concurrent_spawn_limit "
    "nb_start_timeout nb_count_limit nb_home_size nb_home_mount_path nb_ram_guarantee nb_cpu_guarantee nb_ram_limit "
    "nb_cpu_limit ns_ram_limit ns_cpu_limit apply_ns_resource_quota jh_api_token secret_namespace secret_name"
)
STFC = (
    "contact_email longhorn_version longhorn_repo_name longhorn_config_file hub_version hub_cluster_name hub_namespace "
    "hub_deployed_name hub_config_file hub_repo_name hub_repo_url hub_chart_ref host_domain ip_address iris_iam "
    "client_id client_secret admin_groups allowed_groups admin_names number_of_users username staging_cert nfs_ip "
    "profiles[].display_name profiles[].image profiles[].cpu_limit profiles[].use_gpus GPU_info.number_of_gpus "
    "GPU_info.key profiles[].commands[]"
)


def fields(model: type[BaseModel], above: str = "") -> set[str]:
    """`resources.cpu_limit`, `profiles[].name`, … of a course's JSON Schema."""
    schema = model.model_json_schema()

    def walk(part: dict[str, Any], above: str) -> set[str]:
        found = set()
        for name, one in part.get("properties", {}).items():
            found |= {f"{above}{name}", *inside(one, f"{above}{name}")}
        return found

    def inside(one: dict[str, Any], key: str) -> set[str]:
        if "$ref" in one:
            return walk(schema["$defs"][one["$ref"].rsplit("/", 1)[-1]], f"{key}.")
        if one.get("type") == "array":
            return inside(one["items"], f"{key}[]")
        return {found for part in one.get("anyOf", ()) for found in inside(part, key)}

    return walk(schema, above)


def test_every_field_and_key_that_is_named_exists() -> None:
    named = {kind: set(re.findall(rf"{kind}: `([^`]+)`", PAGE)) for kind in ("course", "target")}
    assert len(named["course"]) > 25
    assert len(named["target"]) > 12
    assert named["course"] - fields(CourseSpec) == set()
    keys = set(re.findall(r"^\| `([\w.\[\]]+)`", guide(), re.MULTILINE))
    assert named["target"] - keys == set()


def test_every_setting_that_people_come_with_is_told() -> None:
    there = {name for row in re.findall(r"^\| (.+?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert [name for name in f"{TF_CONFIG} {STFC}".split() if name not in there] == []
