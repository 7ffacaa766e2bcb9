"""The account by which workers make courses' clients and groups may do what they do there, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from course_stack.identity import ClientRequest
from course_stack.identity.authentik import PREFERRED_KEY, Authentik
from course_stack.target import IdentityTarget
from tests.course_stack.identity.authentik_double import APPLICATIONS, KINDS, TOKEN, VERBS, AuthentikDouble
from tests.platform_stack import blueprints
from tests.platform_stack.blueprints import Blueprint, Find
from tests.platform_stack.test_identity_blueprint import made

NAME = "jhaas-python-intro"
REQUEST = ClientRequest(
    name=NAME,
    title="Introduction to Python",
    redirect_uri="https://python-intro.example-hubs.org/hub/oauth_callback",
    post_logout_uri="https://python-intro.example-hubs.org/",
    launch_url="https://python-intro.example-hubs.org/",
    group=NAME,
)


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return made()


def anywhere(blueprint: Blueprint) -> set[str]:
    """Rights on every object of a kind."""
    return set(blueprint.named("jhaas-course-maker-role").attrs["permissions"])


def on_its_own(blueprint: Blueprint) -> set[str]:
    """Rights on objects that the account made itself."""
    (initial,) = blueprint.of("authentik_rbac.initialpermissions")
    found = [dict(one.conditions) for one in initial.attrs["permissions"] if isinstance(one, Find)]
    return {f"{one['content_type__app_label']}.{one['codename']}" for one in found}


def needed() -> set[str]:
    """What a whole course asks of Authentik, from its first call to its last."""
    with (
        AuthentikDouble() as server,
        Authentik(IdentityTarget(kind="authentik", url=server.url), {"token": TOKEN}) as at,
    ):
        server.superuser = False
        server.add_provider("jhaas-portal", own=False)
        ann, bob = server.add_user("ann"), server.add_user("bob")
        at.ensure_group(NAME, [ann])
        at.ensure_client(REQUEST)
        at.ensure_group(NAME, [ann, bob])
        at.ensure_client(replace(REQUEST, title="Python", post_logout_uri="https://python-intro.example-hubs.org/bye"))
        # somebody gave the course to everybody, by the account's own binding made twice
        server.add_binding(server.only(APPLICATIONS), group=server.rows["/core/groups/"][0]["pk"], order=1)
        at.ensure_client(REQUEST)
        assert at.find_client(NAME)
        assert at.group_members(NAME) == {ann, bob}
        assert at.client_names("jhaas-") == at.group_names("jhaas-") == {NAME}
        at.delete_client(NAME)
        at.delete_group(NAME)
        assert server.violations == []
        calls = list(server.calls)
    kinds = sorted(KINDS.values(), key=lambda kind: -len(kind.path))
    return {
        next(kind for kind in kinds if kind.path in address).permission.format(VERBS[method])
        for method, address in calls
    }


def test_it_has_the_rights_that_a_course_needs_and_no_others(blueprint: Blueprint) -> None:
    assert anywhere(blueprint) | on_its_own(blueprint) == needed()


def test_it_reads_no_secret_but_those_of_its_own_clients(blueprint: Blueprint) -> None:
    right = "authentik_providers_oauth2.view_oauth2provider"
    assert right in on_its_own(blueprint) - anywhere(blueprint)


def test_it_looks_and_adds_everywhere_but_changes_and_deletes_its_own_alone(blueprint: Blueprint) -> None:
    verbs = {permission.split(".")[1].split("_")[0] for permission in anywhere(blueprint)}
    assert verbs == {"view", "add"}
    verbs = {permission.split(".")[1].split("_")[0] for permission in on_its_own(blueprint)}
    assert verbs == {"view", "change", "delete"}
    (initial,) = blueprint.of("authentik_rbac.initialpermissions")
    assert blueprint.by_id(initial.attrs["role"]).identifiers["name"] == "jhaas-course-maker-role"
    assert all(blueprints.permission(one) for one in anywhere(blueprint) | on_its_own(blueprint))


def test_its_token_does_not_end_and_belongs_to_nobody_else(blueprint: Blueprint) -> None:
    (token,) = blueprint.of("authentik_core.token")
    account = blueprint.by_id(token.attrs["user"])
    assert token.attrs["key"] == blueprint.context["api_token"]
    assert (token.attrs["intent"], token.attrs["expiring"]) == ("api", False)
    assert account.identifiers["username"] == "jhaas-course-maker"
    assert account.attrs["type"] == "service_account"
    assert [blueprint.by_id(role).identifiers["name"] for role in account.attrs["roles"]] == ["jhaas-course-maker-role"]
    # no group gives it more
    assert account.attrs["groups"] == []
    assert not [entry for entry in blueprint.of("authentik_core.group") if entry.attrs.get("is_superuser") is not False]


def test_courses_sign_their_tokens_with_the_key_that_is_renewed(blueprint: Blueprint) -> None:
    (key,) = blueprint.of("authentik_crypto.certificatekeypair")
    assert key.identifiers["name"] == PREFERRED_KEY
