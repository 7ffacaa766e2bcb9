"""The platform with Authentik of its own, by its real chart: from the first admin to somebody in a course's hub, and
what becomes of its people when another provider takes its place for a while.

JHAAS_TEST_PLATFORM names the file of a stack, as for `test_platform_charts.py`; JHAAS_TEST_IMAGE the notebooks' image.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import httpx
import pytest
import requests

from course_stack.identity.authentik import AUTHORIZATION_FLOW, INVALIDATION_FLOW, SCOPES
from tests.cluster import kube
from tests.cluster.course import SMALL
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.test_by_hand import MISSING
from tests.cluster.test_platform_charts import MINUTE, everything_but_ours, left
from tests.cluster.test_portal_in_pods import send, until
from tests.course_stack.identity.authentik_pages import Browser as Pages
from tests.course_stack.identity.authentik_pages import DeniedError, Person
from tests.support.browser import Browser
from tests.support.hub_client import HubPerson
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(2 * 60 * 60),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

NAMESPACE, PORTAL = "jhaas-identity", "jhaas-portal"
SLUG = "signed-in"
ELSEWHERE = {"kind": "oidc", "issuer": "https://sso.example.org", "client_id": "jhaas"}


@dataclass
class Site:
    """A platform with Authentik, and its people."""

    project: Project
    trust: Path
    """Certificate of who signed the site's."""
    admin: Person = field(default_factory=lambda: Person("akadmin", ""))
    people: dict[str, Person] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)

    @property
    def portal(self) -> str:
        return f"https://{self.project.sections['site']['portal_host']}"

    @property
    def login(self) -> str:
        host = self.project.sections["site"].get("identity_host")
        return f"https://{host}" if host else self.portal.replace("https://", "https://login.")

    @property
    def hub(self) -> str:
        return f"https://{SLUG}.{self.project.sections['site']['hub_domain']}/"

    def browser(self) -> Browser:
        """Of somebody new."""
        made = Browser()
        made.session.verify = str(self.trust)
        return made

    def visit(self, browser: Browser, person: Person, url: str) -> requests.Response:
        """The page at which somebody ends up, who answers every question of Authentik's on the way."""
        page = browser.get(url)
        while page.url.startswith(f"{self.login}/if/flow/"):
            with PagesOf(self, person, browser) as pages:
                page = browser.get(urljoin(self.login, pages.open(page.url)))
        return page


