"""The loss of a whole cluster: what the guide says, walked in an empty one, until the teacher is in the hub again.

JHAAS_TEST_PLATFORM names the file of a stack whose store (`object_storage`) is not in the cluster, and whose people are
Authentik's; JHAAS_TEST_IMAGE the notebooks' image; JHAAS_TEST_NEW_CLUSTER a command that puts an empty cluster in the
place of the one that KUBECONFIG names.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import kube
from tests.cluster.leftovers import everything_but_ours
from tests.cluster.platform_database import archive, backed_up
from tests.cluster.platform_project import UP
from tests.cluster.platform_site import MINUTE, Site, platform_site
from tests.cluster.portal_pages import send, status, until
from tests.cluster.test_by_hand import MISSING
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(2 * 60 * 60),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

PORTAL = "jhaas-portal"
SLUG = "signed-in"


@pytest.fixture(scope="module")
def site(
    platform_file: dict[str, Any], new_cluster: str, notebook_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The platform with its people."""
    if platform_file["config"].get("jhaas-platform:object_storage", {}).get("kind", "bundled") == "bundled":
        pytest.skip("the store of the stack's file that JHAAS_TEST_PLATFORM names would be lost with the cluster")
    everything_but_ours()
    with platform_site(platform_file, tmp_path_factory.mktemp("platform")) as made:
        made.make_people()
        yield made


def test_a_lost_cluster_is_brought_back_as_the_guide_says(site: Site, new_cluster: str, notebook_image: str) -> None:
    _, course = site.ask_for_course(SLUG, notebook_image)
    wait_for(backed_up, "the first whole copy is there", 10 * MINUTE)
    archive(site.project)
    passphrase = kube.secret(PORTAL, "portal-worker")["state-passphrase"]

    subprocess.run(["bash", "-ec", new_cluster], check=True)
    everything_but_ours()

    site.project.pulumi("refresh", "--yes", "--skip-preview")
    kept = site.project.sections.get("database", {})
    site.project.configure(database={**kept, "generation": 2, "restore": {"generation": 1}})
    site.project.pulumi(*UP)
    site.project.pulumi(*UP, "--expect-no-changes")
    site.trust_again()
    assert kube.secret(PORTAL, "portal-worker")["state-passphrase"] == passphrase

    # people and courses are known; the hubs are not there
    teacher = site.at_portal("teacher")
    assert status(teacher, course) == "active"
    assert SLUG in worker("jhaas", "course", "list", "--target", "cluster")
    assert re.search(rf"{SLUG}.*missing", worker("jhaas", "audit", "--target", "cluster", fails=True))

    worker("jhaas", "courses", "upgrade", "--target", "cluster", "--yes")
    lead = site.in_hub(teacher, SLUG)
    lead.start_server()
    lead.stop_server()
    worker("jhaas", "audit", "--target", "cluster")

    send(teacher, f"{course}/end", "/end", consent="yes", reason="It was a trial.")
    until(teacher, course, "archived", 20 * MINUTE)


def worker(*command: str, fails: bool = False) -> str:
    """What a command prints that an operator gives in a worker's pod."""
    done = subprocess.run(
        ["kubectl", "exec", "-n", PORTAL, "deploy/portal-worker", "--", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr
