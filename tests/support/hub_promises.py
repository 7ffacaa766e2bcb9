"""What every hub promises to people, wherever it runs. Each takes a course whose hub answers."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urljoin, urlsplit

from tests.support.courses import DeployedCourse
from tests.support.hub_client import HubPerson


def stranger_is_refused_and_told_why(course: DeployedCourse) -> None:
    """Somebody with an account who is not in the course."""
    stranger = course.machine.people["stranger"]
    page = course.person("stranger").sign_in(stranger.login, stranger.password)
    assert page.status_code == 403
    assert f"You are not in the course {course.spec.title}" in page.text
    assert "stranger" not in {one["name"] for one in course.portal.api("GET", "users").json()}


def sign_in_that_cannot_be_finished_is_begun_anew_by_a_click(course: DeployedCourse) -> None:
    """It took longer than the hub remembers, or was begun in a second window before the first one was done."""
    late, twice = course.person("student").browser, course.person("student").browser
    (begun,) = [
        state
        for page in twice.get(f"{course.url}hub/home").history
        for state in parse_qs(urlsplit(page.headers["Location"]).query).get("state", [])
    ]
    assert twice.get(f"{course.url}hub/home").status_code == 200
    for browser in (late, twice):
        page = browser.get(f"{course.url}hub/oauth_callback", params={"code": "of-the-provider", "state": begun})
        assert page.status_code == 400
        assert "Signing in took too long, or was begun in another window as well." in page.text
        (link,) = re.findall(r'<a href="([^"]+)">Try again</a>', page.text)
        again = browser.get(urljoin(page.url, link))
        assert urlsplit(again.url).netloc != urlsplit(course.url).netloc
        assert again.status_code == 200


def lead_works_in_a_participants_server(course: DeployedCourse, student: HubPerson) -> None:
    """The participant's server runs."""
    teacher = course.signed_in("teacher")
    assert teacher.open_server(student.name).status_code == 200
    assert teacher.run_cell("print('by the teacher')", student.name) == "by the teacher\n"
    people = {one["name"] for one in teacher.api("GET", "users").json()}
    assert {student.name, teacher.name} <= people


def participant_opens_nobody_elses_server_and_sees_nobody(course: DeployedCourse, student: HubPerson) -> None:
    """The lead's server is started for that, and stopped."""
    teacher = course.signed_in("teacher")
    teacher.start_server()
    assert student.open_server(teacher.name).status_code in (403, 404)
    assert student.server_api("GET", "contents", teacher.name).status_code in (403, 404)
    assert student.api("GET", "users").status_code == 403
    assert student.api("DELETE", f"users/{teacher.name}/server").status_code in (403, 404)
    teacher.stop_server()
