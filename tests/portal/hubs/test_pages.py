"""The page of a course's files, and doing without what is missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import event, select

from portal.archives import records
from portal.archives.lists import PAGE
from portal.archives.pack import ArchiveFacts
from portal.archives.storage import Owner
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import AuditEntry, Course, User
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import ISSUER, make_course, make_user

FACTS = ArchiveFacts(size=3 * 2**20, sha256="0" * 64, members=5, files=1234, bytes=10, skipped=2)


@dataclass
class Ended:
    """A closed course: anna's home is archived, ben's is not."""

    sessions: Sessions
    clock: MovableClock
    course: Course
    people: dict[str, User]

    @property
    def path(self) -> str:
        return f"/courses/{self.course.id}/archives"


@pytest.fixture
def ended(session_factory: Sessions, clock: MovableClock, app: Flask) -> Ended:
    with transaction(session_factory) as session:
        people = {name: make_user(session, clock, name) for name in ("anna", "ben", "stranger")}
        people["lena"] = make_user(session, clock, "lena", teacher=True)
        people["gerda"] = make_user(session, clock, "gerda", governance=True)
        joined = (people["anna"], people["ben"])
        course = make_course(session, clock, people["lena"], status=Status.CLOSED, slug="ended", participants=joined)
        records.remember_homes(
            session, course, {name: Owner(ISSUER, name) for name in ("anna", "ben")} | {"x": None}, clock.now()
        )
        session.flush()
        records.servers_stopped(session, course, ["anna", "ben", "x"], clock.now())
        done = records.begin_archive(session, course, 1, "anna", "bucket", clock.now())
        records.verified(session, done.id, FACTS, clock.now())
        lost = records.begin_archive(session, course, 1, "ben", "bucket", clock.now())
        records.failed(session, lost.id, "'thesis.tex' cannot be read: Input/output error.", "HomeUnreadable")
    return Ended(session_factory, clock, course, people)


@pytest.mark.parametrize("who", ["lena", "gerda"])
def test_leads_and_governance_see_every_home_and_why_one_is_missing(
    ended: Ended, client: PortalClient, who: str
) -> None:
    page = client.sign_in(ended.people[who]).get(ended.path)
    assert page.status_code == 200
    for text in ("Anna Example", "1,234", "3 MiB", "2 things left out", "Ben Example", "thesis.tex", "nobody known"):
        assert text in page.text
    assert "1 of 3 homes are archived" in page.text
    assert ("Do without" in page.text) is (who == "gerda")


@pytest.mark.parametrize("who", ["anna", "stranger"])
def test_nobody_else_learns_of_it(ended: Ended, client: PortalClient, who: str) -> None:
    client.sign_in(ended.people[who])
    assert client.get(ended.path).status_code == 404
    assert client.get(f"{ended.path}/waive").status_code == 404
    assert client.post(f"{ended.path}/waive", data={"consent": "yes", "reason": "no"}).status_code == 404


def test_governance_is_told_what_is_lost_and_gives_a_reason(ended: Ended, client: PortalClient) -> None:
    client.sign_in(ended.people["gerda"])
    asked = client.get(f"{ended.path}/waive")
    assert "2 homes have no archive: their files are lost when the hub is removed." in asked.text
    for data, told in (({}, "Tick the box"), ({"consent": "yes", "reason": " "}, "is needed")):
        refused = client.post(f"{ended.path}/waive", data=data)
        assert (refused.status_code, told in refused.text) == (422, True)
    with ended.sessions() as session:
        assert not records.settled(session, session.get_one(Course, ended.course.id))
    done = client.post(f"{ended.path}/waive", data={"consent": "yes", "reason": "The disk broke."})
    assert (done.status_code, done.headers["Location"]) == (302, ended.path)
    page = client.get(ended.path).text
    assert "Gerda Example decided to do without" in page
    assert "Do without them" not in page
    with ended.sessions() as session:
        assert records.settled(session, session.get_one(Course, ended.course.id))
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "course.waive_archives")).one()
        assert entry.after == {"waived_closing": 1, "reason": "The disk broke.", "homes": ["ben", "x"]}


def test_a_lead_cannot_do_without(ended: Ended, client: PortalClient) -> None:
    client.sign_in(ended.people["lena"])
    assert client.get(f"{ended.path}/waive").status_code == 403
    assert client.post(f"{ended.path}/waive", data={"consent": "yes", "reason": "please"}).status_code == 403


def test_a_course_that_never_closed_has_no_such_page(ended: Ended, client: PortalClient) -> None:
    with transaction(ended.sessions) as session:
        other = make_course(session, ended.clock, session.merge(ended.people["lena"]), status=Status.ACTIVE)
    assert client.sign_in(ended.people["gerda"]).get(f"/courses/{other.id}/archives").status_code == 404


def test_many_homes_come_in_pages_of_few_statements(ended: Ended, client: PortalClient, app: Flask) -> None:
    with transaction(ended.sessions) as session:
        course = session.get_one(Course, ended.course.id)
        many = {f"home-{number:04}": Owner(ISSUER, f"nobody-{number}") for number in range(2 * PAGE)}
        records.remember_homes(session, course, many, ended.clock.now())
    client.sign_in(ended.people["gerda"])
    client.get(ended.path)  # the first request also asks for the session
    statements: list[str] = []
    engine = app.extensions["jhaas"].engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    first = client.get(ended.path)
    # sign-in, course and roles come with every page; the rest are ours
    assert len([one for one in statements if "homes" in one or "archives" in one]) <= 6
    assert first.text.count("<tr>") == PAGE + 1
    second = client.get(f"{ended.path}?after=home-0097")
    assert "<code>home-0098</code>" in second.text
    assert "<code>home-0097</code>" not in second.text
