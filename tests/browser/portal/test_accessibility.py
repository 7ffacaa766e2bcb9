"""WCAG 2.2 AA, as far as a machine can tell: axe on every page, reflow, zoom, keyboard, and life without scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from portal.models import User
from portal.web.access import Access, access_of
from tests.browser.portal.conftest import Site, Visit
from tests.support import vendor

pytestmark = pytest.mark.browser

AXE = (Path(vendor.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TOO_WIDE = """[document.documentElement, ...document.querySelectorAll('.table-wrap')]
    .map(one => one.scrollWidth - one.clientWidth).filter(extra => extra > 0)"""
NO_PAGES = frozenset({"static", "health.live", "health.ready", "health.prometheus", "auth.callback", "auth.sign_in",
                      "operations.events", "operations.news", "operations.log", "demo.mails", "demo.mail"})  # fmt: skip
"""What is no page of ours, or (the demo's mails) needs a mail server beside."""


COURSES = {
    "governance.decide": "r-workshop",
    "requests.change": "machine-learning",
    "requests.edit": "r-workshop",
    "requests.take_back": "r-workshop",
    "archives.show": "summer-school",
    "archives.waive": "summer-school",
}
"""Courses of the sample that a page is for, where that is not the running one."""


def paths(site: Site) -> dict[str, str]:
    """Every page: endpoint → address, with what the sample has in place of arguments. A new page is found by itself."""
    sample = site.sample
    found = {}
    for rule in site.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint in NO_PAGES:
            continue
        values: dict[str, Any] = {
            "course_id": sample.courses[COURSES.get(rule.endpoint, "statistics")].id,
            "operation_id": sample.operations["running"].id,
            "image_id": sample.image.id,
            "change_id": sample.change.id,
            "code": site.code,
        }
        with site.app.test_request_context():
            found[rule.endpoint] = site.app.url_for(rule.endpoint, **{name: values[name] for name in rule.arguments})
    return found


def violations(page: Page, rules: list[str]) -> list[str]:
    """What axe finds on the page, one line each."""
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", rules)
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def visitor(site: Site, endpoint: str) -> User:
    """Who looks at a page: governance at governance's, else the lead; who joins is a student."""
    if endpoint.startswith("joining"):
        return site.sample.student
    if endpoint == "archives.waive":
        return site.sample.governance
    return site.sample.governance if access_of(site.app, endpoint) is Access.GOVERNANCE else site.sample.teacher


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_every_page_is_accessible_light_and_dark_and_narrow(site: Site, visit: Visit, locale: str) -> None:
    """axe finds nothing; nothing scrolls sideways at 200 and 400 % (1280 pixels are as wide as 640 then, or 320) nor
    between, pages and tables alike."""
    found: dict[str, list[str]] = {}
    pages: dict[str, Page] = {}
    for endpoint, path in paths(site).items():
        user = visitor(site, endpoint)
        if user.login not in pages:
            pages[user.login] = visit("/signed-out", user, reduced_motion="reduce", locale=locale)
        page = pages[user.login]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})
        answer = page.goto(site.url + path)
        assert answer is not None
        lines = [] if answer.status == 200 else [f"status {answer.status}"]
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        lines += [*violations(page, RULES), *missing_icons(page)]
        page.emulate_media(color_scheme="dark")
        lines += [f"dark: {line}" for line in violations(page, ["color-contrast"])]
        for width in (1024, 768, 640, 320):
            page.set_viewport_size({"width": width, "height": 900})
            lines += [f"{extra} pixels too wide at {width}" for extra in page.evaluate(TOO_WIDE)]
        if lines:
            found[f"{endpoint} {path}"] = lines
    assert found == {}, "\n".join(f"{place}\n  " + "\n  ".join(lines) for place, lines in found.items())


def missing_icons(page: Page) -> list[str]:
    """Icons that the sprite does not have."""
    used = page.evaluate("[...document.querySelectorAll('use')].map(one => one.getAttribute('href').split('#')[1])")
    return [f"no icon {name}" for name in sorted(set(used) - icons())]


def icons() -> set[str]:
    sprite = Path(__file__).parents[3] / "portal/static/vendor/bootstrap-icons/icons.svg"
    return set(re.findall(r'symbol id="([^"]+)"', sprite.read_text()))


def test_large_text_stays_inside(site: Site, visit: Visit) -> None:
    page = visit("/operations/", site.sample.governance)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate(SIDEWAYS) <= 0


