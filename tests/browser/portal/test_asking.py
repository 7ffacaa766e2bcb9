"""Asking for a course in a browser: size and room follow what is typed, and without scripts a button tells the same."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser.portal.conftest import Site, Visit

pytestmark = pytest.mark.browser


def fill_in(site: Site, page: Page, seats: str) -> None:
    day = site.app.extensions["jhaas"].clock.today()
    page.get_by_label("First day").fill(str(day + timedelta(days=120)))
    page.get_by_label("Last day").fill(str(day + timedelta(days=130)))
    page.get_by_label("Number of participants").fill(seats)


def test_size_and_room_follow_what_is_typed(site: Site, visit: Visit) -> None:
    page = visit("/courses/new", site.sample.teacher)
    found = page.locator("[data-estimate-here]")
    fill_in(site, page, "10")
    expect(found).to_contain_text("There is room for it.")
    expect(found.get_by_text("11", exact=True)).to_be_visible()  # with the lead
    page.get_by_label("Number of participants").fill("900")
    expect(found).to_contain_text("There is not enough room")
    page.get_by_label("Number of participants").fill("-3")
    expect(found).to_contain_text("these have to be right")


def test_without_scripts_a_button_says_the_same(site: Site, visit: Visit) -> None:
    page = visit("/courses/new", site.sample.teacher, java_script_enabled=False)
    fill_in(site, page, "10")
    page.get_by_role("button", name="Check size and room").click()
    expect(page.locator("[data-estimate-here]")).to_contain_text("There is room for it.")
    expect(page.get_by_label("Number of participants")).to_have_value("10")
    page.get_by_label("Title").fill("Typed without scripts")
    page.get_by_label("Short name").fill("typed-without-scripts")
    page.get_by_role("button", name="Ask for the course").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Typed without scripts")
    page.get_by_role("link", name="Withdraw").click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Withdraw the course").click()
    expect(page.get_by_text(re.compile("withdrawn")).first).to_be_visible()
