"""Access at a real hub and a real identity provider: let in, and really out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from course_stack.target import Target
from portal.actor import Actor
from portal.archives.local import LocalHomes
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.groups import reconcile_due
from portal.lifecycle import Status
from portal.models import Course, Participation
from portal.participants import codes, places
from portal.participants.rules import Deed
from portal.sealing import Sealer
from tests.conftest import free_port
from tests.portal.clock import MovableClock
from tests.portal.hubs.conftest import deployed  # noqa: F401 - a fixture
from tests.portal.makers import make_course, make_target, make_user
from tests.support.courses import DeployedCourse

pytestmark = pytest.mark.machine


@pytest.fixture
def hub(deployed: Callable[..., DeployedCourse]) -> Iterator[DeployedCourse]:  # noqa: F811
    """A hub whose group has nobody yet, but for the teacher: as the stack makes it before the first day."""
    course = deployed("people-course", participants=[])
    yield course
    with course.provider() as provider:
        provider.ensure_group(course.names.group, [course.machine.people["teacher"].subject])


def test_who_joins_gets_in_and_who_is_removed_is_out_of_group_server_and_tokens_also_after_the_provider_was_down(
    hub: DeployedCourse, session_factory: Sessions, clock: MovableClock, settings: PortalSettings
) -> None:
    people, issuer = hub.machine.people, hub.machine.target.identity.url
    sealer = Sealer(settings.secret_key.get_secret_value())
    with transaction(session_factory) as session:
        target = make_target(session, target=hub.machine.target.model_dump(mode="json"))
        lead, student = (
            make_user(session, clock, people[role].subject, issuer=issuer) for role in ("teacher", "student")
        )
        course = make_course(
            session, clock, lead, status=Status.ACTIVE, slug=hub.spec.slug, target=target,
            spec={"first_day": clock.today()}, hub_url=hub.url, api_url=f"{hub.url}hub/api/",
            api_token=sealer.seal(hub.secrets["api_token"]),
        )  # fmt: skip
        code = codes.renew(session, clock, Actor(lead), course.id, sealer)

    def reconcile(target: Target) -> int:
        return reconcile_due(session_factory, clock, settings, lambda _name: target)

    away = hub.machine.target.model_copy(
        update={
            "identity": hub.machine.target.identity.model_copy(
                update={"internal_url": f"http://127.0.0.1:{free_port()}"}
            )
        }
    )
    who = people["student"]
    assert hub.person("student").sign_in(who.login, who.password).status_code == 403

    with transaction(session_factory) as session:
        places.join(session, clock, Actor(student), code)
    assert reconcile(away) == 0  # the provider is down
    assert "does not answer" in course_now(session_factory, course).people_failure
    clock.move(minutes=5)
    assert reconcile(hub.machine.target) == 1
    at_work = hub.signed_in("student")
    at_work.start_server()
    at_work.run_cell("open('homework.txt', 'w').write('done')")
    token = at_work.api("POST", f"users/{at_work.name}/tokens", json={"expires_in": 3600}).json()["token"]

    with transaction(session_factory) as session:
        places.settle(session, clock, Actor(lead), course.id, student.id, Deed.REMOVE)
    assert reconcile(away) == 0
    assert at_work.server_ready()  # nothing was half done
    clock.move(minutes=5)
    assert reconcile(hub.machine.target) == 1

    with session_factory() as session:
        assert session.get_one(Participation, (course.id, student.id)).access_ended
    with hub.provider() as provider:
        assert provider.group_members(hub.names.group) == {people["teacher"].subject}
    assert hub.portal.api("GET", f"users/{at_work.name}").status_code == 404
    assert at_work.api("POST", f"users/{at_work.name}/server").status_code == 403
    bearer = {"Authorization": f"token {token}"}
    assert hub.person("student").api("GET", "user", headers=bearer).status_code == 403
    assert hub.person("student").sign_in(who.login, who.password).status_code == 403
    homes = LocalHomes(hub.machine.layout, hub.spec.slug)
    assert homes.in_use() == frozenset()
    assert at_work.name in homes.homes()  # the home stays until it is archived


def course_now(sessions: Sessions, course: Course) -> Course:
    with sessions() as session:
        return session.get_one(Course, course.id)


def test_groups_at_a_real_provider_follow_the_calendar_and_a_deleted_account_stops_nobody(
    hub: DeployedCourse, session_factory: Sessions, clock: SiteClock, settings: PortalSettings
) -> None:
    people, issuer = hub.machine.people, hub.machine.target.identity.url
    with transaction(session_factory) as session:
        target = make_target(session, target=hub.machine.target.model_dump(mode="json"))
        lead, student = (
            make_user(session, clock, people[role].subject, issuer=issuer) for role in ("teacher", "student")
        )
        ghost = make_user(session, clock, "no-such-account", issuer=issuer)
        course = make_course(
            session, clock, lead, status=Status.ACTIVE, slug=hub.spec.slug, target=target,
            participants=(student, ghost), people_revision=1,
        )  # fmt: skip
    assert isinstance(clock, MovableClock)
    for day, expected in ((clock.today(), {"teacher"}), (course.first_day, {"teacher", "student"})):
        clock.set(day)
        assert reconcile_due(session_factory, clock, settings, lambda _name: hub.machine.target) == 1
        with hub.provider() as provider:
            assert provider.group_members(hub.names.group) == {people[role].subject for role in expected}
    assert "no-such-account" in course_now(session_factory, course).people_failure
