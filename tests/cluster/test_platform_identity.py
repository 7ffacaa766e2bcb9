"""The platform with Authentik of its own, by its real chart: from the first admin to somebody in a course's hub, and
what becomes of its people when another provider takes its place for a while.

JHAAS_TEST_PLATFORM names the file of a stack, as for `test_platform_charts.py`; JHAAS_TEST_IMAGE the notebooks' image.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from course_stack.identity.authentik import AUTHORIZATION_FLOW, INVALIDATION_FLOW, SCOPES
from tests.cluster import kube
from tests.cluster.leftovers import everything_but_ours, left
from tests.cluster.platform_project import DESTROY, UP
from tests.cluster.platform_site import MINUTE, PagesOf, Site, platform_site
from tests.cluster.portal_pages import send, until
from tests.cluster.test_by_hand import MISSING
from tests.course_stack.identity.authentik_pages import DeniedError, Person
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(2 * 60 * 60),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

NAMESPACE, PORTAL = "jhaas-identity", "jhaas-portal"
SLUG = "signed-in"
ELSEWHERE = {"kind": "oidc", "issuer": "https://sso.example.org", "client_id": "jhaas"}


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
    with platform_site(platform_file, tmp_path_factory.mktemp("platform")) as made:
        yield made


def test_up_ends_when_workers_find_what_courses_need(site: Site) -> None:
    token = json.loads(kube.secret(PORTAL, "portal-credentials")["identity.json"])["token"]
    headers, trust = {"Authorization": f"Bearer {token}"}, ssl.create_default_context(cafile=str(site.trust))
    with httpx.Client(base_url=f"{site.login}/api/v3", headers=headers, verify=trust, trust_env=False) as http:
        flows = http.get("/flows/instances/?page_size=100").raise_for_status().json()["results"]
        scopes = http.get("/propertymappings/provider/scope/?page_size=100").raise_for_status().json()["results"]
    assert {AUTHORIZATION_FLOW, INVALIDATION_FLOW} <= {one["slug"] for one in flows}
    assert {f"goauthentik.io/providers/oauth2/scope-{name}" for name in SCOPES} <= {one["managed"] for one in scopes}


def test_up_ends_when_people_can_sign_in(site: Site) -> None:
    """The very moment after: no try is repeated."""
    site.make_people()
    # the second factor that was set up is asked for, and the way in without one is closed
    assert site.admin.authenticator
    with PagesOf(site, Person("akadmin", site.admin.password), site.browser()) as pages, pytest.raises(DeniedError):
        pages.open("/if/flow/default-authentication-flow/")


def test_a_second_up_changes_nothing(site: Site) -> None:
    site.project.pulumi(*UP, "--expect-no-changes")


def test_a_course_is_asked_for_approved_and_entered_by_its_people(site: Site, notebook_image: str) -> None:
    teacher, course = site.ask_for_course(SLUG, notebook_image)

    lead = site.in_hub(teacher, SLUG)
    lead.start_server()
    lead.stop_server()
    # whoever is no member of the course is refused by Authentik, not by the hub
    page = site.visit(site.browser(), site.people["student"], f"{site.hub(SLUG)}hub/home")
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
    assert site.admin_password != site.admin.password
    with PagesOf(site, site.admin, site.browser()) as pages:
        pages.open("/if/flow/jhaas-sign-in/")
        assert pages.call("GET", "/core/users/me/")["user"]["username"] == "akadmin"
    site.project.pulumi(*UP, "--expect-no-changes")


def test_destroy_leaves_nothing_but_definitions(site: Site, before: set[tuple[str, ...]]) -> None:
    site.project.pulumi(*DESTROY)
    wait_for(lambda: not left(before), f"nothing is left; {sorted(left(before))}", 2 * MINUTE)