def test_the_first_tab_skips_to_the_content(site: Site, visit: Visit) -> None:
    page = visit("/operations/", site.sample.governance)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_everything_that_takes_the_focus_shows_it_and_nothing_traps_it(site: Site, visit: Visit) -> None:
    page = visit("/courses/new", site.sample.teacher)
    seen = []
    for _ in range(200):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
                const one = document.activeElement, style = getComputedStyle(one);
                return [one.tagName, one.id || one.textContent, style.outlineStyle, style.outlineWidth];
            }"""
        )
        if where[0] == "BODY":
            break
        seen.append(where)
    else:
        raise AssertionError("the focus never left the page")
    assert len(seen) > 20
    assert [one for one in seen if one[2] == "none" or one[3] == "0px"] == []


def test_the_menu_opens_and_closes_by_keyboard(site: Site, visit: Visit) -> None:
    page = visit("/profile/", site.sample.teacher)
    summary = page.locator(".header-menu summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Profile and sign-ins")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(summary).to_be_focused()


def test_on_a_phone_the_navigation_opens_by_its_button(site: Site, visit: Visit) -> None:
    page = visit("/profile/", site.sample.teacher, width=375)
    link = page.get_by_role("link", name="My courses", exact=True)
    expect(link).to_be_hidden()
    button = page.get_by_role("button", name="Menu")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    expect(link).to_be_focused()


def test_without_scripts_navigation_menu_and_operations_are_there(site: Site, visit: Visit) -> None:
    page = visit(
        f"/operations/{site.sample.operations['running'].id}",
        site.sample.governance,
        width=375,
        java_script_enabled=False,
    )
    expect(page.get_by_role("link", name="My courses", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Menu")).to_be_hidden()
    expect(page.get_by_text("An interrupted run was repaired.")).to_be_visible()
    page.locator(".header-menu summary").click()
    expect(page.get_by_role("button", name="Deutsch")).to_be_visible()
    expect(page.get_by_role("button", name="Dark")).to_be_hidden()


def test_the_theme_follows_the_device_until_one_is_chosen_and_is_remembered(site: Site, visit: Visit) -> None:
    page = visit("/profile/", site.sample.teacher, theme="dark")
    theme = page.locator("html")
    expect(theme).to_have_attribute("data-bs-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(theme).to_have_attribute("data-bs-theme", "light")
    page.locator(".header-menu summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(theme).to_have_attribute("data-bs-theme", "dark")


def test_a_language_can_be_chosen_before_signing_in(site: Site, visit: Visit) -> None:
    page = visit("/signed-out", None, locale="en-GB")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator(".header-menu summary").click()
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("h1")).to_have_text("Sie sind abgemeldet")


def test_errors_are_announced_and_lead_to_their_fields(site: Site, visit: Visit) -> None:
    page = visit("/courses/new", site.sample.teacher)
    page.locator("form").last.evaluate(
        "form => document.querySelectorAll('form').forEach(one => one.noValidate = true)"
    )
    page.get_by_label("Title").fill("  ")
    page.get_by_label("Number of participants").fill("0")
    with page.expect_navigation():
        page.get_by_role("button", name="Ask for the course").click()
    alert = page.get_by_role("alert").first
    expect(alert).to_be_focused()
    seats = page.get_by_label("Number of participants")
    expect(seats).to_have_attribute("aria-invalid", "true")
    expect(seats).to_have_value("0")
    described = seats.get_attribute("aria-describedby") or ""
    assert any("too little" in page.locator(f"#{one}").inner_text() for one in described.split())
    alert.get_by_role("link", name="Number of participants").click()
    expect(seats).to_be_focused()
    assert violations(page, RULES) == []


def test_a_course_is_asked_for_and_withdrawn_by_keyboard_alone(site: Site, visit: Visit) -> None:
    page = visit("/", site.sample.teacher)
    tab_to(page, "Ask for a course")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    tab_to(page, "title")
    page.keyboard.type("By keyboard")
    tab_to(page, "slug")
    page.keyboard.type("by-keyboard")
    tab_to(page, "first_day")
    page.keyboard.type("05042027")
    tab_to(page, "last_day")
    page.keyboard.type("09042027")
    tab_to(page, "Ask for the course")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("By keyboard")
    tab_to(page, "Withdraw")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    if page.locator("#consent").count():
        tab_to(page, "consent")
        page.keyboard.press("Space")
    tab_to(page, "Withdraw the course")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator(".lead .status")).to_have_text("withdrawn")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with this text or name has the focus."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate(
            "name => [document.activeElement.name, document.activeElement.innerText?.trim()].includes(name)", name
        ):
            return
    raise AssertionError(f"Tab never reached {name}")


def test_wider_spacing_of_text_cuts_nothing_off(site: Site, visit: Visit) -> None:
    """WCAG 1.4.12: lines, letters and words further apart, as people set them in their browser."""
    page = visit("/courses/new", site.sample.teacher, width=320, bypass_csp=True)
    for path in ("/courses/new", f"/courses/{site.sample.courses['statistics'].id}", "/calendar"):
        page.goto(site.url + path)
        page.add_style_tag(content="* { line-height: 1.5 !important; letter-spacing: .12em !important; "
                           "word-spacing: .16em !important; } p { margin-bottom: 2em !important; }")  # fmt: skip
        assert page.evaluate(SIDEWAYS) <= 0
        cut = page.evaluate(
            "[...document.querySelectorAll('main *, nav *')].filter(one => getComputedStyle(one).overflowX === 'hidden'"
            " && one.scrollWidth > one.clientWidth + 1 && !one.closest('.visually-hidden, thead, progress')).length"
        )
        assert cut == 0
