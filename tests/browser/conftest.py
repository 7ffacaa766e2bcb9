"""Headless Chromium, and one deployed course for it to visit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.spec import CourseSpec
from tests.conftest import Machine
from tests.support.examples import example

_ARGUMENTS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The installed Chromium; tests that need it are skipped where there is none.

    Not for the whole session: while Playwright runs, its event loop is the thread's, and no other test could have one.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    arguments = [*_ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


_WINDOWS = pytest.StashKey[list[BrowserContext]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails tells what its windows show: a locator that was not found does not say what was there."""
    report = yield
    if report.when == "call" and report.failed:
        for context in item.stash.get(_WINDOWS, []):
            for page in context.pages:
                report.sections.append((f"window at {page.url}", _shown(page)))
    return report


def _shown(page: Page) -> str:
    try:
        return page.locator("body").inner_text(timeout=5_000)[:2000]
    except Error as error:
        return str(error)


@pytest.fixture
def window(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[[], Page]]:
    """Opens a window with cookies of its own: one for each person."""
    contexts = request.node.stash[_WINDOWS] = list[BrowserContext]()

    def open_window() -> Page:
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        return page

    yield open_window
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def course(machine: Machine) -> Iterator[CourseSpec]:
    """The example course, deployed under a name of its own."""
    spec = example("in-the-browser")
    stacks = CourseStacks(StateSettings.load(machine.layout), machine.target, machine.layout)
    stacks.deploy(spec)
    yield spec
    stacks.destroy(spec.slug)
