"""The portal in its pods, from its image, by the platform's own program: a course from the form to its archives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from course_stack import identity
from course_stack.names import CourseNames
from tests.cluster import kube
from tests.cluster.portal_pages import approved, send, until
from tests.cluster.portal_site import NAMESPACE, PortalSite, portal_site
from tests.cluster.test_by_hand import MISSING
from tests.cluster.trial import Trial
from tests.support.browser import Browser
from tests.support.hub_client import HubPerson

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.machine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

ENGINES = ("cli", "embedded")


@pytest.fixture(scope="module")
def site(
    images_of_the_platform: tuple[str, str | None, Path | None], trial: Trial, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PortalSite]:
    image, store, hosts = images_of_the_platform
    if shutil.which("helm") is None:
        pytest.skip("helm is not on PATH")
    slugs = tuple(slug(engine) for engine in ENGINES)
    folder = tmp_path_factory.mktemp("portal")
    with portal_site(trial, folder, image=image, store_image=store, hosts=hosts, slugs=slugs) as made:
        yield made


def slug(engine: str) -> str:
    return f"pods-{engine}"


def signed_in(site: PortalSite, role: str) -> Browser:
    person, browser = site.trial.machine.people[role], site.browser()
    page = browser.sign_in(f"{site.url}/sign-in", person.login, person.password)
    assert page.url.startswith(site.url), page.url
    assert page.status_code == 200, page.text[:2000]
    return browser


def test_every_pod_is_ready_and_restricted(site: PortalSite) -> None:
    pods = [one for place in (NAMESPACE, "jhaas-object-storage") for one in kube.show("pods", "-n", place)]
    names = {one["metadata"]["labels"].get("app.kubernetes.io/name") for one in pods}
    assert {"portal-web", "portal-worker", "portal-scheduler", "silo"} <= names
    for one in pods:
        if one["status"]["phase"] == "Succeeded":
            continue
        assert all(container["ready"] for container in one["status"]["containerStatuses"]), one["metadata"]["name"]
        assert {container["restartCount"] for container in one["status"]["containerStatuses"]} == {0}
        user = kube.kubectl("exec", "-n", one["metadata"]["namespace"], one["metadata"]["name"], "--", "id", "-u")
        assert user.strip() == "1000"


def test_a_second_run_changes_nothing(site: PortalSite) -> None:
    site.project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_course_is_asked_for_approved_used_and_ended(site: PortalSite, engine: str) -> None:
    use(engine)
    teacher, governance = signed_in(site, "teacher"), signed_in(site, "governance")
    day = datetime.now(ZoneInfo("Europe/Berlin")).date().isoformat()
    named = {"slug": slug(engine), "title": f"A course by {engine}"}
    course = approved(site.url, teacher, governance, image=site.trial.image, day=day, **named)
    until(teacher, course, "active", 600)

    person = site.trial.machine.people["teacher"]
    lead = HubPerson(site.hub_url(slug(engine)), person.subject)
    assert lead.sign_in(person.login, person.password).status_code == 200
    lead.start_server()
    assert lead.run_cell("open('result.txt', 'w').write('kept')") == ""

    send(teacher, f"{course}/end", "/end", consent="yes", reason="It was a trial.")
    until(teacher, course, "archived", 900)
    assert traces(site, slug(engine)) == []


def traces(site: PortalSite, slug: str) -> list[str]:
    """What is left of a course in the cluster and at the identity provider."""
    names = CourseNames(slug)
    objects = kube.show("namespaces,persistentvolumes,clusterroles,clusterrolebindings")
    with closing(identity.connect(site.trial.target, site.trial.machine.layout.credentials)) as provider:
        people = provider.client_names(names.client) | provider.group_names(names.group)
    return [*(one["metadata"]["name"] for one in objects if slug in json.dumps(one)), *people]


def use(engine: str) -> None:
    """Let workers use this engine."""
    kube.kubectl("set", "env", "deployment/portal-worker", "-n", NAMESPACE, f"JHAAS_PULUMI={engine}")
    kube.kubectl("rollout", "status", "deployment/portal-worker", "-n", NAMESPACE, "--timeout=300s")
