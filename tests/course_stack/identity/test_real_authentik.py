"""A real Authentik to which the platform's blueprint was applied: what the double claims of it is true.

It runs where an address and tokens are given (docs/developing.md) and removes what it made.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from course_stack.identity import ClientRequest, IdentityError, OidcClient
from course_stack.identity.authentik import Authentik
from course_stack.target import IdentityTarget
from tests.course_stack.identity.authentik_pages import Browser, DeniedError
from tests.course_stack.identity.real_authentik import PREFIX, TOKEN, URL, Admin, administrator, there_is_one

pytestmark = there_is_one


@pytest.fixture(scope="module")
def admin() -> Iterator[Admin]:
    with administrator() as found:
        yield found


@pytest.fixture
def provider() -> Iterator[Authentik]:
    with Authentik(IdentityTarget(kind="authentik", url=URL), {"token": TOKEN}) as found:
        yield found


@pytest.fixture
def request_of_course(provider: Authentik) -> Iterator[ClientRequest]:
    """A course that there is not yet, and that is gone afterwards."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    host = f"https://{name}.hubs.example.org"
    yield ClientRequest(name, f"Trial {name}", f"{host}/hub/oauth_callback", f"{host}/", f"{host}/", name)
    provider.delete_client(name)
    provider.delete_group(name)


Course = ClientRequest


def test_a_course_is_made_adopted_changed_and_removed_by_the_narrow_account(
    provider: Authentik, admin: Admin, request_of_course: Course
) -> None:
    (_, ann), (_, bob) = admin.person(), admin.person()
    name = request_of_course.name
    group = provider.ensure_group(name, [ann])
    assert provider.ensure_group(name, [ann, bob]) == group
    assert provider.group_members(name) == frozenset({ann, bob})
    client = provider.ensure_client(request_of_course)
    assert provider.ensure_client(request_of_course) == client == provider.find_client(name)
    changed = replace(request_of_course, title="Another title", post_logout_uri="https://other.example.org/")
    assert provider.ensure_client(changed).secret == client.secret
    (shown,) = [one for one in admin.find("/core/applications/", superuser_full_list="true") if one["slug"] == name]
    assert (shown["name"], shown["policy_engine_mode"]) == ("Another title", "all")
    assert provider.client_names(PREFIX) >= {name}
    assert provider.group_names(PREFIX) >= {name}
    with pytest.raises(IdentityError, match="is not deleted: without it everybody could open"):
        provider.delete_group(name)
    provider.delete_client(name)
    assert provider.find_client(name) is None
    provider.delete_group(name)
    assert provider.group_members(name) is None
    assert (provider.client_names(name), provider.group_names(name)) == (frozenset(), frozenset())


def test_an_unknown_subject_is_named_before_anything_changes(provider: Authentik, request_of_course: Course) -> None:
    nobody = "00000000-0000-4000-8000-000000000001"
    with pytest.raises(IdentityError, match="is no account") as raised:
        provider.ensure_group(request_of_course.group, [nobody])
    assert raised.value.unknown == nobody
    assert provider.group_members(request_of_course.group) is None


def _only_an_application(provider: Authentik, wanted: Course) -> None:
    provider._send(
        "POST",
        "/core/applications/",
        "/core/applications/",
        {201},
        json={"name": wanted.title, "slug": wanted.name, "policy_engine_mode": "all"},
    )


def _a_guarded_application(provider: Authentik, wanted: Course) -> None:
    provider.ensure_group(wanted.group, [])
    _only_an_application(provider, wanted)
    application = provider._application(wanted.name)
    group = provider._group(wanted.group)
    assert application
    assert group
    provider._guard(application, group)


def _without_its_application(provider: Authentik, wanted: Course) -> None:
    provider.ensure_client(wanted)
    provider._delete(f"/core/applications/{wanted.name}/")


def _bound_twice(provider: Authentik, wanted: Course) -> None:
    provider.ensure_client(wanted)
    application, group = provider._application(wanted.name), provider._group(wanted.group)
    assert application
    assert group
    binding = {"target": application["pk"], "group": group["pk"], "order": 1, "enabled": True, "negate": False}
    provider._send("POST", "/policies/bindings/", "/policies/bindings/", {201}, json=binding)


HALF_MADE = [_only_an_application, _a_guarded_application, _without_its_application, _bound_twice]


@pytest.mark.parametrize("half", HALF_MADE, ids=lambda half: half.__name__.strip("_").replace("_", " "))
def test_half_made_courses_are_finished_and_removed(
    provider: Authentik, request_of_course: Course, half: Callable[[Authentik, Course], None]
) -> None:
    half(provider, request_of_course)
    client = provider.ensure_client(request_of_course)
    assert provider.find_client(request_of_course.name) == client
    application = provider._application(request_of_course.name)
    assert application
    (binding,) = provider._bindings(application)
    assert binding["group"] == provider.ensure_group(request_of_course.group, [])
    provider.delete_client(request_of_course.name)
    half(provider, request_of_course)
    provider.delete_client(request_of_course.name)
    assert provider.client_names(request_of_course.name) == frozenset()


# --- what the account may not


@pytest.mark.parametrize("path", ["/rbac/roles/", "/events/events/", "/admin/system/", "/stages/all/", "/sources/all/"])
def test_the_account_sees_nothing_else(provider: Authentik, path: str) -> None:
    assert provider._http.get(path).status_code == 403


