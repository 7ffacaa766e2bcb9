"""Who may call what: every route with every role and with none. A route that is not in the table fails."""

from __future__ import annotations

import uuid

import pytest
from flask import Flask

from portal.web.access import Access, access_of
from tests.portal.web.world import ROLES, World

EVERYBODY = frozenset(ROLES)
PEOPLE = EVERYBODY - {"nobody"}
TEACHERS = frozenset({"teacher", "lead", "governance"})
IN_THE_COURSE = frozenset({"participant", "lead", "governance"})
LEADERS = frozenset({"lead", "governance"})
GOVERNANCE = frozenset({"governance"})
NONE: frozenset[str] = frozenset()

WHO: dict[str, frozenset[str]] = {
    "static": EVERYBODY,
    "auth.sign_in": EVERYBODY,
    "auth.callback": EVERYBODY,
    "auth.signed_out": EVERYBODY,
    "auth.provider_sign_out": EVERYBODY,
    "auth.sign_out": PEOPLE,
    "profile.show": PEOPLE,
    "profile.end_session": NONE,  # the session of the table is nobody's
    "profile.end_others": PEOPLE,
    "profile.choose_language": EVERYBODY,
    "demo.move_clock": NONE,  # this site is no demo
    "health.live": EVERYBODY,
    "health.ready": EVERYBODY,
    "health.prometheus": EVERYBODY,  # from this machine; see test_health.py
    "courses.mine": PEOPLE,
    "courses.show": IN_THE_COURSE,
    "courses.add_lead": LEADERS,
    "courses.remove_lead": NONE,  # the person of the table is no lead: there is nothing to remove
    "courses.retry": LEADERS,
    "courses.end": LEADERS,
    "requests.ask": TEACHERS,
    "requests.send": TEACHERS,
    "requests.live_estimate": TEACHERS,
    "requests.edit": frozenset({"lead"}),
    "requests.take_back": LEADERS,
    "requests.change": LEADERS,
    "requests.take_change_back": LEADERS,
    "requests.extend": LEADERS,
    "governance.queue": GOVERNANCE,
    "governance.courses": GOVERNANCE,
    "governance.decide": GOVERNANCE,
    "governance.approve": GOVERNANCE,
    "governance.reject": GOVERNANCE,
    "governance.change": GOVERNANCE,
    "governance.approve_change": GOVERNANCE,
    "governance.reject_change": GOVERNANCE,
    "calendar.show": TEACHERS,
    "images.catalogue": GOVERNANCE,
    "images.add": GOVERNANCE,
    "images.edit": GOVERNANCE,
    "mails.outbox": GOVERNANCE,
    "mails.try_again": GOVERNANCE,
    "demo.mails": NONE,
    "demo.mail": NONE,
    "audit.index": GOVERNANCE,
    "platform.show": GOVERNANCE,
    "operations.index": GOVERNANCE,
    "operations.show": LEADERS,
    "operations.log": LEADERS,
    "operations.news": LEADERS,
    "operations.events": LEADERS,
    "archives.show": LEADERS,
    "archives.waive": GOVERNANCE,
    "joining.show": PEOPLE,  # who has the link
    "joining.join": PEOPLE,
    "joining.confirm_leaving": frozenset({"participant"}),
    "joining.leave": frozenset({"participant"}),
    "participants.people": LEADERS,
    "participants.link": LEADERS,
    "participants.settle": LEADERS,
    "participants.settle_chosen": LEADERS,
}
"""Endpoint → roles that get through: to the page, or to what the page itself says of what was sent."""

CLOSED = (401, 403, 404)


def test_every_route_has_its_place_in_the_table(app: Flask) -> None:
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert endpoints - set(WHO) == set(), "say who may call them"
    assert set(WHO) - endpoints == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_route_lets_through_whom_it_is_for(app: Flask, world: World, role: str) -> None:
    wrong = []
    # leaving, then joining are last: afterwards people are what they were not
    last = ("joining.leave", "joining.join")
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: (rule.endpoint in last) + (rule.endpoint == last[1])):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            client = world.client(app, role)
            data = {"csrf_token": client.csrf_token(), "deed": "accept"} if method != "GET" else None
            with client.open(world.path(app, rule), method=method, data=data) as response:
                to_sign_in = response.headers.get("Location", "").startswith("/sign-in?")
                is_through = not to_sign_in and response.status_code not in CLOSED
                if response.status_code >= 500 or is_through != (role in WHO.get(rule.endpoint, NONE)):
                    wrong.append((method, rule.rule, response.status_code))
    assert wrong == []


