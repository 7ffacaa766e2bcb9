"""An operation watched in a browser: lines come by themselves, survive a reload, and come by polling where streams are
refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from portal.db import transaction
from portal.models import Attempt, Course, Operation
from portal.operations.events import wake
from portal.web.live import Live
from tests.browser.portal.conftest import Site, Visit
from tests.portal.look.sample import operation, tell

pytestmark = pytest.mark.browser


@pytest.fixture
def running(site: Site) -> Iterator[str]:
    """The id of an operation that runs, of a course that has none beside."""
    parts = site.app.extensions["jhaas"]
    with transaction(parts.sessions) as session:
        course = session.get_one(Course, site.sample.courses["old-course"].id)
        made = operation(session, parts.clock, course, "refresh", "running")
    yield str(made.id)
    with transaction(parts.sessions) as session:
        session.get_one(Operation, made.id).status = "cancelled"
        session.scalars(select(Attempt).where(Attempt.operation_id == made.id)).one().result = "cancelled"


def say(site: Site, operation_id: str, text: str, *, end: bool = False) -> None:
    """What a worker does: an event, a notification, and perhaps the end."""
    parts = site.app.extensions["jhaas"]
    with transaction(parts.sessions) as session:
        attempt = session.scalars(select(Attempt).where(Attempt.operation_id == operation_id)).one()
        tell(
            session,
            parts.clock,
            attempt,
            ("step", {"text": text}),
            ("progress", {"done": 7, "total": 7}),
            ("resource", {"name": "hub", "resource_type": "local", "action": "create", "state": "done"}),
        )
        if end:
            attempt.result = "succeeded"
            session.get_one(Operation, operation_id).status = "succeeded"
        wake(session, attempt.id)


def test_lines_come_by_themselves_and_survive_a_reload(site: Site, visit: Visit, running: str) -> None:
    page = visit(f"/operations/{running}", site.sample.governance)
    log = page.get_by_role("list", name="What was told")
    expect(log.get_by_role("listitem")).to_have_count(4)
    say(site, running, "A person who is nobody starts a notebook.")
    expect(page.get_by_role("status").last).to_have_text("A person who is nobody starts a notebook.")
    expect(log.get_by_role("listitem")).to_have_count(5)
    expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("value", "7")
    expect(page.get_by_role("list", name="Resources")).to_contain_text("hub create, done")
    page.reload()
    expect(log.get_by_role("listitem")).to_have_count(5)
    say(site, running, "The notebook ran to its end.", end=True)
    expect(log.get_by_role("listitem")).to_have_count(6)
    expect(page.get_by_role("status").last).to_contain_text("The operation is over: succeeded.")
    page.get_by_role("link", name="Show the page anew").click()
    expect(page.locator(".lead .status")).to_have_text("succeeded")


def test_where_no_stream_is_let_in_the_page_polls(site: Site, visit: Visit, running: str) -> None:
    streams = site.app.extensions.get("jhaas-live")
    site.app.extensions["jhaas-live"] = Live(site.app.extensions["jhaas"].engine, most=0)
    try:
        page = visit(f"/operations/{running}", site.sample.governance, allowed="status of 503")
        say(site, running, "Told while the stream is refused.", end=True)
        expect(page.get_by_text("Told while the stream is refused.")).to_be_visible(timeout=15_000)
        expect(page.get_by_role("status").last).to_contain_text("The operation is over: succeeded.")
    finally:
        site.app.extensions["jhaas-live"] = streams