class PagesOf(Pages):
    """Authentik's pages in a browser that was somewhere else before."""

    def __init__(self, site: Site, person: Person, browser: Browser) -> None:
        super().__init__(site.login, person, verify=ssl.create_default_context(cafile=str(site.trust)))
        self._http.cookies = browser.session.cookies  # one jar

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Authentik's API, as its own pages call it. Raises `httpx.HTTPStatusError`."""
        headers = {"X-authentik-CSRF": self._http.cookies.get("authentik_csrf") or "", "Referer": f"{self.url}/"}
        answer = self._http.request(method, f"/api/v3{path}", json=body or None, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def before(platform_file: dict[str, Any]) -> set[tuple[str, ...]]:
    """What the cluster has without a platform."""
    if platform_file["config"].get("jhaas-platform:identity", {}).get("kind", "authentik") != "authentik":
        pytest.skip("the stack's file that JHAAS_TEST_PLATFORM names chooses another identity provider")
    return everything_but_ours()


@pytest.fixture(scope="module")
def site(
    platform_file: dict[str, Any], before: set[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The platform, as one `up` from nothing made it."""
    folder = tmp_path_factory.mktemp("platform")
    project = Project.of(platform_file, folder, seconds=40 * MINUTE)
    trust = folder / "authority.crt"
    try:
        project.pulumi(*UP)
        (authority,) = [
            one for one in kube.show("secrets", "-n", "cert-manager") if one["metadata"]["name"] == "jhaas-authority"
        ]
        trust.write_bytes(base64.b64decode(authority["data"]["tls.crt"]))
        yield Site(project, trust)
    finally:
        project.pulumi(*DESTROY)


def test_up_ends_when_workers_find_what_courses_need(site: Site) -> None:
    (given,) = [one for one in kube.show("secrets", "-n", PORTAL) if one["metadata"]["name"] == "portal-credentials"]
    token = json.loads(base64.b64decode(given["data"]["identity.json"]))["token"]
    headers, trust = {"Authorization": f"Bearer {token}"}, ssl.create_default_context(cafile=str(site.trust))
    with httpx.Client(base_url=f"{site.login}/api/v3", headers=headers, verify=trust, trust_env=False) as http:
        flows = http.get("/flows/instances/?page_size=100").raise_for_status().json()["results"]
        scopes = http.get("/propertymappings/provider/scope/?page_size=100").raise_for_status().json()["results"]
    assert {AUTHORIZATION_FLOW, INVALIDATION_FLOW} <= {one["slug"] for one in flows}
    assert {f"goauthentik.io/providers/oauth2/scope-{name}" for name in SCOPES} <= {one["managed"] for one in scopes}


def test_up_ends_when_people_can_sign_in(site: Site) -> None:
    """The very moment after: no try is repeated."""
    site.admin.password = _admin_password(site)
    browser = site.browser()
    site.visit(browser, site.admin, f"{site.login}/if/flow/jhaas-sign-in/")
    with PagesOf(site, site.admin, browser) as pages:
        me = pages.call("GET", "/core/users/me/")["user"]
        assert (me["username"], me["is_superuser"]) == ("akadmin", True)
        for role, groups in {"governance": ["jhaas-governance"], "teacher": ["jhaas-teachers"], "student": []}.items():
            name, password = f"{role}@example.org", secrets.token_urlsafe(16)
            found = pages.call("GET", "/core/groups/?include_users=false&page_size=100")["results"]
            chosen = [one["pk"] for one in found if one["name"] in groups]
            assert len(chosen) == len(groups)
            made = pages.call("POST", "/core/users/", username=name, name=role.title(), email=name, groups=chosen)
            pages.call("POST", f"/core/users/{made['pk']}/set_password/", password=password)
            site.people[role], site.subjects[role] = Person(name, password), made["uuid"]
    # the second factor that was set up is asked for, and the way in without one is closed
    assert site.admin.authenticator
    with PagesOf(site, Person("akadmin", site.admin.password), site.browser()) as pages, pytest.raises(DeniedError):
        pages.open("/if/flow/default-authentication-flow/")


def test_a_second_up_changes_nothing(site: Site) -> None:
    site.project.pulumi(*UP, "--expect-no-changes")


def test_a_course_is_asked_for_approved_and_entered_by_its_people(site: Site, notebook_image: str) -> None:
    teacher, governance = site.browser(), site.browser()
    for role, browser in (("teacher", teacher), ("governance", governance)):
        page = site.visit(browser, site.people[role], f"{site.portal}/sign-in")
        assert (page.status_code, page.url.startswith(site.portal)) == (200, True), page.url
    day = datetime.now(ZoneInfo(site.project.sections["site"].get("timezone", "Europe/Berlin"))).date().isoformat()
    fields = {
        "title": "A course with Authentik",
        "slug": SLUG,
        "first_day": day,
        "last_day": day,
        "seats": "3",
        "join_policy": "admits",
        "target": "cluster",
        "image": notebook_image,
        "default_url": "/lab",
        "home_size": "0.25",
        **{f"resources.{name}": str(value) for name, value in SMALL.items()},
    }
    course = send(teacher, f"{site.portal}/courses/new", "/courses/new", **fields).url
    number = course.rstrip("/").rpartition("/")[2].partition("?")[0]
    send(governance, f"{site.portal}/governance/courses/{number}", "/approve")
    until(teacher, course, "active", 20 * MINUTE)

    # a browser that was at the portal is signed in at the hub without a question; it was asked for nothing before
    page = site.visit(teacher, Person("nobody", ""), f"{site.hub}hub/home")
    assert (page.status_code, page.url.startswith(site.hub)) == (200, True), (page.url, page.text[:500])
    lead = HubPerson(site.hub, site.subjects["teacher"], teacher)
    lead.start_server()
    lead.stop_server()
    # whoever is no member of the course is refused by Authentik, not by the hub
    page = site.visit(site.browser(), site.people["student"], f"{site.hub}hub/home")
    assert page.url.startswith(site.login), page.url
    assert "Permission denied" in page.text

    send(teacher, f"{course}/end", "/end", consent="yes", reason="It was a trial.")
    until(teacher, course, "archived", 20 * MINUTE)


def test_people_stay_while_another_provider_takes_the_place_of_authentik(site: Site) -> None:
    kept = site.project.sections.get("identity", {})
    site.project.configure(identity=ELSEWHERE)
    site.project.pulumi("config", "set", "--secret", "--path", "jhaas-platform:identity.client_secret", "--", "of-sso")
    site.project.pulumi(*UP)
    assert NAMESPACE not in {one["metadata"]["name"] for one in kube.show("namespaces")}
    site.project.pulumi(*UP, "--expect-no-changes")

    site.project.sections.pop("identity")
    site.project.configure(**({"identity": kept} if kept else {}))
    site.project.pulumi(*UP)
    # for some seconds the edge still knows the pods of before
    browser = site.browser()
    wait_for(lambda: browser.get(f"{site.portal}/sign-in").url.startswith(site.login), "sign-in leads to Authentik")
    page = site.visit(browser, site.people["teacher"], f"{site.portal}/sign-in")
    assert (page.status_code, page.url.startswith(site.portal)) == (200, True), page.url
    assert browser.get(f"{site.portal}/courses/new").status_code == 200
    # the first admin too has the password of before, not that of the output
    assert _admin_password(site) != site.admin.password
    with PagesOf(site, site.admin, site.browser()) as pages:
        pages.open("/if/flow/jhaas-sign-in/")
        assert pages.call("GET", "/core/users/me/")["user"]["username"] == "akadmin"
    site.project.pulumi(*UP, "--expect-no-changes")


def test_destroy_leaves_nothing_but_definitions(site: Site, before: set[tuple[str, ...]]) -> None:
    site.project.pulumi(*DESTROY)
    wait_for(lambda: not left(before), f"nothing is left; {sorted(left(before))}", 2 * MINUTE)


def _admin_password(site: Site) -> str:
    return site.project.pulumi("stack", "output", "admin_password", "--show-secrets").strip()