def test_only_these_routes_are_for_strangers(app: Flask) -> None:
    """The default is: a person is needed."""
    public = {endpoint for endpoint in app.view_functions if access_of(app, endpoint) is Access.ANYBODY}
    assert public == {endpoint for endpoint, roles in WHO.items() if "nobody" in roles}


def test_a_route_that_says_nothing_needs_a_person(app: Flask, world: World) -> None:
    app.add_url_rule("/new", "new", lambda: "hello")
    assert world.client(app, "nobody").get("/new").status_code == 302
    assert world.client(app, "stranger").get("/new").status_code == 200


def test_scripts_and_programs_get_a_status_in_place_of_a_way_to_sign_in(app: Flask, world: World) -> None:
    client = world.client(app, "nobody")
    assert client.get("/profile/", headers={"Accept": "application/json"}).status_code == 401
    assert client.get("/profile/", headers={"Sec-Fetch-Mode": "cors"}).status_code == 401
    assert client.get("/profile/", headers={"Sec-Fetch-Mode": "navigate"}).status_code == 302
    assert client.bare_post("/sign-out").status_code == 401


HOSTILE = ("x", "0", "-1", "9" * 40, "'", '"><script>', "%00", "%ff%fe", "..%2f..", "a" * 3000, "é🐍",
           "00000000-0000-0000-0000-000000000000", "{{7*7}}", "%0d%0aX: y")  # fmt: skip
QUERIES = ("from", "to", "zoom", "target", "page", "after", "before", "q", "status", "standing", "course", "course_id",
           "person", "kind", "next", "action", "actor", "day", "year", "month", "slug", "state", "code", "tries",
           "since", "until", "n", "of", "clone", "copy")  # fmt: skip


@pytest.mark.parametrize("role", ["nobody", "lead", "governance"])
def test_malformed_addresses_are_not_found_and_never_a_failure(app: Flask, world: World, role: str) -> None:
    """E1, E12: whatever stands in an address, the answer is no failure of ours."""
    client = world.client(app, role)
    for rule in app.url_map.iter_rules():
        if not rule.arguments or rule.endpoint == "static":
            continue
        for hostile in (*HOSTILE, str(uuid.uuid4())):
            path = rule.rule
            for _ in rule.arguments:
                before, _, rest = path.partition("<")
                path = before + hostile + rest.partition(">")[2]
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                data = {"csrf_token": client.csrf_token()} if method != "GET" else None
                with client.open(path, method=method, data=data) as response:
                    assert response.status_code < 500, (method, path)


def test_malformed_queries_are_never_a_failure(app: Flask, world: World) -> None:
    client = world.client(app, "governance")
    for rule in app.url_map.iter_rules():
        for hostile in HOSTILE:
            if "GET" in (rule.methods or ()) and rule.endpoint not in ("static", "operations.events"):
                query = "&".join(f"{name}={hostile}" for name in QUERIES)
                with client.get(f"{world.path(app, rule)}?{query}") as response:
                    assert response.status_code < 500, (rule.rule, hostile)


def test_malformed_forms_are_never_a_failure(app: Flask, world: World) -> None:
    """Nor is a form that says something else in every field that any of our forms has."""
    names = ("title", "slug", "first_day", "last_day", "seats", "image", "reason", "deed", "days", "language",
             "version", "user_id", "chosen", "who", "person", "login", "resources.memory_limit", "home_size",
             "profiles-0-name", "join_policy", "comment", "reference", "position", "description", "figures", "confirm",
             "next", "logout_token", "target", "last", "revision", "change_id")  # fmt: skip
    client = world.client(app, "lead")
    for hostile in ("\0", "9" * 40, "é🐍\u202e", "a" * 5000):
        for role in ("lead", "governance"):
            for rule in app.url_map.iter_rules():
                if "POST" in (rule.methods or ()):
                    if client.session_token is None or not client.csrf_token():
                        client = world.client(app, role)  # one of the forms signed out
                    form = {"csrf_token": client.csrf_token(), **dict.fromkeys(names, hostile)}
                    response = client.bare_post(world.path(app, rule), data=form)
                    assert response.status_code < 500, (rule.rule, hostile)
            client = world.client(app, "governance" if role == "lead" else "lead")
