"""A course's hub on a real cluster, over HTTP as a browser would, with real pods, claims and Jobs."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from course_stack.hub_rules import CHECK_USER
from course_stack.target import Target
from portal.archives.places import storage_of
from portal.hub_api import HubApi
from portal.worker import check
from portal.worker.run import Hub
from tests.cluster import kube
from tests.cluster.course import ClusterCourse, merged
from tests.cluster.git_server import make_repository
from tests.cluster.trial import Trial
from tests.support import hub_promises
from tests.support.hub_client import HubPerson
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.machine]

VOLUMES = [
    {"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 0.25},
    {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 0.25},
]
PUBLIC = "https://git.example.org/"
"""The trial's repositories by the kind of address that a spec takes; git is told where they are."""


@pytest.fixture(scope="module")
def course(trial: Trial) -> Iterator[ClusterCourse]:
    """One course for all tests, each of which leaves it as it found it."""
    make_repository(trial.git, "material", {"sheet.md": "exercise 1"})
    git = {f"url.{trial.git_url}/.insteadOf": PUBLIC}
    course = ClusterCourse.at(
        trial,
        "lab-hub",
        shared_volumes=VOLUMES if _cluster(trial.target).shared_class else [],
        environment={"COURSE_COLOUR": "green", **_git_environment(git)},
        git_repositories=[{"url": f"{PUBLIC}material.git"}],
        start_commands=["echo from the course > prepared.txt", "exit 3", "echo all the same > second.txt"],
    )
    course.adjust = quick_ages
    course.remove()
    try:
        course.deploy()
        yield course
    finally:
        course.remove()


def quick_ages(values: dict[str, Any]) -> None:
    """People are asked about every second, not every minute or two."""
    values["hub"]["config"]["CourseAuthenticator"].update(auth_refresh_age=1, recheck_seconds=1)


@pytest.fixture(scope="module")
def student(course: ClusterCourse) -> HubPerson:
    """A participant whose server runs."""
    person = course.signed_in("student")
    person.start_server()
    return person


def test_a_participant_signs_in_starts_a_server_and_runs_a_cell(course: ClusterCourse, student: HubPerson) -> None:
    assert student.open_server().status_code == 200
    assert student.run_cell("import os; print(6 * 7, os.environ['COURSE_COLOUR'])") == "42 green\n"


def test_a_stranger_with_an_account_is_refused_and_told_why(course: ClusterCourse) -> None:
    hub_promises.stranger_is_refused_and_told_why(course)


def test_a_sign_in_that_cannot_be_finished_is_begun_anew_by_a_click(course: ClusterCourse) -> None:
    hub_promises.sign_in_that_cannot_be_finished_is_begun_anew_by_a_click(course)


def test_signing_out_ends_the_session_and_leads_to_the_provider(course: ClusterCourse) -> None:
    student = course.signed_in("student")
    page = student.browser.get(f"{course.url}hub/logout")
    assert page.url.startswith(course.machine.target.identity.url)
    assert student.api("GET", "user").status_code == 403


def test_a_lead_opens_a_participants_server_and_runs_code_in_it(course: ClusterCourse, student: HubPerson) -> None:
    hub_promises.lead_works_in_a_participants_server(course, student)


def test_a_participant_opens_nobody_elses_server_and_sees_nobody(course: ClusterCourse, student: HubPerson) -> None:
    hub_promises.participant_opens_nobody_elses_server_and_sees_nobody(course, student)


def test_the_home_has_the_git_repository_and_what_the_start_up_commands_made(student: HubPerson) -> None:
    code = "import os; print(*(open(os.path.expanduser('~/' + name)).read().strip() for name in %r), sep='|')"
    names = ["material/sheet.md", "prepared.txt", "second.txt"]
    assert student.run_cell(code % names) == "exercise 1|from the course|all the same\n"


def test_a_start_up_command_that_fails_keeps_nothing_from_starting_and_is_told(student: HubPerson) -> None:
    """The server of this participant runs although the second command ends with an error."""
    told = student.run_cell("import os; print(open(os.path.expanduser('~/START-UP-PROBLEMS.txt')).read())")
    assert "exit 3" in told


def test_material_is_written_by_leads_and_read_by_participants_a_share_is_everybodys(
    course: ClusterCourse, student: HubPerson
) -> None:
    if not course.spec.shared_volumes:
        pytest.skip("the target has no class for shared volumes")
    teacher = course.signed_in("teacher")
    teacher.start_server()
    assert teacher.run_cell("open('/mnt/material/sheet.txt', 'w').write('exercise')") == ""
    assert student.run_cell("print(open('/mnt/material/sheet.txt').read())") == "exercise\n"
    assert "Read-only file system" in student.run_cell("open('/mnt/material/sheet.txt', 'a')")
    assert "Read-only file system" in student.run_cell("open('/mnt/material/mine.txt', 'w')")
    assert student.run_cell("open('/mnt/share/answer.txt', 'w').write('mine')") == ""
    assert teacher.run_cell("open('/mnt/share/answer.txt', 'a').write(' and yours')") == ""
    assert student.run_cell("print(open('/mnt/share/answer.txt').read())") == "mine and yours\n"
    teacher.stop_server()


