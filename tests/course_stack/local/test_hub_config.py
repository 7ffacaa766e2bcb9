"""What a hub is told, and what it is never told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from course_stack.hub_rules import CHECK_USER, PORTAL_SERVICE, portal_scopes
from course_stack.local.hub_config import Edge, HubConfig, hub_settings
from course_stack.local.hub_process import serialized
from course_stack.local.isolation import Isolation
from course_stack.local.layout import Layout
from course_stack.spec import load_spec
from tests.course_stack.specs import course
from tests.course_stack.test_program import _target

EDGE = Edge("edge", "http://127.0.0.1:20001", "jhaas", "edge-password")


def _config(**changes: Any) -> HubConfig:
    return HubConfig(
        spec=load_spec(course(**changes)),
        target=_target(home="/srv/jhaas"),
        port=30001,
        client_id="jhaas-python-intro",
        client_secret="client-secret",
        endpoints={
            "issuer": "http://id.localhost:8000",
            "authorize": "http://id.localhost:8000/oauth/authorize",
            "token": "http://127.0.0.1:20002/oauth/token",
            "userinfo": "http://127.0.0.1:20002/oauth/userinfo",
            "end_session": "http://id.localhost:8000/oauth/end_session",
        },
        cookie_secret="cookie-secret",
        crypt_key="crypt-key",
        api_token="api-token",
    )


def _settings(isolation: Isolation = Isolation.PRIVATE, **changes: Any) -> dict[str, dict[str, Any]]:
    return hub_settings(_config(**changes), EDGE, isolation)


def test_only_the_courses_group_gets_in_and_nobody_is_an_admin() -> None:
    sign_in = _settings()["CourseAuthenticator"]
    assert sign_in["allowed_groups"] == ["jhaas-python-intro"]
    assert not {"admin_users", "admin_groups", "allow_all", "allow_existing_users", "allowed_users"} & set(sign_in)
    hub = _settings()["JupyterHub"]
    assert not any(service.get("admin") for service in hub["services"])
    scopes = {scope for role in hub["load_roles"] for scope in role["scopes"]}
    assert not {"admin:users", "users", "admin:groups", "shutdown", "proxy", "tokens", "self"} & scopes


def test_the_portal_opens_servers_and_makes_users_only_for_its_check() -> None:
    wide = {"admin:users", "access:servers", "admin:servers", "tokens"}
    for scope in portal_scopes():
        name, _, limit = scope.partition("!")
        assert name not in wide or limit == f"user={CHECK_USER}", scope


def test_a_removed_person_is_out_within_five_minutes() -> None:
    sign_in = _settings()["CourseAuthenticator"]
    assert sign_in["auth_refresh_age"] + sign_in["recheck_seconds"] < 300
    assert sign_in["enable_auth_state"]
    assert sign_in["enable_pkce"]


def test_as_many_servers_run_as_the_course_has_people_and_one_for_the_check() -> None:
    assert _settings(seats=5, leads=["a", "b"])["JupyterHub"]["active_server_limit"] == 8
    limited = _settings(seats=5, spawning={"active_servers": 3, "concurrent": 2})["JupyterHub"]
    assert (limited["active_server_limit"], limited["concurrent_spawn_limit"]) == (4, 2)


def test_idle_and_overdue_servers_are_stopped_as_the_course_says() -> None:
    def culler(**culling: int) -> list[str]:
        services = _settings(culling=culling)["JupyterHub"]["services"]
        command: list[str] = next(one["command"] for one in services if one["name"] != PORTAL_SERVICE)
        return command[3:]

    assert culler(idle_minutes=30) == ["--timeout=1800", "--cull-every=300"]
    assert culler(idle_minutes=10, max_age_hours=8) == ["--timeout=600", "--cull-every=300", "--max-age=28800"]


def test_every_hub_and_server_listens_on_loopback_only() -> None:
    settings = _settings()
    assert settings["JupyterHub"]["hub_ip"] == "127.0.0.1"
    assert settings["CourseSpawner"]["ip"] == "127.0.0.1"


def test_each_course_has_its_own_host_and_file_of_routes() -> None:
    one, other = _settings()["CourseProxy"], _settings(slug="biology")["CourseProxy"]
    assert one["host"] == "python-intro.localhost"
    assert one["dynamic_config_file"] != other["dynamic_config_file"]
    assert Path(one["dynamic_config_file"]).parent == Layout(Path("/srv/jhaas")).routes


@pytest.mark.parametrize("isolation", [Isolation.ACCOUNT, Isolation.NONE])
def test_a_banner_says_what_keeps_notebooks_apart_where_that_is_not_all(isolation: Isolation) -> None:
    assert _settings(isolation)["JupyterHub"]["template_vars"]["announcement"] == isolation.warning
    assert isolation.warning
    assert _settings()["JupyterHub"]["template_vars"]["announcement"] == ""


def test_keys_have_the_lengths_that_jupyterhub_wants() -> None:
    settings = _settings()
    assert len(settings["JupyterHub"]["cookie_secret"]) == 32
    assert [len(key) for key in settings["CryptKeeper"]["keys"]] == [32]
    assert settings["JupyterHub"]["cookie_secret"] != settings["CryptKeeper"]["keys"][0]


def test_secrets_are_written_out_for_the_hubs_own_file_alone() -> None:
    config = _config()
    secrets = {"client-secret", "cookie-secret", "crypt-key", "api-token"}
    shown = f"{config!r} {config.model_dump_json()} {config.model_dump()} {EDGE!r}"
    assert [one for one in (*secrets, "edge-password") if one in shown] == []
    stored = json.loads(serialized(config))
    assert secrets == {value for name, value in stored.items() if name.endswith(("_secret", "_key", "_token"))}
    assert HubConfig.model_validate(stored) == config


def test_a_target_without_a_data_folder_is_refused() -> None:
    config = _config().model_copy(update={"target": _target(home=None)})
    with pytest.raises(ValueError, match="local has no data folder"):
        hub_settings(config, EDGE, Isolation.PRIVATE)
