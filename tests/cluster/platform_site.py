"""A platform with Authentik of its own on a cluster, and its people, as they use it."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

import requests

from tests.cluster import kube
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.portal_pages import approved, until
from tests.course_stack.identity.authentik_pages import Browser as Pages
from tests.course_stack.identity.authentik_pages import Person
from tests.support.browser import Browser
from tests.support.hub_client import HubPerson

MINUTE = 60
PEOPLE = {"governance": ["jhaas-governance"], "teacher": ["jhaas-teachers"], "student": []}
"""Role → groups."""


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

    def hub(self, slug: str) -> str:
        return f"https://{slug}.{self.project.sections['site']['hub_domain']}/"

    @property
    def admin_password(self) -> str:
        """The first admin's, as `up` tells it."""
        return self.project.pulumi("stack", "output", "admin_password", "--show-secrets").strip()

    def trust_again(self) -> None:
        """Trust whom the cluster has sign now."""
        self.trust.write_text(kube.secret("cert-manager", "jhaas-authority")["tls.crt"])

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

    def make_people(self) -> None:
        """The first admin signs in and makes them, by the API that Authentik's own pages call."""
        self.admin.password = self.admin_password
        browser = self.browser()
        self.visit(browser, self.admin, f"{self.login}/if/flow/jhaas-sign-in/")
        with PagesOf(self, self.admin, browser) as pages:
            me = pages.call("GET", "/core/users/me/")["user"]
            assert (me["username"], me["is_superuser"]) == ("akadmin", True)
            for role, groups in PEOPLE.items():
                name, password = f"{role}@example.org", secrets.token_urlsafe(16)
                found = pages.call("GET", "/core/groups/?include_users=false&page_size=100")["results"]
                chosen = [one["pk"] for one in found if one["name"] in groups]
                assert len(chosen) == len(groups)
                made = pages.call("POST", "/core/users/", username=name, name=role.title(), email=name, groups=chosen)
                pages.call("POST", f"/core/users/{made['pk']}/set_password/", password=password)
                self.people[role], self.subjects[role] = Person(name, password), made["uuid"]

    def at_portal(self, role: str) -> Browser:
        """Of one of the people, signed in."""
        browser = self.browser()
        page = self.visit(browser, self.people[role], f"{self.portal}/sign-in")
        assert (page.status_code, page.url.startswith(self.portal)) == (200, True), page.url
        return browser

    def ask_for_course(self, slug: str, image: str) -> tuple[Browser, str]:
        """The teacher asks for a course of today, governance approves it, and its hub comes up.

        The teacher's browser, and the course's address in the portal.
        """
        teacher, governance = self.at_portal("teacher"), self.at_portal("governance")
        day = datetime.now(ZoneInfo(self.project.sections["site"].get("timezone", "Europe/Berlin"))).date().isoformat()
        title = "A course with Authentik"
        course = approved(self.portal, teacher, governance, image=image, day=day, slug=slug, title=title)
        until(teacher, course, "active", 20 * MINUTE)
        return teacher, course

    def in_hub(self, teacher: Browser, slug: str) -> HubPerson:
        """The teacher, in the hub: a browser that was at the portal is signed in there without a question."""
        page = self.visit(teacher, Person("nobody", ""), f"{self.hub(slug)}hub/home")
        assert (page.status_code, page.url.startswith(self.hub(slug))) == (200, True), (page.url, page.text[:500])
        return HubPerson(self.hub(slug), self.subjects["teacher"], teacher)


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


@contextmanager
def platform_site(file: dict[str, Any], folder: Path) -> Iterator[Site]:
    """The platform of a stack's file, as one `up` from nothing made it; nothing of it afterwards."""
    project = Project.of(file, folder, seconds=40 * MINUTE)
    try:
        project.pulumi(*UP)
        site = Site(project, folder / "authority.crt")
        site.trust_again()
        yield site
    finally:
        project.pulumi(*DESTROY)