def test_a_notebook_has_no_key_to_the_cluster_and_is_nobody_special(student: HubPerson) -> None:
    code = (
        "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'), os.getuid() != 0); "
        "status = dict(line.split()[:2] for line in open('/proc/self/status') if len(line.split()) > 1); "
        "print(status['CapEff:'], status['NoNewPrivs:'], status['Seccomp:'])"
    )
    assert student.run_cell(code).splitlines() == ["False True", "0000000000000000 1 2"]


def test_a_notebook_reaches_what_is_open_and_not_what_is_closed(course: ClusterCourse, student: HubPerson) -> None:
    store = urlsplit(course.machine.target.object_store.endpoint or "")
    open_ = [("hub", 8081), (store.hostname, store.port)]
    closed = [("kubernetes.default.svc", 443), ("proxy-api", 8001)]
    code = f"""
import socket
def reached(place):
    try:
        socket.create_connection(place, 3).close()
    except OSError:
        return False
    return True
print(*(place for place in {[*open_, *closed]!r} if reached(place)), sep="; ")
"""
    found = student.run_cell(code)
    assert all(str(place) in found for place in open_), found
    if all(str(place) in found for place in closed):
        pytest.skip("this cluster's network plugin does not enforce network policies")
    assert not any(str(place) in found for place in closed), found


def test_the_portals_token_sees_people_and_opens_no_server(course: ClusterCourse, student: HubPerson) -> None:
    listed = {one["name"]: one for one in course.portal.api("GET", "users").json()}
    assert listed[student.name]["servers"][""]["ready"]
    for method, path in (
        ("POST", "users/made-up"),
        ("PATCH", f"users/{student.name}"),
        ("POST", f"users/{student.name}/tokens"),
        ("POST", "shutdown"),
    ):
        assert course.portal.api(method, path, json={}).status_code in (403, 404), path
    answer = course.person("stranger").browser.get(
        f"{course.url}user/{student.name}/api/contents",
        headers={"Authorization": f"token {course.secrets['api_token']}"},
    )
    assert answer.status_code == 403


def test_nobody_is_an_admin(course: ClusterCourse) -> None:
    teacher = course.signed_in("teacher")
    assert [one["name"] for one in course.portal.api("GET", "users").json() if one["admin"]] == []
    for method, path in (("POST", "users/made-up"), ("POST", "shutdown"), ("POST", "groups/made-up")):
        assert teacher.api(method, path).status_code in (403, 404), path


def test_the_portals_check_runs_a_notebook_and_leaves_neither_user_nor_home(course: ClusterCourse) -> None:
    """The portal's own code, with its token, at the hub's public address."""
    told: list[str] = []
    run: Any = SimpleNamespace(
        spec=course.spec, step=lambda text, **_: told.append(text), check=lambda: None, tell=told.append
    )
    hub = Hub(course.url, f"{course.url}hub/api/", course.secrets["api_token"])
    homes = storage_of(course.machine.target, course.spec.slug)
    with HubApi(hub) as api:
        try:
            assert check._run_notebook(run, hub, api) == {"kernel": "python3", "cells": 3}
            assert CHECK_USER in {one["name"] for one in course.portal.api("GET", "users").json()}
        finally:
            check._remove(api, homes)
    assert "Running a notebook" in told
    assert CHECK_USER not in {one["name"] for one in course.portal.api("GET", "users").json()}
    assert CHECK_USER not in {claim["metadata"]["annotations"]["jhaas.io/subject"] for claim in _homes(course)}


@pytest.fixture
def namespace(course: ClusterCourse) -> Iterator[str]:
    """The course's namespace; pods that a test puts there go again."""
    name = course.cluster_names.namespace
    yield name
    kube.kubectl("delete", "pods", "-n", name, "-l", "trial=filler", "--grace-period=0", "--force")


def test_the_quota_refuses_a_pod_too_many_and_says_why(course: ClusterCourse, namespace: str) -> None:
    room = int(kube.show("resourcequotas", "-n", namespace)[0]["status"]["hard"]["pods"])
    tiny = {"cpu": "1m", "memory": "8Mi"}
    with pytest.raises(kube.CommandFailed, match=r"exceeded quota: course, requested: .*pods=1"):
        for number in range(room + 1):
            kube.apply([_pod(namespace, f"filler-{number}", course.spec.image, {"requests": tiny, "limits": tiny})])
    assert len(kube.show("pods", "-n", namespace)) == room


def test_what_asks_for_nothing_gets_the_limits_of_the_namespace_and_too_much_is_refused(
    course: ClusterCourse, namespace: str
) -> None:
    kube.apply([_pod(namespace, "modest", course.spec.image)])
    (container,) = kube.show("pods", "-n", namespace, "-l", "trial=filler")[0]["spec"]["containers"]
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    with pytest.raises(kube.CommandFailed, match="maximum memory usage per Container"):
        kube.apply([_pod(namespace, "greedy", course.spec.image, {"limits": {"memory": "64Gi"}})])