def test_the_account_reads_the_secrets_of_its_own_clients_alone(
    provider: Authentik, admin: Admin, request_of_course: Course
) -> None:
    provider.ensure_client(request_of_course)
    (portal,) = admin.find("/providers/oauth2/", client_id="jhaas-portal")
    assert {one["name"] for one in provider._all("/providers/oauth2/")} == {request_of_course.name}
    assert provider._http.get(f"/providers/oauth2/{portal['pk']}/").status_code == 404
    assert "secret" not in provider._http.get("/core/applications/jhaas-portal/").text
    for key in provider._all("/crypto/certificatekeypairs/", has_key="true"):
        assert provider._http.get(f"/crypto/certificatekeypairs/{key['pk']}/view_private_key/").status_code == 403


def test_the_account_changes_nothing_that_it_did_not_make(provider: Authentik, admin: Admin) -> None:
    (portal,) = admin.find("/providers/oauth2/", client_id="jhaas-portal")
    (governance,) = provider._all("/core/groups/", name="jhaas-governance", include_users="false")
    _, subject = admin.person()
    (user,) = admin.find("/core/users/", uuid=subject)
    tries = [
        ("PATCH", f"/providers/oauth2/{portal['pk']}/", {"name": "mine"}),
        ("DELETE", f"/providers/oauth2/{portal['pk']}/", None),
        ("PATCH", "/core/applications/jhaas-portal/", {"name": "mine"}),
        ("DELETE", "/core/applications/jhaas-portal/", None),
        ("PATCH", f"/core/groups/{governance['pk']}/", {"users": [user["pk"]]}),
        ("POST", f"/core/groups/{governance['pk']}/add_user/", {"pk": user["pk"]}),
        ("DELETE", f"/core/groups/{governance['pk']}/", None),
        ("PATCH", f"/core/users/{user['pk']}/", {"name": "mine"}),
        ("POST", f"/core/users/{user['pk']}/set_password/", {"password": "mine"}),
        ("POST", "/core/users/", {"username": "mine", "name": "mine"}),
        ("POST", "/flows/instances/", {"name": "mine", "slug": "mine", "title": "mine", "designation": "recovery"}),
    ]
    done = [
        (method, path, status)
        for method, path, body in tries
        if (status := provider._http.request(method, path, json=body).status_code) not in (403, 404)
    ]
    assert done == []
    assert provider._all("/core/groups/", name="jhaas-governance", include_users="false")[0]["users"] == []


def test_the_account_makes_no_group_of_administrators(provider: Authentik, request_of_course: Course) -> None:
    body = {"name": request_of_course.group, "is_superuser": True}
    assert provider._http.post("/core/groups/", json=body).status_code in (400, 403)


# --- sign-in


def _authorize(client: OidcClient, wanted: Course) -> str:
    query = {
        "client_id": client.client_id,
        "redirect_uri": wanted.redirect_uri,
        "response_type": "code",
        "scope": "openid profile email groups",
        "state": "state",
    }
    return f"{client.endpoints.authorize}?{urlencode(query)}"


def _exchanged(client: OidcClient, wanted: Course, back: str) -> dict[str, object]:
    """What the hub's authenticator does with the code: by basic authentication, then it asks who that is."""
    query = parse_qs(urlsplit(back).query)
    assert back.startswith(f"{wanted.redirect_uri}?")
    assert query["state"] == ["state"]
    form = {"grant_type": "authorization_code", "code": query["code"][0], "redirect_uri": wanted.redirect_uri}
    with httpx.Client(timeout=60, trust_env=False) as http:
        token = http.post(client.endpoints.token, data=form, auth=(client.client_id, client.secret))
        assert token.is_success, token.text
        bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
        person = http.get(client.endpoints.userinfo, headers=bearer)
        again = http.post(client.endpoints.token, data=form, auth=(client.client_id, client.secret))
    assert person.is_success, person.text
    assert again.status_code == 400, "a code counts once"
    return dict(person.json())


def test_a_member_signs_in_to_the_course_and_a_stranger_does_not(
    provider: Authentik, admin: Admin, request_of_course: Course
) -> None:
    (ann, subject), (eve, _) = admin.person(), admin.person()
    provider.ensure_group(request_of_course.group, [subject])
    client = provider.ensure_client(request_of_course)
    with Browser(URL, ann) as browser:
        back = browser.open(_authorize(client, request_of_course))
        assert browser.steps == [
            "ak-stage-identification",
            "ak-stage-password",
            # chooses what to set up, sets it up
            "ak-stage-authenticator-validate",
            "ak-stage-authenticator-totp",
            "ak-stage-authenticator-static",
        ]
        person = _exchanged(client, request_of_course, back)
        assert person["sub"] == subject
        assert request_of_course.group in list(person["groups"])  # type: ignore[call-overload]
        # signed in already, and nobody is asked for consent
        assert browser.open(_authorize(client, request_of_course)).startswith(request_of_course.redirect_uri)
    assert len(ann.recovery_codes) == 6
    with Browser(URL, eve) as browser:
        try:
            end = browser.open(_authorize(client, request_of_course))
        except DeniedError:
            end = "denied"
    assert not end.startswith(request_of_course.redirect_uri)
    # who is put out does not get in again
    provider.ensure_group(request_of_course.group, [])
    with Browser(URL, ann) as browser:
        try:
            end = browser.open(_authorize(client, request_of_course))
        except DeniedError:
            end = "denied"
        assert browser.steps[:3] == ["ak-stage-identification", "ak-stage-password", "ak-stage-authenticator-validate"]
    assert not end.startswith(request_of_course.redirect_uri)


def test_nobody_gets_in_with_a_password_alone(admin: Admin) -> None:
    person, _ = admin.person()
    with Browser(URL, person) as browser, pytest.raises(DeniedError):
        browser.open("/if/flow/default-authentication-flow/")
    with Browser(URL, person) as browser:
        browser.open("/if/flow/jhaas-sign-in/", stop_at="ak-stage-authenticator-validate")
        assert browser.get("/api/v3/core/users/me/").status_code == 403
