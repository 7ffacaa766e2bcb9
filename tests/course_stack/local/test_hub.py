"""A course's hub on one machine, with real services, over HTTP as a browser would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_stack.hub_rules import CHECK_USER
from course_stack.local import hub_process, processes, services
from course_stack.local.hub import LocalHubProvider
from course_stack.local.isolation import Isolation, isolation
from course_stack.local.supervisor import Supervisor
from course_stack.resources import target_inputs
from tests.conftest import Machine
from tests.support import hub_promises
from tests.support.courses import DeployedCourse
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine
private_only = pytest.mark.skipif(
    isolation() is not Isolation.PRIVATE, reason="this machine allows notebooks no private view"
)

VOLUMES = [
    {"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 1},
    {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 1},
]


@pytest.fixture(scope="module")
def course(machine: Machine, short_ages: None) -> Iterator[DeployedCourse]:
    """One course for the tests that leave it as they found it."""
    with _deployed(machine, "shared-course", shared_volumes=VOLUMES, environment={"COURSE_COLOUR": "green"}) as course:
        yield course


@contextlib.contextmanager
def _deployed(machine: Machine, slug: str, **changes: object) -> Iterator[DeployedCourse]:
    course = DeployedCourse.of(machine, slug, **changes)
    try:
        course.deploy()
        yield course
    finally:
        course.remove()


def test_a_participant_signs_in_starts_a_server_and_runs_a_cell(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    assert student.open_server().status_code == 200
    assert student.run_cell("import os; print(6 * 7, os.environ['COURSE_COLOUR'])") == "42 green\n"


def test_nobody_is_asked_about_news_of_jupyter(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    student.open_server()
    address = f"{course.url}user/{student.name}/lab/api/settings/@jupyterlab/apputils-extension:notification"
    offered = student.browser.get(address).json()["schema"]["properties"]
    assert (offered["fetchNews"]["default"], offered["checkForUpdates"]["default"]) == ("false", False)


def test_a_stranger_with_an_account_is_refused_and_told_why(course: DeployedCourse) -> None:
    hub_promises.stranger_is_refused_and_told_why(course)


def test_a_sign_in_that_cannot_be_finished_is_begun_anew_by_a_click(course: DeployedCourse) -> None:
    hub_promises.sign_in_that_cannot_be_finished_is_begun_anew_by_a_click(course)


def test_without_a_session_every_address_leads_to_the_sign_in(course: DeployedCourse) -> None:
    somebody = course.person("stranger")
    for path in ("hub/home", "user/student/lab", "hub/admin"):
        page = somebody.browser.get(f"{course.url}{path}")
        assert page.url.startswith(course.machine.target.identity.url), page.url
    assert somebody.api("GET", "users").status_code == 403


def test_signing_out_ends_the_session_and_leads_to_the_provider_and_back(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    page = student.browser.get(f"{course.url}hub/logout")
    assert page.url.startswith(course.machine.target.identity.url)
    assert student.api("GET", "user").status_code == 403
    (form,) = student.browser.forms(page)
    page = student.browser.submit(page, form, answer="logout")
    assert any("login" in one.fields for one in student.browser.forms(page))


def test_a_teacher_opens_a_participants_server_and_runs_code_in_it(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    hub_promises.lead_works_in_a_participants_server(course, student)


def test_a_participant_opens_nobody_elses_server_and_sees_nobody(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    hub_promises.participant_opens_nobody_elses_server_and_sees_nobody(course, student)


def test_nobody_is_an_admin(course: DeployedCourse) -> None:
    teacher = course.signed_in("teacher")
    assert {one["name"]: one["admin"] for one in course.portal.api("GET", "users").json() if one["admin"]} == {}
    for method, path in (("POST", "users/made-up"), ("POST", "shutdown"), ("POST", "groups/made-up")):
        assert teacher.api(method, path).status_code in (403, 404), path


def test_the_portals_token_sees_people_and_opens_no_server(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    listed = {one["name"]: one for one in course.portal.api("GET", "users").json()}
    assert listed[student.name]["servers"][""]["ready"]
    for method, path in (
        ("POST", "users/made-up"),
        ("PATCH", f"users/{student.name}"),
        ("POST", f"users/{student.name}/tokens"),
        ("POST", "shutdown"),
    ):
        assert course.portal.api(method, path, json={}).status_code in (403, 404), path
    portal = course.person("stranger").browser
    answer = portal.get(
        f"{course.url}user/{student.name}/api/contents",
        headers={"Authorization": f"token {course.secrets['api_token']}"},
    )
    assert answer.status_code == 403


def test_the_check_makes_a_user_of_its_own_runs_its_server_and_leaves_nothing_in_the_hub(
    course: DeployedCourse,
) -> None:
    check = CHECK_USER
    assert course.portal.api("POST", f"users/{check}").status_code == 201
    assert course.portal.api("POST", f"users/{check}/server").status_code in (201, 202)

    def server() -> dict[str, object]:
        servers: dict[str, dict[str, object]] = course.portal.api("GET", f"users/{check}").json()["servers"]
        return servers.get("", {})

    wait_for(lambda: server().get("ready"), "the check's server")
    token = course.portal.api("POST", f"users/{check}/tokens", json={"expires_in": 300}).json()["token"]
    checker = course.person("stranger").browser
    answer = checker.get(f"{course.url}user/{check}/api/status", headers={"Authorization": f"token {token}"})
    assert answer.status_code == 200
    assert course.portal.api("DELETE", f"users/{check}").status_code == 204
    assert course.portal.api("GET", f"users/{check}").status_code == 404


def test_a_removed_participant_is_put_out_without_logging_out(course: DeployedCourse) -> None:
    student, teacher = course.machine.people["student"], course.machine.people["teacher"]
    person = course.signed_in("student")
    person.start_server()
    assert person.open_server().status_code == 200
    home = course.machine.layout.homes(course.spec.slug) / student.subject
    course.set_members(teacher.subject)
    try:
        wait_for(
            lambda: course.portal.api("GET", f"users/{student.subject}").json()["servers"] == {},
            "the end of the server",
        )
        assert person.api("GET", "user").status_code == 403
        assert person.server_api("GET", "contents").status_code in (403, 404, 503)
        page = person.browser.get(f"{course.url}hub/home")
        assert page.status_code == 403
        assert home.is_dir()
    finally:
        course.set_members(student.subject, teacher.subject)
    assert course.signed_in("student").api("GET", "user").json()["name"] == student.subject


def test_a_lead_who_is_no_longer_one_opens_no_server(course: DeployedCourse) -> None:
    student, teacher = course.signed_in("student"), course.signed_in("teacher")
    student.start_server()
    assert teacher.server_api("GET", "contents", student.name).status_code == 200
    with course.provider() as provider:
        provider.ensure_group(course.names.lead_group, [])
    try:
        wait_for(lambda: teacher.api("GET", "users").status_code == 403, "the end of the role")
        wait_for(
            lambda: teacher.server_api("GET", "contents", student.name).status_code in (403, 404),
            "the end of access",
        )
    finally:
        with course.provider() as provider:
            provider.ensure_group(course.names.lead_group, [teacher.name])


@private_only
def test_material_is_written_by_leads_and_read_by_participants_a_share_is_everybodys(course: DeployedCourse) -> None:
    student, teacher = course.signed_in("student"), course.signed_in("teacher")
    teacher.start_server()
    student.start_server()
    assert teacher.run_cell("open('/mnt/material/sheet.txt', 'w').write('exercise')") == ""
    assert student.run_cell("print(open('/mnt/material/sheet.txt').read())") == "exercise\n"
    assert "Permission denied" in student.run_cell("open('/mnt/material/sheet.txt', 'a')")
    assert "Read-only file system" in student.run_cell("open('/mnt/material/mine.txt', 'w')")
    assert student.run_cell("open('/mnt/share/answer.txt', 'w').write('mine')") == ""
    assert teacher.run_cell("open('/mnt/share/answer.txt', 'a').write(' and yours')") == ""
    assert student.run_cell("print(open('/mnt/share/answer.txt').read())") == "mine and yours\n"
    teacher.stop_server()


@private_only
def test_a_notebook_reaches_neither_secrets_nor_other_homes_nor_sockets_nor_processes(course: DeployedCourse) -> None:
    student, teacher = course.signed_in("student"), course.signed_in("teacher")
    student.start_server()
    teacher.start_server()
    layout, slug = course.machine.layout, course.spec.slug
    forbidden = [
        layout.credentials / "state-passphrase",
        layout.credentials / "identity.json",
        layout.hub(slug) / "config.json",
        layout.hub(slug) / "jupyterhub.sqlite",
        layout.homes(slug) / teacher.name,
        layout.supervisor / "supervisord.sock",
        *layout.services.rglob(".s.PGSQL*"),
    ]
    assert all(path.exists() for path in forbidden)
    assert len(forbidden) >= 7
    code = f"""