def test_a_pod_that_is_not_restricted_is_refused(course: ClusterCourse, namespace: str) -> None:
    pod = _pod(namespace, "root", course.spec.image)
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(kube.CommandFailed, match="violates PodSecurity"):
        kube.apply([pod])


def test_every_claim_says_whose_home_it_is(course: ClusterCourse, student: HubPerson) -> None:
    claims = _homes(course)
    owners = {claim["metadata"]["annotations"]["jhaas.io/subject"] for claim in claims}
    assert student.name in owners
    issuers = {claim["metadata"]["annotations"]["jhaas.io/issuer"] for claim in claims}
    assert issuers == {course.machine.target.identity.url}


def test_no_secret_stands_in_an_argument_an_environment_or_a_config_map(course: ClusterCourse) -> None:
    client = course.client()
    assert client
    hidden = [client.secret, *course.keys.values(), course.secrets["api_token"]]
    shown = kube.kubectl(
        "get", "pods,configmaps,deployments,services", "-n", course.cluster_names.namespace, "-o", "json"
    )
    assert [one for one in hidden if one in shown] == []


def test_a_removed_participant_is_put_out_and_the_home_stays(course: ClusterCourse, student: HubPerson) -> None:
    teacher = course.machine.people["teacher"]
    student.start_server()
    course.set_members(teacher.subject)
    try:
        wait_for(
            lambda: course.portal.api("GET", f"users/{student.name}").json()["servers"] == {}, "the end of the server"
        )
        assert student.api("GET", "user").status_code == 403
        assert student.name in {claim["metadata"]["annotations"]["jhaas.io/subject"] for claim in _homes(course)}
    finally:
        course.set_members(student.name, teacher.subject)
    again = course.signed_in("student")
    again.start_server()
    assert again.run_cell("import os; print(os.path.exists(os.path.expanduser('~/prepared.txt')))") == "True\n"


def test_a_hub_that_was_killed_finds_its_servers_and_sessions_again(course: ClusterCourse) -> None:
    student = course.signed_in("student")
    student.start_server()
    kernel = student.server_api("POST", "kernels", json={"name": "python3"}).json()["id"]
    (before,) = course.pods("hub")
    kube.kubectl(
        *(
            "delete",
            "pod",
            "-n",
            course.cluster_names.namespace,
            before["metadata"]["name"],
            "--grace-period=0",
            "--force",
        )
    )
    wait_for(lambda: [one for one in course.pods("hub") if _other(one, before) and _ready(one)], "another hub", 120)
    course.wait_until_answers()
    assert student.server_ready()
    assert kernel in [one["id"] for one in student.server_api("GET", "kernels").json()]


def test_an_upgrade_keeps_servers_and_what_nobody_uses_any_more_is_stopped(course: ClusterCourse) -> None:
    """The culler is told of short times: a server in use by nobody goes, its home stays."""
    student = course.signed_in("student")
    student.start_server()
    pod = course.pods("singleuser-server")[0]["metadata"]["uid"]
    before = course.adjust

    def quick(values: dict[str, Any]) -> None:
        before(values)
        values["cull"] = merged(values["cull"], {"timeout": 20, "every": 5})

    course.adjust = quick
    try:
        course.deploy()
        assert [one["metadata"]["uid"] for one in course.pods("singleuser-server")] == [pod]
        wait_for(lambda: course.pods("singleuser-server") == [], "the end of the idle server", 120)
        assert student.name in {one["name"] for one in course.portal.api("GET", "users").json()}
    finally:
        course.adjust = before
        course.deploy()


def test_a_removal_leaves_nothing(course: ClusterCourse) -> None:
    """The last one: the course with its homes, shared volumes and a server that runs."""
    course.signed_in("student").start_server()
    assert {f"namespace {course.cluster_names.namespace}", f"Helm release {course.cluster_names.release}"} <= {
        *course.traces()
    }
    course.remove()
    assert course.traces() == []


def _other(pod: dict[str, Any], than: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["uid"] != than["metadata"]["uid"])


def _ready(pod: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def _homes(course: ClusterCourse) -> list[dict[str, Any]]:
    """The claims that are not on their way out."""
    claims = kube.show("pvc", "-n", course.cluster_names.namespace, "-l", "component=singleuser-storage")
    return [one for one in claims if "deletionTimestamp" not in one["metadata"]]


def _git_environment(settings: dict[str, str]) -> dict[str, str]:
    """git's settings as it reads them from the environment."""
    given = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        given |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return given


def _pod(namespace: str, name: str, image: str, resources: dict[str, Any] | None = None) -> dict[str, Any]:
    secured = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "filler",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "60"],
        "securityContext": secured,
        "resources": resources or {},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"trial": "filler"}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def _cluster(target: Target) -> Any:
    assert target.cluster is not None
    return target.cluster
