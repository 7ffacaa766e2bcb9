"""Authentik: one client a course, open to nobody but its group, whatever was there before and wherever a run ended."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from course_stack.identity import ClientRequest, IdentityError, IdentityProvider, authentik, connect
from course_stack.identity.authentik import Authentik
from course_stack.target import CREDENTIALS_ENV, IdentityTarget, ObjectStoreTarget, Target
from tests.course_stack.identity.authentik_double import (
    APPLICATIONS,
    BINDINGS,
    FLOWS,
    GROUPS,
    KEYS,
    MANY_CALLS,
    PROVIDERS,
    SCOPES,
    TOKEN,
    AuthentikDouble,
    Crash,
    new_id,
)

NAME = "jhaas-python-intro"
REQUEST = ClientRequest(
    name=NAME,
    title="Introduction to Python",
    redirect_uri="https://python-intro.hubs.example.org/hub/oauth_callback",
    post_logout_uri="https://python-intro.hubs.example.org/",
    launch_url="https://python-intro.hubs.example.org/",
    group=NAME,
)


@pytest.fixture
def provider(server: AuthentikDouble) -> Iterator[Authentik]:
    with Authentik(IdentityTarget(kind="authentik", url=server.url), {"token": TOKEN}) as found:
        yield found


@pytest.fixture
def people(server: AuthentikDouble) -> dict[str, str]:
    """Name → subject. Nobody is in a group yet."""
    return {name: server.add_user(name) for name in ("ann", "bob", "eve")}


def assert_one_good_client(server: AuthentikDouble) -> None:
    """One application, one provider, one binding, in the wanted form."""
    application, found, group = server.only(APPLICATIONS), server.only(PROVIDERS), server.only(GROUPS)
    binding = server.only(BINDINGS)
    assert (application["slug"], application["provider"]) == (NAME, found["pk"])
    assert (application["name"], application["meta_launch_url"]) == (REQUEST.title, REQUEST.launch_url)
    assert application["policy_engine_mode"] == "all"
    assert (binding["target"], binding["group"], group["name"]) == (application["pk"], group["pk"], NAME)
    assert (binding["enabled"], binding["negate"], binding["expiring"]) == (True, False, False)
    assert (found["name"], found["client_id"]) == (NAME, NAME)
    assert (found["client_type"], found["sub_mode"]) == ("confidential", "user_uuid")
    assert found["redirect_uris"] == [
        {"matching_mode": "strict", "url": REQUEST.redirect_uri, "redirect_uri_type": "authorization"},
        {"matching_mode": "strict", "url": REQUEST.post_logout_uri, "redirect_uri_type": "logout"},
    ]
    slugs = {flow["pk"]: flow["slug"] for flow in server.rows[FLOWS]}
    assert slugs[found["authorization_flow"]] == "default-provider-authorization-implicit-consent"
    assert slugs[found["invalidation_flow"]] == "default-provider-invalidation-flow"
    scopes = {mapping["pk"]: mapping["scope_name"] for mapping in server.rows[SCOPES]}
    assert {scopes[key] for key in found["property_mappings"]} == {"openid", "email", "profile", "offline_access"}
    # the server's own default is none at all: every sign-in would fail
    assert found["grant_types"] == ["authorization_code", "refresh_token"]


# --- making a client


def test_a_new_client_has_the_wanted_form(server: AuthentikDouble, provider: Authentik) -> None:
    client = provider.ensure_client(REQUEST)
    assert_one_good_client(server)
    assert (client.name, client.client_id) == (NAME, NAME)
    assert client.secret == server.only(PROVIDERS)["client_secret"]
    assert client.endpoints.issuer == f"{server.url}/application/o/{NAME}/"
    assert client.endpoints.authorize == f"{server.url}/application/o/authorize/"
    assert client.endpoints.token == f"{server.url}/application/o/token/"
    assert client.endpoints.userinfo == f"{server.url}/application/o/userinfo/"
    assert client.endpoints.end_session == f"{server.url}/application/o/{NAME}/end-session/"


def test_the_second_time_the_same_client_is_found_and_nothing_is_written(
    server: AuthentikDouble, provider: Authentik
) -> None:
    first = provider.ensure_client(REQUEST)
    server.calls.clear()
    assert provider.ensure_client(REQUEST) == first
    assert provider.find_client(NAME) == first
    assert server.writes() == []


def test_the_group_may_come_first_or_later(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str]
) -> None:
    provider.ensure_client(REQUEST)
    provider.ensure_group(NAME, [people["ann"]])
    assert_one_good_client(server)
    assert server.admits(people["ann"], NAME)


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_run_that_ended_at_any_call_is_taken_up_by_the_next(
    provider: Authentik, people: dict[str, str], server: AuthentikDouble, after: bool
) -> None:
    crashes = list(server.every_crash(lambda: provider.ensure_client(REQUEST), after=after))
    assert len(crashes) > 10
    assert_one_good_client(server)
    assert server.strangers_let_in == []


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_each_single_crash_on_a_fresh_server_is_taken_up(after: bool) -> None:
    for call in range(1, MANY_CALLS):
        with AuthentikDouble() as server:
            server.add_user("eve")
            provider = Authentik(IdentityTarget(kind="authentik", url=server.url), {"token": TOKEN})
            server.crash = Crash(call, after)
            with provider:
                try:
                    provider.ensure_client(REQUEST)
                except IdentityError:
                    provider.ensure_client(REQUEST)
                    came_through = False
                else:
                    came_through = server.crash is not None
            assert_one_good_client(server)
            assert (server.strangers_let_in, server.violations) == ([], [])
        if came_through:
            assert call > 10
            break
    else:
        raise AssertionError("no run came through")


def test_a_secret_survives_a_crash_after_it_was_made(server: AuthentikDouble, provider: Authentik) -> None:
    provider.ensure_client(REQUEST)
    secret = server.only(PROVIDERS)["client_secret"]
    for _ in server.every_crash(lambda: provider.ensure_client(replace(REQUEST, title="New")), after=True):
        pass
    assert provider.ensure_client(REQUEST).secret == secret


def test_several_runs_at_once_make_one_client(server: AuthentikDouble, provider: Authentik) -> None:
    barrier = threading.Barrier(4)
    found: list[Any] = []

    def run() -> None:
        barrier.wait()
        try:
            found.append(provider.ensure_client(REQUEST))
        except IdentityError as error:
            found.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
        assert_one_good_client(server)
        provider.delete_client(NAME)
        provider.delete_group(NAME)
        found.clear()


@pytest.mark.parametrize("path", [GROUPS, APPLICATIONS, PROVIDERS])
def test_what_another_run_makes_between_look_and_creation_is_adopted(
    server: AuthentikDouble, provider: Authentik, path: str
) -> None:
    def first(method: str, address: str) -> None:
        if method == "POST" and path in address and not server.rows[path]:
            if path == GROUPS:
                server.add_group(NAME)
            elif path == APPLICATIONS:
                server.add_application(NAME)
            else:
                server.add_provider(NAME, client_secret="of the other run")

    server.hook = first
    client = provider.ensure_client(REQUEST)
    assert_one_good_client(server)
    assert client.secret == server.only(PROVIDERS)["client_secret"]


# --- who is let in


def test_nobody_but_the_group_is_let_in(server: AuthentikDouble, provider: Authentik, people: dict[str, str]) -> None:
    provider.ensure_group(NAME, [people["ann"], people["bob"]])
    provider.ensure_group(f"{NAME}-leads", [people["bob"]])
    provider.ensure_client(replace(REQUEST, group=NAME))
    assert [server.admits(people[name], NAME) for name in ("ann", "bob", "eve")] == [True, True, False]
    provider.ensure_group(NAME, [people["bob"]])
    assert [server.admits(people[name], NAME) for name in ("ann", "bob", "eve")] == [False, True, False]
    assert server.strangers_let_in == []


def _bindings(server: AuthentikDouble, kind: str, application: dict[str, Any], eve: str) -> None:
    group = next(group for group in server.rows[GROUPS] if group["name"] == NAME)
    other = next(group for group in server.rows[GROUPS] if group["name"] == "other")
    wrong: dict[str, dict[str, Any]] = {
        "none": {},
        "disabled": {"group": group["pk"], "enabled": False},
        "negated": {"group": group["pk"], "negate": True},
        "expiring": {"group": group["pk"], "expiring": True},
        "letting in on failure": {"group": group["pk"], "failure_result": True},
        "another group": {"group": other["pk"]},
        "one person": {"user": server.user(eve)["pk"]},
        "the same twice": {"group": group["pk"]},
    }
    if wrong[kind]:
        server.add_binding(application, **wrong[kind])
    if kind == "the same twice":
        server.add_binding(application, **wrong[kind])


@pytest.mark.parametrize("attached", [False, True], ids=["unattached", "attached"])
@pytest.mark.parametrize(
    "kind",
    [
        "none",
        "disabled",
        "negated",
        "expiring",
        "letting in on failure",
        "another group",
        "one person",
        "the same twice",
    ],
)
def test_wrong_bindings_of_an_application_that_is_there_are_replaced(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], kind: str, attached: bool
) -> None:
    provider.ensure_group(NAME, [people["ann"]])
    server.add_group("other", (people["bob"],))
    existing = server.add_provider(NAME, client_id=NAME)
    application = server.add_application(NAME, provider=existing["pk"] if attached else None)
    _bindings(server, kind, application, people["eve"])
    assert provider.ensure_client(REQUEST).secret == existing["client_secret"]
    assert [server.admits(people[name], NAME) for name in ("ann", "bob", "eve")] == [True, False, False]
    assert len(server.rows[BINDINGS]) == 1
    assert attached or server.strangers_let_in == []


def test_the_site_s_own_policies_stay(server: AuthentikDouble, provider: Authentik, people: dict[str, str]) -> None:
    provider.ensure_group(NAME, [people["ann"]])
    policy = server.add_binding(server.add_application(NAME), policy=new_id())
    provider.ensure_client(REQUEST)
    assert policy in server.rows[BINDINGS]
    assert [server.admits(people[name], NAME) for name in ("ann", "eve")] == [True, False]
    assert server.strangers_let_in == []


def test_an_application_under_this_name_with_another_provider_gets_its_own(
    server: AuthentikDouble, provider: Authentik
) -> None:
    foreign = server.add_provider("foreign")
    server.add_application(NAME, provider=foreign["pk"])
    client = provider.ensure_client(REQUEST)
    assert client.secret != foreign["client_secret"]
    assert provider.find_client(NAME) == client
    assert {row["name"] for row in server.rows[PROVIDERS]} == {"foreign", NAME}


# --- bringing it to the wanted form


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Another title"},
        {"redirect_uri": "https://new.example.org/hub/oauth_callback"},
        {"post_logout_uri": "https://new.example.org/"},
        {"launch_url": "https://new.example.org/"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_request_changes_the_client_and_keeps_its_secret(
    server: AuthentikDouble, provider: Authentik, change: dict[str, str]
) -> None:
    before = provider.ensure_client(REQUEST)
    after = provider.ensure_client(replace(REQUEST, **change))
    assert after == before
    (value,) = change.values()
    assert value in str([server.only(APPLICATIONS), server.only(PROVIDERS)])
    provider.ensure_client(REQUEST)
    assert_one_good_client(server)


@pytest.mark.parametrize(
    ("path", "drift"),
    [
        (PROVIDERS, {"client_type": "public"}),
        (PROVIDERS, {"sub_mode": "user_email"}),
        (PROVIDERS, {"redirect_uris": [{"matching_mode": "regex", "url": ".*", "redirect_uri_type": "authorization"}]}),
        (PROVIDERS, {"property_mappings": []}),
        (PROVIDERS, {"signing_key": None}),
        (PROVIDERS, {"client_id": "something else"}),
        (PROVIDERS, {"name": "something else"}),
        (APPLICATIONS, {"provider": None}),
        (APPLICATIONS, {"policy_engine_mode": "any"}),
        (APPLICATIONS, {"meta_hide": True}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_was_changed_by_hand_is_put_right(
    server: AuthentikDouble, provider: Authentik, path: str, drift: dict[str, Any]
) -> None:
    before = provider.ensure_client(REQUEST)
    server.only(path).update(drift)
    assert provider.ensure_client(REQUEST) == before
    assert_one_good_client(server)


def test_the_signing_key_is_authentik_s_own_and_never_changes_by_itself(
    server: AuthentikDouble, provider: Authentik
) -> None:
    provider.ensure_client(REQUEST)
    keys = {key["name"]: key["pk"] for key in server.rows[KEYS]}
    assert server.only(PROVIDERS)["signing_key"] == keys["authentik Self-signed Certificate"]
    server.only(PROVIDERS)["signing_key"] = keys["aaa"]
    provider.ensure_client(REQUEST)
    assert server.only(PROVIDERS)["signing_key"] == keys["aaa"]
    server.only(PROVIDERS)["signing_key"] = keys["a certificate without its key"]
    provider.ensure_client(REQUEST)
    assert server.only(PROVIDERS)["signing_key"] == keys["authentik Self-signed Certificate"]


# --- finding and deleting


def test_a_half_made_client_is_not_found(server: AuthentikDouble, provider: Authentik) -> None:
    assert provider.find_client(NAME) is None
    application = server.add_application(NAME)
    assert provider.find_client(NAME) is None
    server.add_provider(NAME)
    assert provider.find_client(NAME) is None
    application["provider"] = 999_999
    assert provider.find_client(NAME) is None


@pytest.mark.parametrize("with_application", [False, True])
@pytest.mark.parametrize("with_provider", ["no", "named so", "with that id", "both, apart"])
@pytest.mark.parametrize("with_binding", [False, True])
@pytest.mark.parametrize("attached", [False, True])
def test_every_half_made_state_is_deleted_and_nothing_else(
    server: AuthentikDouble,
    provider: Authentik,
    with_application: bool,
    with_provider: str,
    with_binding: bool,
    attached: bool,
) -> None:
    names: dict[str, list[dict[str, Any]]] = {
        "no": [],
        "named so": [{"name": NAME}],
        "with that id": [{"name": "renamed", "client_id": NAME}],
    }
    names["both, apart"] = names["named so"] + names["with that id"]
    group, neighbour = server.add_group(NAME), replace(REQUEST, name=f"{NAME}-2", group=f"{NAME}-2")
    rows = [server.add_provider(**values) for values in names[with_provider]]
    if with_application:
        application = server.add_application(NAME, provider=rows[0]["pk"] if rows and attached else None)
        if with_binding:
            server.add_binding(application, group=group["pk"])
    provider.ensure_client(neighbour)
    provider.delete_client(NAME)
    provider.delete_group(NAME)
    assert provider.client_names(NAME) == {neighbour.name}
    assert provider.group_names(NAME) == {neighbour.group}
    assert (server.only(BINDINGS)["group"], server.only(APPLICATIONS)["slug"]) == (
        server.only(GROUPS)["pk"],
        neighbour.name,
    )


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_deletion_that_ended_at_any_call_is_finished_by_the_next(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], after: bool
) -> None:
    def run() -> None:
        provider.delete_client(NAME)
        provider.delete_group(NAME)

    provider.ensure_group(NAME, [people["ann"]])
    provider.ensure_client(REQUEST)
    for _ in server.every_crash(run, after=after):
        assert server.strangers_let_in == []
    assert (server.rows[APPLICATIONS], server.rows[PROVIDERS], server.rows[BINDINGS], server.rows[GROUPS]) == ([],) * 4
    run()


def test_a_group_that_guards_something_is_not_deleted(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str]
) -> None:
    provider.ensure_group(NAME, [people["ann"]])
    provider.ensure_client(REQUEST)
    with pytest.raises(IdentityError, match=rf"Group {NAME} is not deleted.*Introduction to Python"):
        provider.delete_group(NAME)
    assert not server.admits(people["eve"], NAME)
    provider.delete_client(NAME)
    provider.delete_group(NAME)
    assert server.rows[GROUPS] == []


# --- groups


def test_a_group_has_exactly_the_members_across_pages(server: AuthentikDouble, provider: Authentik) -> None:
    subjects = [server.add_user(f"user{number}") for number in range(7)]
    key = provider.ensure_group(NAME, subjects)
    assert provider.group_members(NAME) == frozenset(subjects)
    assert provider.ensure_group(NAME, subjects[3:5]) == key
    assert provider.group_members(NAME) == frozenset(subjects[3:5])
    assert provider.ensure_group(NAME, iter(())) == key
    assert provider.group_members(NAME) == frozenset()
    assert provider.group_members("jhaas-none") is None


def test_the_same_members_again_write_nothing(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str]
) -> None:
    provider.ensure_group(NAME, people.values())
    server.calls.clear()
    provider.ensure_group(NAME, reversed(list(people.values())))
    assert server.writes() == []


@pytest.mark.parametrize(
    "stranger",
    ["00000000-0000-4000-8000-000000000000", "ann", "", "{0}", "ANN-UPPER"],
    ids=["unknown", "a name", "empty", "braces", "no uuid"],
)
def test_an_unknown_subject_is_named_before_anything_changes(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], stranger: str
) -> None:
    with pytest.raises(IdentityError) as caught:
        provider.ensure_group(NAME, [people["ann"], stranger])
    assert repr(stranger) in str(caught.value)
    provider.ensure_group(NAME, [people["bob"]])
    server.calls.clear()
    with pytest.raises(IdentityError):
        provider.ensure_group(NAME, [people["ann"], stranger])
    assert server.writes() == []
    assert provider.group_members(NAME) == frozenset({people["bob"]})


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_group_is_taken_up_after_a_crash_at_any_call(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], after: bool
) -> None:
    for _ in server.every_crash(lambda: provider.ensure_group(NAME, people.values()), after=after):
        pass
    assert len(server.only(GROUPS)["users"]) == 3


def test_an_adopted_group_gives_no_rights_at_authentik(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str]
) -> None:
    parent = server.add_group("administrators", is_superuser=True)
    server.add_group(NAME, is_superuser=True, parents=[parent["pk"]], roles=[new_id()])
    provider.ensure_group(NAME, [people["ann"]])
    group = next(group for group in server.rows[GROUPS] if group["name"] == NAME)
    assert (group["is_superuser"], group["parents"], group["roles"]) == (False, [], [])
    assert not server.is_member(people["ann"], parent["pk"])


def test_a_group_within_the_group_is_refused_since_its_members_would_get_in(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str]
) -> None:
    provider.ensure_group(NAME, [people["ann"]])
    inner = server.add_group("faculty", (people["eve"],), parents=[server.only(GROUPS)["pk"]])
    with pytest.raises(IdentityError, match="Members of faculty count as members"):
        provider.ensure_group(NAME, [people["ann"]])
    inner["parents"] = []
    provider.ensure_group(NAME, [people["ann"]])


# --- the independent look


def test_every_kind_of_leftover_is_listed_across_pages(server: AuthentikDouble, provider: Authentik) -> None:
    for number in range(5):
        provider.ensure_client(replace(REQUEST, name=f"jhaas-c{number}", group=f"jhaas-c{number}"))
    server.add_application("jhaas-app-alone")
    server.add_provider("jhaas-provider-alone")
    server.add_provider("renamed", client_id="jhaas-by-id")
    server.add_application("something-else")
    clients = {f"jhaas-c{number}" for number in range(5)}
    assert provider.client_names("jhaas-") == clients | {"jhaas-app-alone", "jhaas-provider-alone", "jhaas-by-id"}
    assert provider.group_names("jhaas-") == clients
    assert provider.client_names("jhaas-c3") == {"jhaas-c3"}


def test_a_list_that_becomes_shorter_while_it_is_read_is_read_anew(
    server: AuthentikDouble, provider: Authentik
) -> None:
    groups = [server.add_group(f"jhaas-g{number}") for number in range(3)]
    last_page = max(groups, key=lambda group: str(group["pk"]))

    def delete_meanwhile(method: str, address: str) -> None:
        if "page=2" in address and last_page in server.rows[GROUPS]:
            server.rows[GROUPS].remove(last_page)

    server.hook = delete_meanwhile
    assert provider.group_names("jhaas-") == {group["name"] for group in groups if group is not last_page}


def test_an_account_without_superuser_finds_a_leftover_by_its_name(
    server: AuthentikDouble, provider: Authentik
) -> None:
    server.superuser = False
    provider.ensure_client(REQUEST)
    server.add_application("jhaas-app-alone")
    assert provider.client_names("jhaas-") == {NAME}
    assert provider.client_names("jhaas-app-alone") == {"jhaas-app-alone"}


# --- what goes wrong


def everything(provider: Authentik, subject: str) -> None:
    provider.ensure_group(NAME, [subject])
    provider.ensure_client(REQUEST)
    provider.ensure_client(replace(REQUEST, title="Another"))
    provider.client_names("jhaas-")
    provider.group_names("jhaas-")
    provider.delete_client(NAME)
    provider.delete_group(NAME)


@pytest.mark.parametrize(
    "permission",
    [
        "authentik_core.view_application",
        "authentik_core.add_application",
        "authentik_core.change_application",
        "authentik_core.delete_application",
        "authentik_core.view_group",
        "authentik_core.add_group",
        "authentik_core.delete_group",
        "authentik_core.view_user",
        "authentik_providers_oauth2.view_oauth2provider",
        "authentik_providers_oauth2.add_oauth2provider",
        "authentik_providers_oauth2.delete_oauth2provider",
        "authentik_providers_oauth2.view_scopemapping",
        "authentik_policies.view_policybinding",
        "authentik_policies.add_policybinding",
        "authentik_flows.view_flow",
        "authentik_crypto.view_certificatekeypair",
    ],
)
def test_a_missing_permission_is_named(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], permission: str
) -> None:
    server.missing_permissions = {permission}
    with pytest.raises(IdentityError) as caught:
        everything(provider, people["ann"])
    assert f"lacks the permission {permission}" in str(caught.value)
    assert server.strangers_let_in == []
    server.missing_permissions.clear()
    everything(provider, people["ann"])


def test_a_client_that_the_account_may_not_see_is_not_taken_over(server: AuthentikDouble, provider: Authentik) -> None:
    server.superuser = False
    foreign = server.add_provider(NAME, own=False)
    assert provider.find_client(NAME) is None
    with pytest.raises(IdentityError, match=r"already exists.* lacks the permission .*view_oauth2provider for it"):
        provider.ensure_client(REQUEST)
    provider.delete_client(NAME)
    assert server.rows[PROVIDERS] == [foreign]


def test_a_wrong_token_is_told_and_never_shown(server: AuthentikDouble) -> None:
    provider = Authentik(IdentityTarget(kind="authentik", url=server.url), {"token": "wrong-and-secret"})
    with provider, pytest.raises(IdentityError, match=r"refuses the token in identity\.json") as caught:
        provider.ensure_client(REQUEST)
    assert "wrong-and-secret" not in str(caught.value)
    with pytest.raises(IdentityError, match="has no 'token'"):
        Authentik(IdentityTarget(kind="authentik", url=server.url), {})


def test_a_server_that_is_down_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: the connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with (
            Authentik(IdentityTarget(kind="authentik", url=url), {"token": TOKEN}) as provider,
            pytest.raises(IdentityError, match="does not answer") as caught,
        ):
            provider.find_client(NAME)
    assert TOKEN not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(
    server: AuthentikDouble, provider: Authentik, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentik, "_TIMEOUT", 0.2)
    server.silent = threading.Event()
    with pytest.raises(IdentityError, match=r"did not answer within 0\.2 seconds"):
        provider.find_client(NAME)


@pytest.mark.parametrize(
    ("status", "kind", "body", "words"),
    [
        (
            400,
            "application/json",
            '{"redirect_uris": [{"url": ["Enter a valid URL."]}]}',
            "redirect_uris.url: Enter a valid URL",
        ),
        (400, "application/json", '{"non_field_errors": ["No."]}', r"\(HTTP 400\): No\."),
        (400, "text/html", "<html>", "without a reason"),
        (401, "application/json", '{"detail": "x"}', "refuses the token"),
        (403, "application/json", '{"detail": "Authentication credentials were not provided."}', "refuses the token"),
        (302, "text/html", "", "HTTP 302"),
        (500, "text/html", "<html>trace", "fails itself"),
        (503, "application/json", "{}", "fails itself"),
        (200, "text/html", "<html>sign in", "not as Authentik does"),
        (400, "application/json", f'{{"detail": "{TOKEN} is bad"}}', r"\*\*\* is bad"),
    ],
)
def test_answers_of_trouble_become_one_clear_sentence(
    server: AuthentikDouble, provider: Authentik, status: int, kind: str, body: str, words: str
) -> None:
    server.answer = (status, kind, body)
    for run in (lambda: provider.find_client(NAME), lambda: provider.ensure_group(NAME, [])):
        with pytest.raises(IdentityError, match=words) as caught:
            run()
        assert TOKEN not in str(caught.value)
        assert "<html>" not in str(caught.value)


def test_what_the_server_refuses_is_told_with_its_field(server: AuthentikDouble, provider: Authentik) -> None:
    server.add_provider(NAME)
    server.add_provider("renamed", client_id=NAME)
    with pytest.raises(
        IdentityError, match=r"refuses PATCH /providers/oauth2/ \(HTTP 400\): name: Object with this name"
    ):
        provider.ensure_client(REQUEST)
    assert server.strangers_let_in == []


@pytest.mark.parametrize(
    ("path", "words"), [(FLOWS, "no flow 'default-provider"), (SCOPES, "no scope mapping"), (KEYS, "no key pair")]
)
def test_a_server_without_its_blueprints_is_told(
    server: AuthentikDouble, provider: Authentik, people: dict[str, str], path: str, words: str
) -> None:
    server.rows[path].clear()
    with pytest.raises(IdentityError, match=words):
        provider.ensure_client(REQUEST)
    assert server.strangers_let_in == []


def test_a_secret_that_may_not_be_read_is_told(server: AuthentikDouble, provider: Authentik) -> None:
    provider.ensure_client(REQUEST)
    server.only(PROVIDERS)["client_secret"] = None
    with pytest.raises(IdentityError, match="does not tell the secret"):
        provider.find_client(NAME)


# --- addresses


def test_internal_calls_carry_the_public_name(server: AuthentikDouble) -> None:
    target = IdentityTarget(kind="authentik", url="https://login.example.org", internal_url=server.url)
    with Authentik(target, {"token": TOKEN}) as provider:
        endpoints = provider.ensure_client(REQUEST).endpoints
    assert server.hosts == {"login.example.org"}
    assert endpoints.issuer == f"https://login.example.org/application/o/{NAME}/"
    assert endpoints.authorize.startswith("https://login.example.org/")
    assert endpoints.token.startswith(server.url)
    assert endpoints.userinfo.startswith(server.url)


def test_the_target_s_provider_is_connected_with_its_credentials(
    server: AuthentikDouble, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "identity.json").write_text(f'{{"token": "{TOKEN}"}}')
    monkeypatch.setenv(CREDENTIALS_ENV, str(tmp_path))
    target = Target(
        name="here",
        kind="local",
        hub_domain="hubs.example.org",
        identity=IdentityTarget(kind="authentik", url=server.url),
        object_store=ObjectStoreTarget(kind="aws", endpoint=None),
    )
    provider: IdentityProvider = connect(target)
    assert isinstance(provider, Authentik)
    with provider:
        assert provider.client_names("jhaas-") == frozenset()
