"""What every answer tells the browser: OWASP ASVS 5.0, chapter 3, each point a test of its own."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.http import parse_set_header

from portal.config import PortalSettings
from portal.web.headers import content_security_policy
from tests.portal.client import PortalClient
from tests.portal.provider import FakeProvider
from tests.portal.web.world import World

PLACES = ["/profile/", "/nothing", "/signed-out", "/sign-in/callback", "/static/favicon.svg", "/health/live",
          "/governance/mails/"]  # fmt: skip
"""A page, what is not there, public pages, an error, a file, what machines ask, what is not allowed."""


def cookies_of(client: PortalClient) -> dict[str, str]:
    """Every cookie that a browser gets on its way through the portal: name → attributes."""
    found: dict[str, str] = {}
    asked = client.get("/sign-in?next=/profile/")
    state = parse_qs(urlsplit(asked.headers["Location"]).query)["state"][0]
    back = client.get(f"/sign-in/callback?state={state}&code=anna")
    language = client.post("/profile/language", data={"language": "de"})
    ended = client.post("/profile/sessions/end-others")  # flashes a message
    for response in (asked, back, language, ended, client.post("/sign-out")):
        for header in response.headers.getlist("Set-Cookie"):
            name, _, rest = header.partition("=")
            found.setdefault(name, rest)
    assert len(found) == 4, sorted(found)
    return found


def test_asvs_3_3_1_cookies_go_over_secure_ways_only(client: PortalClient) -> None:
    for name, attributes in cookies_of(client).items():
        assert "; Secure" in attributes, name


def test_asvs_3_3_2_cookies_are_not_sent_by_other_sites(client: PortalClient) -> None:
    for name, attributes in cookies_of(client).items():
        assert "; SameSite=Lax" in attributes, name


def test_asvs_3_3_3_cookies_belong_to_this_host_alone(client: PortalClient) -> None:
    """E9: a hub under the same parent domain can neither set nor read them."""
    for name, attributes in cookies_of(client).items():
        assert name.startswith("__Host-"), name
        assert "; Path=/" in attributes
        assert "Domain" not in attributes


def test_asvs_3_3_4_scripts_cannot_read_cookies(client: PortalClient) -> None:
    for name, attributes in cookies_of(client).items():
        assert "; HttpOnly" in attributes, name


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_1_browsers_use_https_for_a_year(client: PortalClient, place: str) -> None:
    with client.get(place) as response:
        age = re.search(r"max-age=(\d+)", response.headers["Strict-Transport-Security"])
        assert age is not None
        assert int(age[1]) >= 365 * 24 * 3600


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_2_no_other_site_may_read_answers(client: PortalClient, place: str) -> None:
    with client.get(place, headers={"Origin": "https://evil.example.org"}) as response:
        assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_3_nothing_inline_and_nothing_foreign_runs(client: PortalClient, place: str) -> None:
    with client.get(place) as response:
        policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["object-src"] == policy["base-uri"] == "'none'"
    assert not [value for value in policy.values() if "unsafe" in value or "*" in value or "http:" in value]
    assert policy["form-action"] == "'self' https://id.example.org"


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_4_browsers_do_not_guess_types(client: PortalClient, place: str) -> None:
    with client.get(place) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_5_addresses_are_not_told_to_other_sites(client: PortalClient, place: str) -> None:
    with client.get(place) as response:
        assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("place", PLACES)
def test_asvs_3_4_6_no_page_shows_itself_within_another(client: PortalClient, place: str) -> None:
    with client.get(place) as response:
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_plain_http_on_one_machine_promises_no_https(settings: PortalSettings) -> None:
    from portal.app import create_app

    local = settings.model_copy(update={"public_url": "http://portal.localhost:8000"})
    with create_app(local).test_client().get("/health/live") as response:
        assert "Strict-Transport-Security" not in response.headers
    assert "form-action 'self' http://id.localhost:8000" in content_security_policy("http://id.localhost:8000/x")


def test_pages_are_kept_by_no_cache_and_files_are(client: PortalClient, world: World) -> None:
    client.sign_in(world.people["lead"])
    response = client.get("/profile/")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Cookie" in parse_set_header(response.headers["Vary"])
    with client.get("/static/favicon.svg") as file:
        assert "max-age" in file.headers["Cache-Control"]


def test_what_is_too_large_is_refused(client: PortalClient, world: World) -> None:
    client.sign_in(world.people["lead"])
    assert client.post("/profile/language", data={"language": "x" * (3 * 1024 * 1024)}).status_code == 413


def test_another_name_that_leads_here_gets_nothing(client: PortalClient) -> None:
    """Host headers of others end in no link, mail or cache."""
    assert client.get("/signed-out", base_url="https://evil.example.org").status_code == 421
    assert client.get("/health/live", base_url="http://10.0.0.7:8001").status_code == 200


def test_errors_tell_nothing_but_the_requests_id(app: Flask, client: PortalClient, world: World) -> None:
    """E11."""

    @app.get("/fails")
    def fails() -> str:
        raise RuntimeError("the inner secret")

    client.sign_in(world.people["lead"])
    for accept in ("text/html", "application/json"):
        response = client.get("/fails", headers={"Accept": accept})
        assert response.status_code == 500
        assert "inner secret" not in response.text
        assert "RuntimeError" not in response.text
        assert response.headers["X-Request-ID"] in response.text
        assert response.mimetype == accept


def test_a_database_that_is_away_is_503_and_no_details(
    app: Flask, client: PortalClient, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from portal.views import auth

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("server closed the connection"))

    monkeypatch.setattr(auth, "limit", away)
    response = client.get("/sign-in")
    assert response.status_code == 503
    assert "secret" not in response.text
    assert "connection" not in response.text


def test_a_proxys_headers_count_only_where_there_is_one(settings: PortalSettings, client: PortalClient) -> None:
    """ASVS 4.1.3: nobody chooses the address or the request id that the audit log tells."""
    given = {"X-Forwarded-For": "203.0.113.7", "X-Request-ID": "chosen-by-the-client"}
    assert client.get("/health/live", headers=given).headers["X-Request-ID"] != "chosen-by-the-client"
    from portal.app import create_app

    behind = create_app(settings.model_copy(update={"proxies": 1}))
    seen: list[str] = []
    behind.before_request(lambda: seen.append(str(__import__("flask").request.remote_addr)))
    answer = behind.test_client().get("/health/live", headers={**given, "X-Forwarded-For": "1.2.3.4, 203.0.113.7"})
    assert seen == ["203.0.113.7"], "the last one is the proxy's own word"
    assert answer.headers["X-Request-ID"] == "chosen-by-the-client"
    for implausible in ("a", "x" * 65, "a b c d e f g h", "<script>alert(1)</script>"):
        answer = behind.test_client().get("/health/live", headers={"X-Request-ID": implausible})
        assert answer.headers["X-Request-ID"] != implausible
