"""A course as people meet it: in a browser, from the sign-in page to a notebook."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from course_stack.spec import CourseSpec
from tests.browser.people import run_a_cell, sign_in
from tests.conftest import Machine

pytestmark = [pytest.mark.browser, pytest.mark.machine]
Window = Callable[[], Page]


def test_a_participant_signs_in_and_runs_a_notebook_cell(machine: Machine, course: CourseSpec, window: Window) -> None:
    page = window()
    url = machine.target.hub_url(course.slug)
    sign_in(page, url, machine.people["student"])
    run_a_cell(page, "print(6 * 7, 'is the answer')", "42 is the answer")
    assert page.url.startswith(f"{url}user/student/")


def test_a_stranger_with_an_account_is_refused(machine: Machine, course: CourseSpec, window: Window) -> None:
    page = window()
    sign_in(page, machine.target.hub_url(course.slug), machine.people["stranger"])
    expect(page.locator("body")).to_contain_text("403")
    page.goto(f"{machine.target.hub_url(course.slug)}user/student/lab")
    expect(page.locator(".jp-Notebook")).to_have_count(0)


def test_a_teacher_opens_a_participants_server(machine: Machine, course: CourseSpec, window: Window) -> None:
    url = machine.target.hub_url(course.slug)
    student = window()
    sign_in(student, f"{url}hub/spawn", machine.people["student"])
    expect(student.locator("#jp-top-panel, .jp-LabShell").first).to_be_visible(timeout=60_000)

    teacher = window()
    sign_in(teacher, f"{url}user/student/lab", machine.people["teacher"])
    teacher.get_by_role("button", name="Authorize").click()
    expect(teacher.locator(".jp-LabShell").first).to_be_visible(timeout=60_000)
    assert teacher.url.startswith(f"{url}user/student/")
