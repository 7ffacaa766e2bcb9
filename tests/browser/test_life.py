"""The whole life of a course as people see it, in a browser, on real hubs, with a clock that is moved on."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from automation.reality import LocalReality
from course_stack import identity
from portal import local
from portal.config import PortalSettings
from portal.db import connect, sessions
from portal.demo import site_clock
from portal.mail import sink
from tests.browser.people import run_a_cell, sign_in
from tests.conftest import Machine
from tests.support.portal import running_portal
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.machine]
Window = Callable[[], Page]

TITLE = "Numbers and pictures"
SLUG = "numbers-and-pictures"


@dataclass(frozen=True)
class Portal:
    """The portal on the shared machine, as a demo has it."""

    machine: Machine
    settings: PortalSettings

    def open(self, window: Window, role: str) -> Page:
        """A window in which this person is signed in."""
        page = window()
        sign_in(page, self.settings.public_url, self.machine.people[role])
        expect(page.get_by_role("heading", name="My courses", level=1)).to_be_visible()
        return page

    def today(self) -> dt.date:
        """By the demo's clock."""
        engine = connect(self.settings.database_url.get_secret_value())
        try:
            return site_clock(self.settings, sessions(engine)).today()
        finally:
            engine.dispose()

    def mails(self, role: str) -> list[str]:
        """Subjects of the mails that this person got."""
        folder = self.machine.layout.home / sink.FOLDER
        found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in folder.glob("*.eml")]
        address = f"{self.machine.people[role].subject}@example.org"
        return [str(mail["Subject"]) for mail in found if address in str(mail["To"])]


@pytest.fixture
def portal(machine: Machine) -> Iterator[Portal]:
    people = machine.people
    with running_portal(machine, demo=True) as settings:
        with closing(identity.connect(machine.target)) as provider:
            local.ensure_people(provider, settings, [people["teacher"].subject], [people["governance"].subject])
        yield Portal(machine, settings)


