"""Signing in with a real browser: it must take our cookies on this machine's plain addresses, and keep scripts out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from portal.config import PortalSettings
from tests.conftest import Machine
from tests.support.portal import running_portal

pytestmark = [pytest.mark.machine, pytest.mark.browser]


@pytest.fixture(scope="module")
def portal(machine: Machine) -> Iterator[PortalSettings]:
    with running_portal(machine) as settings:
        yield settings


def test_chromium_keeps_host_cookies_on_localhost_and_scripts_see_none(
    machine: Machine, portal: PortalSettings, window: Callable[[], Page]
) -> None:
    """`__Host-` and `Secure` without TLS: browsers take names below localhost for a secure way."""
    person = machine.people["student"]
    page = window()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if "portal.localhost" in page.url else None)
    page.goto(f"{portal.public_url}/profile/")
    page.fill("input[name=login]", person.login)
    page.press("input[name=login]", "Enter")
    page.fill("input[name=password]", person.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{portal.public_url}/profile/")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(portal.public_url)}
    own = cookies["__Host-jhaas"]
    assert (own["secure"], own["httpOnly"], own["sameSite"]) == (True, True, "Lax")
    assert page.evaluate("document.cookie") == ""
    page.reload()
    assert complaints == [], "the content security policy refused something of our own"
    page.locator("header details > summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{portal.public_url}/signed-out")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "__Host-jhaas" not in {cookie["name"] for cookie in page.context.cookies(portal.public_url)}


def test_nothing_is_sent_while_a_name_is_typed(
    machine: Machine, portal: PortalSettings, window: Callable[[], Page]
) -> None:
    """A field checked in the background takes the sign-in back if its answer comes after the next page's."""
    page = window()
    page.clock.install()
    page.goto(f"{portal.public_url}/profile/")
    posted: list[str] = []
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    page.locator("input[name=login]").press_sequentially(machine.people["student"].login)
    page.clock.run_for(5_000)
    page.wait_for_load_state("networkidle")
    assert posted == []
