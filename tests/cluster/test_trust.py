"""A hub on a real cluster whose sign-in, store and repositories show certificates of the site's own authority."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from course_stack.local.machine import ARCHIVE_BUCKET
from course_stack.target import Target
from course_stack.trust import authority, environment
from portal.archives.cluster import cluster_homes
from portal.archives.copy import Order
from portal.archives.pack import ArchiveFacts
from portal.archives.store import ArchiveStore, archive_key
from tests.cluster.course import ClusterCourse
from tests.cluster.edge import own_address
from tests.cluster.git_server import make_repository
from tests.cluster.trial import Trial
from tests.support.hub_client import HubPerson
from tests.support.tls import Authority, before

pytestmark = [pytest.mark.cluster, pytest.mark.machine]


@dataclass(frozen=True)
class Private:
    """The trial with https in front of its services."""

    trial: Trial
    own: Authority
    git_url: str


@pytest.fixture(scope="module")
def private(trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    folder, host, own = tmp_path_factory.mktemp("private"), own_address(), Authority("The campus of a trial")
    (folder / "authority.crt").write_text(own.pem)

    def place(url: str | None) -> tuple[str, int]:
        parts = urlsplit(url or "")
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    target = trial.target
    with (
        before(place(target.identity.internal_url), own, folder, host) as people,
        before(place(target.object_store.endpoint), own, folder, host) as store,
        before(place(trial.git_url), own, folder, host) as git,
    ):
        content: dict[str, Any] = target.model_dump()
        ports = [place(one)[1] for one in (people, store, git)]
        opening = {"name": "the trial's services by TLS", "cidr": f"{host}/32", "ports": ports, "notebooks": True}
        cluster = content["cluster"]
        content |= {
            "identity": {**content["identity"], "internal_url": people},
            "object_store": {**content["object_store"], "endpoint": store},
            "cluster": {
                **cluster,
                "openings": [*cluster["openings"], opening],
                "authority": str(folder / "authority.crt"),
            },
        }
        there = Target.model_validate(content)
        with pytest.MonkeyPatch.context() as context:
            # as in the process of an operation
            for name, value in environment(there, trial.machine.layout).items():
                context.setenv(name, value)
            yield Private(replace(trial, machine=replace(trial.machine, target=there)), own, git)


@pytest.fixture(scope="module")
def course(private: Private) -> Iterator[ClusterCourse]:
    make_repository(private.trial.git, "private", {"sheet.md": "exercise of the campus"})
    public = "https://git.example.org/"
    course = ClusterCourse.at(
        private.trial,
        "lab-trust",
        environment={
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{private.git_url}/.insteadOf",
            "GIT_CONFIG_VALUE_0": public,
        },
        git_repositories=[{"url": f"{public}private.git"}],
    )

    def adjust(values: dict[str, Any]) -> None:
        """What the program of a course reads from the credentials' folder."""
        for part in ("hub", "singleuser"):
            values[part]["extraFiles"]["authority.crt"]["stringData"] = authority(private.trial.target)

    course.adjust = adjust
    course.remove()
    try:
        course.deploy()
        yield course
    finally:
        course.remove()


@pytest.fixture(scope="module")
def student(course: ClusterCourse) -> HubPerson:
    """The hub asked the provider for this participant's token and groups."""
    person = course.signed_in("student")
    person.start_server()
    return person


def test_a_participant_signs_in_at_a_provider_whose_certificate_the_site_signed(student: HubPerson) -> None:
    assert student.run_cell("print(6 * 7)") == "42\n"


def test_programs_of_a_notebook_believe_what_the_site_signed(private: Private, student: HubPerson) -> None:
    code = "import os; print(open(os.path.expanduser('~/private/sheet.md')).read().strip())"
    assert student.run_cell(code) == "exercise of the campus\n"
    parts = urlsplit(private.trial.target.identity.internal_url)
    ask = f"""
import socket, ssl
for file in (None, '/etc/ssl/certs/ca-certificates.crt'):
    way = socket.create_connection(({parts.hostname!r}, {parts.port}), 10)
    try:
        ssl.create_default_context(cafile=file).wrap_socket(way, server_hostname={parts.hostname!r}).close()
        print('believed')
    except ssl.SSLCertVerificationError as error:
        print('not believed')
"""
    assert student.run_cell(ask).splitlines() == ["believed", "not believed"]


def test_homes_are_archived_at_a_store_whose_certificate_the_site_signed(
    course: ClusterCourse, private: Private, student: HubPerson
) -> None:
    target, slug = private.trial.target, course.spec.slug
    student.stop_server()
    homes = cluster_homes(target, slug)
    (home,) = homes.homes()
    order = Order(home, archive_key(uuid.uuid4(), 1, home, 1), {"home": home})
    store = ArchiveStore.of(target, ARCHIVE_BUCKET)
    ((_, facts),) = homes.archive([order], store, lambda _: None)
    assert isinstance(facts, ArchiveFacts), facts
    assert len(b"".join(store.read(order.key))) == facts.size