def picture(page: Page, name: str) -> None:
    """Keep what the window shows, where pictures for the README are made (`make pictures`)."""
    if folder := os.environ.get("PICTURES"):
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_life_of_a_course(portal: Portal, window: Window) -> None:
    machine = portal.machine
    hub = machine.target.hub_url(SLUG)
    first_day = portal.today() + dt.timedelta(days=2)
    last_day = first_day + dt.timedelta(days=20)

    # a teacher asks
    teacher = portal.open(window, "teacher")
    teacher.get_by_role("link", name="Ask for a course").first.click()
    teacher.get_by_label("Title").fill(TITLE)
    teacher.get_by_label("Short name").fill(SLUG)
    teacher.get_by_label("First day").fill(first_day.isoformat())
    teacher.get_by_label("Last day").fill(last_day.isoformat())
    teacher.get_by_label("Number of participants").fill("2")
    expect(teacher.get_by_text("There is room for it.")).to_be_visible()
    picture(teacher, "ask")
    teacher.get_by_role("button", name="Ask for the course").click()
    expect(teacher.get_by_role("heading", name=TITLE)).to_be_visible()
    expect(status(teacher)).to_have_text("waiting for approval")
    course = teacher.url

    # governance approves
    governance = portal.open(window, "governance")
    governance.get_by_role("link", name=re.compile("^Approvals")).click()
    governance.get_by_role("link", name=TITLE).click()
    picture(governance, "approve")
    governance.get_by_role("button", name="Approve").click()
    expect(governance.get_by_role("link", name=TITLE)).to_have_count(0)

    # it is set up and checked by itself, and its page tells so while it happens
    move_clock(teacher, course, days=1)
    becomes(teacher, course, "active")
    assert f"Your course {TITLE} is approved" in portal.mails("teacher")
    wait_for(lambda: f"The course {TITLE} is ready" in portal.mails("teacher"), "the teacher is told")

    picture(teacher, "course")

    # a student joins by the link, and gets in from the first day
    teacher.goto(course)
    if teacher.get_by_role("button", name="Make a link").count():
        teacher.get_by_role("button", name="Make a link").click()
    link = teacher.locator("code", has_text="/join/").first.inner_text().strip()
    student = portal.open(window, "classmate")
    student.goto(link)
    picture(student, "join")
    student.get_by_role("button", name="Join").click()
    move_clock(teacher, course, days=1)
    page_with(student, course, "Open my notebook")
    student.goto(f"{hub}hub/spawn")
    expect(student.locator("#jp-top-panel, .jp-LabShell").first).to_be_visible(timeout=90_000)
    run_a_cell(student, "print(len('42') * 21, open('kept.txt', 'w').write('mine'))", "42 4")
    picture(student, "notebook")

    # a change, with governance's consent
    teacher.goto(course)
    teacher.get_by_role("link", name="Change", exact=True).click()
    teacher.get_by_label("Number of participants").fill("3")
    teacher.get_by_role("button", name="Ask for the change").click()
    governance.goto(portal.settings.public_url)
    governance.get_by_role("link", name=re.compile("^Approvals")).click()
    governance.get_by_role("link", name=TITLE).click()
    expect(governance.locator("main")).to_contain_text("Number of participants")
    governance.get_by_role("button", name="Approve").click()
    page_with(teacher, course, "at most 3")

    # a few days more
    longer = last_day + dt.timedelta(days=3)
    teacher.get_by_role("link", name="Extend").click()
    teacher.get_by_label("New last day", exact=True).fill(longer.isoformat())
    teacher.get_by_role("button", name="Extend the course").click()
    expect(teacher.locator("main")).to_contain_text(f"{longer.day} {longer:%b} {longer.year}")

    # people are warned before the end
    move_clock(teacher, course, days=(longer - first_day).days - 6)
    wait_for(lambda: warnings(portal, "teacher"), "the lead is warned")
    wait_for(lambda: warnings(portal, "classmate"), "the participant is warned")

    # the end: servers are stopped, homes are copied
    move_clock(teacher, course, days=7)
    becomes(teacher, course, "closed")
    # their open notebook would go on asking, and be sent to sign in as well: two sign-ins at once spoil each other
    student.goto("about:blank")
    student.goto(f"{hub}hub/home")
    expect(student.locator("body")).to_contain_text("403")
    page_with(teacher, course, "Files")
    wait_for(lambda: archives(teacher, course), "every home is archived")

    # after the days of grace nothing is left of the hub
    for _ in range(2):
        move_clock(teacher, course, days=7)
    move_clock(teacher, course, days=1)
    becomes(teacher, course, "archived")
    assert LocalReality(machine.layout, machine.target).traces(SLUG) == []

    # each event was told once to each person
    for role in ("teacher", "classmate", "governance"):
        # of the end people are warned several times
        told = [subject for subject in portal.mails(role) if TITLE in subject and " ends on " not in subject]
        assert told
        assert [subject for subject, times in Counter(told).items() if times > 1] == []


def status(page: Page) -> object:
    return page.locator(".status").first


def move_clock(page: Page, back_to: str, *, days: int) -> None:
    """By the demo's own buttons."""
    page.goto(back_to)
    for name, length in (("One week on", 7), ("One day on", 1)):
        while days >= length:
            page.get_by_role("button", name=name).click()
            expect(page.get_by_text("The clock is")).to_be_visible()
            days -= length


def becomes(page: Page, course: str, wanted: str) -> None:
    """Looks at the course's page until it says so."""

    def is_it() -> bool:
        page.goto(course)
        return page.locator(".status").first.inner_text().strip() == wanted

    wait_for(is_it, f"the course is {wanted}", 180)


def page_with(page: Page, url: str, text: str) -> None:
    """Looks at a page until the text is on it."""

    def is_there() -> bool:
        page.goto(url)
        return page.get_by_text(text).count() > 0

    wait_for(is_there, f"{text!r} is on {url}", 90)


def warnings(portal: Portal, role: str) -> int:
    return sum(" ends on " in subject and TITLE in subject for subject in portal.mails(role))


def archives(page: Page, course: str) -> bool:
    page.goto(f"{course}/archives")
    return page.get_by_text("verified").count() > 0