import os, signal
print([path for path in {list(map(str, forbidden))!r} if os.path.exists(path)])
reached = []
for pid in range(2, {max(processes.of_accounts(frozenset(range(200000, 500000))), default=2) + 1}):
    try:
        os.kill(pid, 0)
        reached.append(os.stat(f'/proc/{{pid}}').st_uid == os.getuid())
    except ProcessLookupError:
        pass
print(all(reached), os.getuid() != 0)
"""
    assert student.run_cell(code) == "[]\nTrue True\n"
    teacher.stop_server()


@private_only
def test_kernels_listen_on_no_port_where_other_accounts_could_hear_them(course: DeployedCourse) -> None:
    import psutil

    student = course.signed_in("student")
    student.start_server()
    kernel = student.server_api("POST", "kernels", json={"name": "python3"})
    assert kernel.status_code == 201
    numbers = hub_process.AccountBook(course.machine.layout).courses()[course.spec.slug]
    ports = {
        connection.laddr.port
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.pid in processes.of_accounts(numbers)
    }
    assert len(ports) == 1  # the server's own


def test_no_secret_is_in_an_argument_or_the_environment_of_hub_or_culler(course: DeployedCourse) -> None:
    client = course.client()
    assert client
    secrets = [*course.secrets.values(), client.secret]
    hub = Supervisor(course.machine.layout).status()[hub_process.program_name(course.spec.slug)].pid
    assert hub
    family = [hub, *map(int, Path(f"/proc/{hub}/task/{hub}/children").read_text().split())]
    assert len(family) >= 2
    for pid in family:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert [name for name in secrets if name.encode() in shown] == []
    log = hub_process.log_file(course.machine.layout, course.spec.slug).read_text()
    assert [name for name in secrets if name in log] == []


def test_the_hubs_own_files_are_readable_by_nobody_else(course: DeployedCourse) -> None:
    folder = course.machine.layout.hub(course.spec.slug)
    assert folder.stat().st_mode & 0o077 == 0
    for path in (folder / "config.json", folder / "jupyterhub.sqlite"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_servers_are_found_again_after_the_hub_was_killed(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    kernel = student.server_api("POST", "kernels", json={"name": "python3"}).json()["id"]
    supervisor, name = Supervisor(course.machine.layout), hub_process.program_name(course.spec.slug)
    before = supervisor.status()[name].pid
    assert before
    services = hub_process.hub_processes(course.machine.layout, course.spec.slug) - {before}
    assert services
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervisor.status()[name].pid not in (None, before), "another hub")
    wait_for(lambda: not any(processes.start_time(pid) for pid in services), "end of the dead hub's services")
    hub_process.wait_until_answers(course.machine.layout, course.machine.target, course.spec.slug)
    assert student.server_ready()
    kernels = wait_for(lambda: student.server_api("GET", "kernels").json(), "the server")
    assert kernel in [one["id"] for one in kernels]
    student.stop_server()
    assert hub_process.notebook_launchers(course.machine.layout, course.spec.slug) == frozenset()


def test_servers_are_found_again_after_supervisord_and_everything_below_it_was_killed(course: DeployedCourse) -> None:
    """As after a crash of the machine, but for the notebooks, which nobody killed."""
    layout, target, slug = course.machine.layout, course.machine.target, course.spec.slug
    student = course.signed_in("student")
    student.start_server()
    kernel = student.server_api("POST", "kernels", json={"name": "python3"}).json()["id"]
    supervisor = Supervisor(layout)
    hub = supervisor.status()[hub_process.program_name(slug)].pid
    assert hub
    for pid in (int((layout.supervisor / "supervisord.pid").read_text()), hub):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not supervisor.running(), "the end of supervisord")
    services.up(layout)
    hub_process.wait_until_answers(layout, target, slug)
    assert student.server_ready()
    assert kernel in [one["id"] for one in student.server_api("GET", "kernels").json()]


def test_a_server_that_its_hub_forgot_ends_when_its_owner_starts_another(course: DeployedCourse) -> None:
    """As when a hub is killed while it starts a server: what it wrote down says that there is none."""
    layout, slug = course.machine.layout, course.spec.slug
    student = course.signed_in("student")
    student.stop_server()
    forgotten = subprocess.Popen(
        ["/bin/sleep", "600"],
        env={
            processes.COURSE_MARK: str(layout.hub(slug)),
            processes.HOME_MARK: str(layout.homes(slug) / student.name),
        },
    )
    with forgotten:
        student.start_server()
        assert forgotten.wait(10) != 0
    assert len(hub_process.notebook_launchers(layout, slug)) == 2


def test_an_update_without_a_change_restarts_nothing_and_a_change_keeps_servers(
    machine: Machine, short_ages: None
) -> None:
    with _deployed(machine, "update-course") as course:
        student = course.signed_in("student")
        student.start_server()
        kernel = student.server_api("POST", "kernels", json={"name": "python3"}).json()["id"]
        name = hub_process.program_name(course.spec.slug)
        first = Supervisor(machine.layout).status()[name].pid
        course.deploy()
        assert Supervisor(machine.layout).status()[name].pid == first
        course.deploy(default_url="/tree", environment={"COURSE_COLOUR": "blue"})
        assert Supervisor(machine.layout).status()[name].pid != first
        assert student.server_ready()
        assert [one["id"] for one in student.server_api("GET", "kernels").json()] == [kernel]
        student.stop_server()
        student.start_server()
        assert student.run_cell("import os; print(os.environ['COURSE_COLOUR'])") == "blue\n"


def test_removing_leaves_nothing_even_when_the_hub_is_dead_and_servers_run(machine: Machine, short_ages: None) -> None:
    course = DeployedCourse.of(machine, "gone-course", shared_volumes=VOLUMES)
    course.deploy()
    student = course.signed_in("student")
    student.start_server()
    student.server_api("POST", "kernels", json={"name": "python3"})
    assert len(course.traces()) >= 10
    numbers = hub_process.AccountBook(machine.layout).courses()["gone-course"]
    supervisor, name = Supervisor(machine.layout), hub_process.program_name("gone-course")
    (machine.layout.supervisor / "programs" / f"{name}.conf").unlink()
    pid = supervisor.status()[name].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    course.remove()
    assert course.traces() == []
    assert processes.of_accounts(numbers) == frozenset()
    assert "gone-course" not in hub_process.courses(machine.layout)
    course.remove()


def test_a_create_adopts_whatever_a_killed_one_left(machine: Machine, short_ages: None) -> None:
    course = DeployedCourse.of(machine, "half-course")
    try:
        port = hub_process.reserve_port(machine.layout, "half-course")
        folder = machine.layout.hub("half-course")
        folder.mkdir(mode=0o700)
        (folder / "config.json").write_text("{}")
        hub_process.routes_file(machine.layout, "half-course").write_text("")
        course.deploy()
        assert hub_process.reserve_port(machine.layout, "half-course") == port
        course.hub_props = {}
        course.deploy()
        assert course.signed_in("student").api("GET", "user").status_code == 200
    finally:
        course.remove()


def test_a_look_at_the_hub_says_what_is_missing_or_different(machine: Machine, short_ages: None) -> None:
    with _deployed(machine, "drift-course") as course:
        layout, slug = machine.layout, course.spec.slug
        provider = LocalHubProvider()

        def condition() -> str | None:
            found = provider.read(slug, course.hub_props)
            if not found.id:
                return None
            assert found.outs
            drifted = provider.diff(slug, found.outs, course.hub_props).changes
            assert drifted == (found.outs["condition"] != "running")
            return str(found.outs["condition"])

        assert condition() == "running"
        hub_process.routes_file(layout, slug).unlink()
        assert condition() == "without route"
        config = layout.hub(slug) / "config.json"
        config.write_text(config.read_text().replace("Introduction", "Deduction"))
        assert condition() == "changed"
        course.deploy()
        wait_for(lambda: condition() == "running", "the hub as wanted")
        Supervisor(layout).remove_program(hub_process.program_name(slug))
        assert condition() is None
        gone = provider.read(slug, {**course.hub_props, **target_inputs(machine.target)})
        assert (gone.id, gone.outs) == ("", {})


def test_material_that_cannot_be_fetched_keeps_no_server_from_starting_and_is_told(
    machine: Machine, short_ages: None
) -> None:
    with _deployed(
        machine,
        "pull-course",
        git_repositories=[{"url": "https://127.0.0.1:1/nobody/here"}],
        start_commands=["echo made by the course > made.txt", "false"],
    ) as course:
        student = course.signed_in("student")
        student.start_server()
        listed = {one["name"] for one in student.server_api("GET", "contents").json()["content"]}
        assert {"made.txt", "START-UP-PROBLEMS.txt"} <= listed
        problems = student.server_api("GET", "contents/START-UP-PROBLEMS.txt").json()["content"]
        assert "https://127.0.0.1:1/nobody/here" in problems
        assert student.run_cell("print(open('made.txt').read())") == "made by the course\n\n"


def test_a_profile_gives_its_own_limits_and_an_unknown_one_is_refused(machine: Machine, short_ages: None) -> None:
    large = {"memory_guarantee": 1, "memory_limit": 2, "cpu_guarantee": 0.1, "cpu_limit": 1.5}
    with _deployed(
        machine, "profile-course", profiles=[{"name": "Small"}, {"name": "Large one", "resources": large}]
    ) as course:
        student = course.signed_in("student")
        form = student.browser.get(f"{course.url}hub/spawn")
        assert "Large one" in form.text
        refused = student.api("POST", f"users/{student.name}/server", json={"profile": "huge"})
        assert refused.status_code == 400
        assert "it has: small, large-one" in refused.json()["message"]
        student.start_server(profile="large-one")
        seen = student.run_cell("import os; print(os.environ['MEM_LIMIT'], os.environ['CPU_LIMIT'])")
        assert seen == f"{2 * 2**30} 1.5\n"


def test_homes_are_listed_with_their_owners(course: DeployedCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    index = json.loads((course.machine.layout.homes(course.spec.slug) / ".people.json").read_text())
    assert index[student.name] == {"issuer": course.machine.target.identity.url, "subject": student.name}
