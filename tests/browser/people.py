"""What people do at hubs, in a browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from course_stack.local.services.demo import DemoPerson
from tests.support.waiting import wait_for


def sign_in(page: Page, url: str, person: DemoPerson) -> None:
    """Open the address and sign in at the identity provider's two pages."""
    page.goto(url)
    page.locator("input[name=login]").fill(person.login)
    page.get_by_role("button", name="Continue").click()
    page.locator("input[name=password]").fill(person.password)
    page.locator("form").get_by_role("button").last.click()


def run_a_cell(page: Page, code: str, shown: str) -> None:
    """In the JupyterLab that is open: a new notebook, whose first cell is run and shows this."""
    page.get_by_role("tabpanel").get_by_title("Python 3 (ipykernel)").first.click()
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=90_000)
    cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first

    def typed() -> bool:
        # what is typed while the page is still being put together is lost with the cell that it was typed into
        cell.fill(code)
        page.wait_for_load_state("networkidle")
        return code in cell.inner_text()

    wait_for(typed, "the cell holds the code")
    cell.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text(shown, timeout=60_000)
