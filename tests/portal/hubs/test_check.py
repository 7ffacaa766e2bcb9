"""The check proves that a notebook runs, names what does not work, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from automation.failures import HubFailed
from course_stack.hub_rules import CHECK_USER
from course_stack.local import hub_process, processes
from course_stack.local.homes import home_index
from course_stack.local.supervisor import Supervisor
from portal.archives.places import storage_of
from portal.hub_api import Patience, ServerFailed
from portal.lifecycle import Status
from portal.models import Course
from portal.worker import check as checking
from portal.worker.check import check
from portal.worker.notebook import NotebookFailed
from portal.worker.run import AttemptLost
from tests.portal.hubs.conftest import QUICK
from tests.portal.support.run import FakeRun
from tests.support.courses import DeployedCourse

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def course(deployed: Callable[..., DeployedCourse]) -> DeployedCourse:
    return deployed("checked-course")


@pytest.fixture
def run(course: DeployedCourse, run_of: Callable[[DeployedCourse, Status], FakeRun]) -> FakeRun:
    return run_of(course, Status.DEPLOYING)


def nothing_is_left(course: DeployedCourse) -> bool:
    layout, slug = course.machine.layout, course.spec.slug
    known = course.portal.api("GET", f"users/{CHECK_USER}").status_code
    home = layout.homes(slug) / CHECK_USER
    used = processes.marked(processes.HOME_MARK, str(home))
    return known == 404 and not home.exists() and CHECK_USER not in home_index(layout, slug) and not used


def test_a_hub_that_works_passes_and_nothing_is_left(course: DeployedCourse, run: FakeRun) -> None:
    found = check(run, patience=QUICK)
    assert (found["kernel"], found["cells"]) == ("python3", 3)
    assert nothing_is_left(course)
    assert run.steps == [
        "Asking at the hub's public address",
        "Starting a notebook server",
        "Opening the start page /lab",
        "Running a notebook",
        "Removing the user, the server and the home of the check",
    ]
    with run.transaction() as session:
        assert session.get_one(Course, run.course_id).checked_at == run.clock.now()


def test_the_home_of_the_check_is_no_home_to_archive(course: DeployedCourse, run: FakeRun) -> None:
    seen = []

    def look() -> None:
        if "Running a notebook" in run.steps:
            seen.append((storage_of(run.target, run.slug).homes(), storage_of(run.target, run.slug).in_use()))

    run.on_check = look
    check(run, patience=QUICK)
    assert all(CHECK_USER not in homes for homes, _ in seen)
    assert frozenset({CHECK_USER}) in [used for _, used in seen]


def test_what_a_check_that_was_killed_left_is_removed_by_the_next(course: DeployedCourse, run: FakeRun) -> None:
    def lose() -> None:
        if "Running a notebook" in run.steps:
            raise AttemptLost

    run.on_check = lose
    with pytest.raises(AttemptLost):
        check(run, patience=QUICK)
    assert not nothing_is_left(course)
    run.on_check = lambda: None
    check(run, patience=QUICK)
    assert nothing_is_left(course)


def test_a_kernel_that_dies_is_told(course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_cells", lambda: [("import os\nos._exit(1)", "")])
    with pytest.raises(NotebookFailed, match="The kernel died while it ran the notebook"):
        check(run, patience=QUICK)
    assert nothing_is_left(course)


def test_a_wrong_result_is_told(course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_cells", lambda: [("print(2 * 2)", "5")])
    with pytest.raises(NotebookFailed, match="The notebook computed something wrong: '4' instead of '5'"):
        check(run, patience=QUICK)
    assert nothing_is_left(course)


def test_a_cells_error_is_told(course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_cells", lambda: [("import numpy_that_is_not_there", "")])
    with pytest.raises(NotebookFailed, match="ModuleNotFoundError: No module named 'numpy_that_is_not_there'"):
        check(run, patience=QUICK)


def test_a_notebook_that_never_ends_is_ended(
    course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_cells", lambda: [("import time\nwhile True: time.sleep(1)", "")])
    monkeypatch.setattr(checking, "NOTEBOOK_SECONDS", 5)
    with pytest.raises(NotebookFailed, match="did not come to its end in time"):
        check(run, patience=QUICK)
    assert nothing_is_left(course)


def test_what_comes_from_the_run_ends_the_check_and_leaves_nothing(course: DeployedCourse, run: FakeRun) -> None:
    def stop() -> None:
        if "Running a notebook" in run.steps:
            raise KeyboardInterrupt

    run.on_check = stop
    with pytest.raises(KeyboardInterrupt):
        check(run, patience=QUICK)
    run.on_check = lambda: None
    assert nothing_is_left(course)


def test_a_start_page_that_the_image_does_not_have_is_told(course: DeployedCourse, run: FakeRun) -> None:
    run.spec = run.spec.model_copy(update={"default_url": "/rstudio"})
    with pytest.raises(NotebookFailed, match="The start page /rstudio answers with error 404"):
        check(run, patience=QUICK)
    assert nothing_is_left(course)


def test_a_home_that_cannot_be_written_is_told(
    deployed: Callable[..., DeployedCourse], run_of: Callable[[DeployedCourse, Status], FakeRun]
) -> None:
    course = deployed("read-only-course", start_commands=['chmod a-w "$HOME"'])
    with pytest.raises(NotebookFailed, match=r"The home directory cannot be written: .*[Pp]ermission"):
        check(run_of(course, Status.DEPLOYING), patience=QUICK)
    assert nothing_is_left(course)


def test_a_server_that_does_not_start_is_told(
    deployed: Callable[..., DeployedCourse], run_of: Callable[[DeployedCourse, Status], FakeRun]
) -> None:
    course = deployed("slow-course", start_commands=["sleep 600"])
    with pytest.raises(ServerFailed, match="did not start the server of jhaas-check within 3 seconds"):
        check(run_of(course, Status.DEPLOYING), patience=Patience(start=3, stop=60, poll=0.1))
    assert nothing_is_left(course)


def test_a_hub_that_is_down_is_told(course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_PUBLIC_SECONDS", 1)
    Supervisor(course.machine.layout).remove_program(hub_process.program_name(course.spec.slug))
    try:
        with pytest.raises(HubFailed, match=f"does not answer at its public address, {course.url}"):
            check(run, patience=QUICK)
    finally:
        course.deploy()
