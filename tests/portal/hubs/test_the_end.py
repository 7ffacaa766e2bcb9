"""The end of a course at a real hub: who is stopped, who goes on, and what is in the archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard
from sqlalchemy import select

from automation.failures import HubFailed, OperationFailed
from course_stack.local import hub_process
from course_stack.local.homes import home_index, remove_home
from course_stack.local.supervisor import Supervisor
from portal.archives import records
from portal.archives.local import LocalHomes
from portal.archives.store import ArchiveStore
from portal.groups.reconcile import nobody_is_at
from portal.hub_api import HubApi, HubRefused
from portal.lifecycle import Status
from portal.models import Archive, Course, Home
from portal.worker.archiving import archive, archive_leads
from portal.worker.closing import close
from tests.portal.hubs.conftest import QUICK, hub_of
from tests.portal.support.run import FakeRun
from tests.support.courses import DeployedCourse
from tests.support.hub_client import HubPerson
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def course(deployed: Callable[..., DeployedCourse]) -> DeployedCourse:
    return deployed("ending-course")


@pytest.fixture
def run(course: DeployedCourse, run_of: Callable[[DeployedCourse, Status], FakeRun]) -> Iterator[FakeRun]:
    """A course that begins to close, with everybody in. Nobody has a server or a home, whatever ran before."""
    people = course.machine.people
    with course.provider() as provider:
        provider.ensure_group(course.names.group, [people["teacher"].subject, people["student"].subject])
        provider.ensure_group(course.names.lead_group, [people["teacher"].subject])
    yield run_of(course, Status.CLOSING)
    with HubApi(hub_of(course), patience=QUICK) as api:
        for user in api.users():
            api.delete_user(user.name)
    for owner in home_index(course.machine.layout, course.spec.slug).values():
        remove_home(course.machine.layout, course.spec.slug, owner.subject)


def working(course: DeployedCourse, role: str) -> HubPerson:
    person = course.signed_in(role)
    person.start_server()
    return person


def names_in(run: FakeRun, row: Archive) -> set[str]:
    """Paths in an archive as it lies at the store."""
    store = ArchiveStore.of(run.target, run.settings.archive_bucket)
    packed = b"".join(store.read(row.key))
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
    return set(tarfile.open(fileobj=io.BytesIO(plain)).getnames())


def homes(run: FakeRun) -> dict[str, Home]:
    with run.transaction() as session:
        return {home.home: home for home in session.scalars(select(Home).where(Home.course_id == run.course_id))}


def archives(run: FakeRun) -> list[Archive]:
    with run.transaction() as session:
        query = select(Archive).where(Archive.course_id == run.course_id).order_by(Archive.home, Archive.number)
        return list(session.scalars(query))


def is_settled(run: FakeRun, **how: Any) -> bool:
    with run.transaction() as session:
        return records.settled(session, run.course(session), **how)


def test_closing_stops_participants_and_leaves_leads_until_the_last_pass(course: DeployedCourse, run: FakeRun) -> None:
    student, teacher = working(course, "student"), working(course, "teacher")
    student.run_cell("open('homework.txt', 'w').write('done')")

    found = close(run, patience=QUICK)
    assert found == {"servers_stopped": 1, "homes": 2}
    assert LocalHomes(course.machine.layout, run.slug).in_use() == {teacher.name}
    assert teacher.server_ready()
    with course.provider() as provider:
        assert provider.group_members(course.names.group) == frozenset({teacher.name})
    who = course.machine.people["student"]
    assert course.person("student").sign_in(who.login, who.password).status_code == 403
    assert student.api("POST", f"users/{student.name}/server").status_code == 403
    stopped = {name: home.server_stopped_at for name, home in homes(run).items()}
    assert stopped == {student.name: run.clock.now(), teacher.name: None}
    assert {home.issuer for home in homes(run).values()} == {course.machine.target.identity.url}
    assert not is_settled(run)

    found = archive(run)
    assert (found["archived"], found["already_archived"], found["failed"]) == (2, 0, {})
    assert is_settled(run)
    assert not is_settled(run, final=True)
    by_home = {row.home: row for row in archives(run)}
    assert "student/homework.txt" in names_in(run, by_home[student.name])
    assert by_home[student.name].key == f"{run.course_id}/1/{student.name}-1.tar.zst"
    assert (by_home[student.name].subject, by_home[student.name].status) == (student.name, "verified")
    assert archive(run)["archived"] == 0  # nothing is copied twice

    # leads write while the course is closed
    run.clock.move(hours=1)  # type: ignore[attr-defined]
    teacher.run_cell("open('grades.txt', 'w').write('all passed')")
    found = archive_leads(run, patience=QUICK)
    assert (found["servers_stopped"], found["archived"]) == (1, 1)
    assert is_settled(run, final=True)
    assert LocalHomes(course.machine.layout, run.slug).in_use() == frozenset()
    assert course.portal.api("GET", "users").json() == []
    first, second = (row for row in archives(run) if row.home == teacher.name)
    assert (first.number, second.number) == (1, 2)
    assert "teacher/grades.txt" not in names_in(run, first)
    assert "teacher/grades.txt" in names_in(run, second)

    # the removal is tried again: nothing that is archived is copied once more
    run.clock.move(hours=1)  # type: ignore[attr-defined]
    assert archive_leads(run, patience=QUICK)["archived"] == 0
    assert is_settled(run, final=True)


def test_a_course_that_was_extended_and_closes_again_wants_new_archives(course: DeployedCourse, run: FakeRun) -> None:
    student = working(course, "student")
    working(course, "teacher")
    close(run, patience=QUICK)
    archive(run)
    assert is_settled(run)
    run.clock.move(days=3)  # type: ignore[attr-defined]
    with run.transaction() as session:
        row = run.course(session)
        row.closing, row.closing_since = 2, run.clock.now()
    run.closing = 2
    course.set_members(student.name, course.machine.people["teacher"].subject)
    assert not is_settled(run)
    student = working(course, "student")
    student.run_cell("open('late.txt', 'w').write('more')")
    run.clock.move(minutes=1)  # type: ignore[attr-defined]
    close(run, patience=QUICK)
    assert archive(run)["archived"] == 2
    assert is_settled(run)
    (latest,) = (row for row in archives(run) if row.closing == 2 and row.home == student.name)
    assert "student/late.txt" in names_in(run, latest)


def test_a_hub_that_is_down_keeps_no_server_alive(course: DeployedCourse, run: FakeRun) -> None:
    student = working(course, "student")
    Supervisor(course.machine.layout).remove_program(hub_process.program_name(run.slug))
    try:
        assert LocalHomes(course.machine.layout, run.slug).in_use() >= {student.name}
        found = close(run, patience=QUICK)
        assert found["servers_stopped"] == 1
        assert "Servers are ended without it." in run.warnings[0]
        assert student.name not in LocalHomes(course.machine.layout, run.slug).in_use()
    finally:
        course.deploy()


def test_a_closing_waits_for_whoever_brings_people_in_step(course: DeployedCourse, run: FakeRun) -> None:
    """What is written by who read the course before its end would let participants in again."""
    with run.sessions() as other:
        assert nobody_is_at(other, run.course_id)
        looks = iter(range(100))

        def look() -> None:
            assert not [one for one in run.steps if one.startswith("Stopping")]
            if next(looks) == 3:
                other.commit()

        run.on_check = look
        close(run, patience=QUICK)
        assert next(looks) > 3


def test_the_api_starts_stops_and_removes_people_and_their_homes_stay(course: DeployedCourse, run: FakeRun) -> None:
    student = working(course, "student")
    teacher = course.signed_in("teacher")
    with HubApi(hub_of(course), patience=QUICK) as api:
        assert {user.name for user in api.users()} == {student.name, teacher.name}
        assert student.name in {user.name for user in api.running()}
        api.stop(student.name)
        assert not student.servers()
        api.stop(student.name)
        api.start(student.name)
        assert student.server_ready()
        api.start(student.name)
        assert api.stop_all([student.name, teacher.name, "nobody"]) == dict.fromkeys(
            sorted([student.name, teacher.name, "nobody"])
        )
        assert api.running() == []
        api.start(student.name)
        api.delete_user(student.name)
        api.delete_user(student.name)
        assert api.user(student.name) is None
        assert student.api("GET", "user").status_code == 403
        assert (course.machine.layout.homes(run.slug) / student.name).is_dir()
        with pytest.raises(HubRefused):
            api.make_user("somebody-else")
        with pytest.raises(HubRefused):
            api.make_token(teacher.name, 60)


def test_a_token_that_is_not_the_hubs_is_refused_and_not_told(course: DeployedCourse) -> None:
    hub = hub_of(course)
    wrong = type(hub)(hub.url, hub.api_url, "wrong-token-of-somebody")
    with HubApi(wrong) as api, pytest.raises(HubRefused) as refused:
        api.users()
    assert refused.value.status == 403
    assert "wrong-token" not in str(refused.value)


def test_a_server_that_came_back_after_the_close_is_archived_again(course: DeployedCourse, run: FakeRun) -> None:
    student = working(course, "student")
    close(run, patience=QUICK)
    archive(run)
    # somebody put the person into the group by hand
    course.set_members(student.name, course.machine.people["teacher"].subject)
    student = working(course, "student")
    student.run_cell("open('afterwards.txt', 'w').write('x')")
    run.clock.move(hours=1)  # type: ignore[attr-defined]
    archive_leads(run, patience=QUICK)
    latest = [row for row in archives(run) if row.home == student.name][-1]
    assert "student/afterwards.txt" in names_in(run, latest)
    assert is_settled(run, final=True)


def test_a_home_that_a_server_has_open_is_not_archived(course: DeployedCourse, run: FakeRun) -> None:
    working(course, "student")
    close(run, patience=QUICK)
    course.set_members("student", course.machine.people["teacher"].subject)
    working(course, "student")
    with run.transaction() as session:
        run.course(session).status = Status.CLOSED
    with pytest.raises(OperationFailed, match="A notebook server still has the home open"):
        archive(run)
    assert not is_settled(run)
    with HubApi(hub_of(course), patience=QUICK) as api:
        wait_for(lambda: api.user("student"), "the student")
        api.delete_user("student")
    archive(run)
    assert is_settled(run)
    with run.transaction() as session:
        assert session.get_one(Course, run.course_id).closing == 1


def test_a_storage_that_is_not_there_is_no_course_without_homes(course: DeployedCourse, run: FakeRun) -> None:
    student = working(course, "student")
    homes_folder = course.machine.layout.homes(run.slug)
    away = homes_folder.with_name("away")
    homes_folder.rename(away)
    try:
        for _ in range(2):  # the next try finds the same
            with pytest.raises(OperationFailed, match="no home of 1 people whose servers run, among them student"):
                close(run, patience=QUICK)
    finally:
        away.rename(homes_folder)
    assert homes(run) == {}
    close(run, patience=QUICK)
    assert student.name in homes(run)


def test_servers_that_do_not_stop_keep_the_course_from_closing(
    course: DeployedCourse, run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    working(course, "student")
    monkeypatch.setattr(HubApi, "stop_all", lambda _self, names: dict.fromkeys(names, "it still runs."))
    with pytest.raises(HubFailed, match="1 of 1 servers did not stop, among them that of student: it still runs"):
        close(run, patience=QUICK)
    assert homes(run) == {}
