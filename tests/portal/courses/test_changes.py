"""Change requests: only what shall change, decided once, merged into what is approved by then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from course_stack.spec import CourseDesign
from portal.courses import life, room
from portal.courses.changes import approve_change, reject_change, request_change, withdraw_change
from portal.courses.differences import Difference, differences
from portal.courses.extension import extend
from portal.courses.problems import Invalid, Moved, Refused, Stale
from portal.courses.specs import design_of, revision_of
from portal.db import transaction
from portal.lifecycle import Action, Status
from portal.models import ChangeRequest, Course, Operation
from tests.portal.courses.conftest import Site
from tests.portal.makers import make_course, make_target


def running(site: Site, status: Status = Status.ACTIVE, **more: Any) -> Course:
    with transaction(site.sessions) as session:
        return make_course(session, site.clock, site.people["teacher"], status=status, **more)


def design(site: Site, course: Course, **changes: Any) -> CourseDesign:
    site.session.rollback()
    now = design_of(revision_of(site.session, site.course(course)))
    return CourseDesign.model_validate({**now.model_dump(), **changes})


def change(site: Site, course: Course, login: str = "teacher", base: int = 1, **changes: Any) -> ChangeRequest:
    found: ChangeRequest = site.do(
        request_change, site.clock, site.actor(login), course.id, design(site, course, **changes), base=base
    )
    return found


def approve(site: Site, found: ChangeRequest, login: str = "gina", **more: Any) -> Course:
    course: Course = site.do(approve_change, site.clock, site.settings, site.actor(login), found.id, **more)
    return course


def status(site: Site, found: ChangeRequest) -> str:
    site.session.rollback()
    return site.session.scalars(select(ChangeRequest.status).where(ChangeRequest.id == found.id)).one()


def operations(site: Site) -> list[tuple[str, int, str]]:
    site.session.rollback()
    rows = site.session.execute(select(Operation.kind, Operation.revision, Operation.status))
    return [(kind, revision, state) for kind, revision, state in rows]


def test_a_change_holds_only_what_is_different(site: Site) -> None:
    found = change(site, running(site), seats=25, title="Python for all")
    assert found.changes == {"seats": 25, "title": "Python for all"}
    assert site.mails("change_requested") == ["gina@example.org", "gustav@example.org"]


def test_an_approved_change_is_a_new_revision_and_an_update_of_the_hub(site: Site) -> None:
    course = running(site)
    approve(site, change(site, course, seats=25, default_url="/lab/tree/a.ipynb"))
    found = site.course(course)
    assert (found.status, found.approved_revision, found.applied_revision, found.seats) == (Status.ACTIVE, 2, 1, 25)
    assert operations(site) == [("update", 2, "waiting")]
    assert site.mails("change_approved") == ["teacher@example.org"]
    [entry] = site.audit("course.decide_change")  # D9
    assert entry.after and entry.after["decision"] == "approved"
    assert (entry.before or {})["revision"] == 1


def test_a_change_before_the_deploy_asks_for_nothing(site: Site) -> None:
    course = running(site, Status.APPROVED)
    approve(site, change(site, course, seats=25))
    assert operations(site) == []
    assert site.course(course).status is Status.APPROVED  # A10: a change decides about no course


def test_what_a_change_does_not_name_stays(site: Site) -> None:  # A22
    course = running(site, spec={"default_url": "/rstudio"})
    approve(site, change(site, course, title="Another"))
    assert design(site, course).default_url == "/rstudio"


def test_a_change_is_merged_into_a_newer_revision(site: Site) -> None:
    course = running(site)
    found = change(site, course, seats=25)
    later = course.last_day + timedelta(days=7)
    site.do(extend, site.clock, site.settings, site.actor("teacher"), course.id, later)
    approve(site, found)
    now = site.course(course)
    assert (now.approved_revision, now.seats, now.last_day) == (3, 25, later)


def test_a_page_made_from_an_older_revision_decides_nothing(site: Site) -> None:
    course = running(site)
    found = change(site, course, seats=25)
    site.do(extend, site.clock, site.settings, site.actor("teacher"), course.id, course.last_day + timedelta(days=7))
    with pytest.raises(Stale):
        approve(site, found, base=1)
    assert status(site, found) == "open"


def test_one_change_of_a_course_is_open_at_a_time(site: Site) -> None:
    course = running(site)
    found = change(site, course, seats=25)
    with pytest.raises(Refused):
        change(site, course, seats=26)
    site.do(withdraw_change, site.clock, site.actor("teacher"), found.id)
    assert site.mails("change_withdrawn") == ["gina@example.org", "gustav@example.org"]
    change(site, course, seats=26)


@pytest.mark.parametrize("first", ["approved", "rejected", "withdrawn"])
def test_a_change_is_decided_once(site: Site, first: str) -> None:  # A20
    course = running(site)
    found = change(site, course, seats=25)
    if first == "approved":
        approve(site, found)
    elif first == "rejected":
        site.do(reject_change, site.clock, site.settings, site.actor("gina"), found.id, reason="No")
    else:
        site.do(withdraw_change, site.clock, site.actor("teacher"), found.id)
    for deed in (
        lambda: approve(site, found),
        lambda: site.do(reject_change, site.clock, site.settings, site.actor("gina"), found.id, reason="No"),
        lambda: site.do(withdraw_change, site.clock, site.actor("teacher"), found.id),
    ):
        with pytest.raises(Refused) as caught:
            deed()
        assert caught.value.refusal.code == "decided"
    assert status(site, found) == first


def test_all_changes_stay_in_the_history(site: Site) -> None:  # A21
    course = running(site)
    site.do(withdraw_change, site.clock, site.actor("teacher"), change(site, course, seats=25).id)
    approve(site, change(site, course, seats=30))
    site.do(
        reject_change,
        site.clock,
        site.settings,
        site.actor("gina"),
        change(site, course, base=2, seats=40).id,
        reason="Enough",
    )
    assert [each.status for each in site.course(course).changes] == ["withdrawn", "approved", "rejected"]


def test_a_change_is_void_when_the_course_closes(site: Site) -> None:
    course = running(site)
    found = change(site, course, seats=25)
    with transaction(site.sessions) as session:
        life.act(session, site.clock, site.actor("teacher"), life.lock(session, course.id), Action.END_EARLY)
    assert status(site, found) == "void"
    with pytest.raises(Refused):
        approve(site, found)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "other-name"}, "slug"),
        ({"home_size": 1}, "home_size"),
        ({"seats": 1}, "seats"),
        ({"shared_volumes": []}, "shared_volumes"),
        (
            {"shared_volumes": [{"name": "data", "kind": "share", "mount_path": "/mnt/data", "size": 1}]},
            "shared_volumes",
        ),
    ],
)
def test_what_no_change_may_do(site: Site, changes: dict[str, Any], field: str) -> None:  # C9
    course = running(
        site,
        participants=(site.people["student"], site.people["stranger"]),
        spec={
            "home_size": 2,
            "shared_volumes": [{"name": "data", "kind": "share", "mount_path": "/mnt/data", "size": 5}],
        },
    )
    with pytest.raises(Invalid) as caught:
        change(site, course, **changes)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert site.course(course).changes == []


@pytest.mark.parametrize(
    ("state", "days", "field"),
    [
        (Status.ACTIVE, {"first_day": 9}, "first_day"),  # later, though it is deployed
        (Status.APPROVED, {"first_day": -1}, "first_day"),
        (Status.ACTIVE, {"first_day": -3, "last_day": -1}, "last_day"),
        (Status.ACTIVE, {"last_day": 500}, "last_day"),
    ],
)
def test_days_of_a_change(site: Site, state: Status, days: dict[str, int], field: str) -> None:
    course = running(site, state)
    dates = {name: site.today + timedelta(days=number) for name, number in days.items()}
    with pytest.raises((Invalid, ValueError)) as caught:
        change(site, course, **dates)
    assert field in str(caught.value)


def test_a_change_is_checked_again_when_it_is_decided(site: Site) -> None:  # C9
    course = running(site)
    found = change(site, course, seats=1)
    with transaction(site.sessions) as session:
        from portal.models import Participation

        for login in ("student", "stranger"):
            session.add(
                Participation(
                    course_id=course.id, user_id=site.people[login].id, status="accepted", since=site.clock.now()
                )
            )
    with pytest.raises(Invalid) as caught:
        approve(site, found)
    assert [problem.field for problem in caught.value.problems] == ["seats"]
    assert site.course(course).approved_revision == 1


def test_a_change_that_has_no_room_is_refused_and_one_that_needs_less_never(site: Site) -> None:
    course = running(site, spec={"home_size": 2})
    with transaction(site.sessions) as session:
        make_target(session, memory_mib=4096, cpu_millicores=100)  # overcommitted by what runs already
    with pytest.raises(Refused) as caught:
        approve(site, change(site, course, seats=21))
    assert caught.value.refusal.code == "no_room"
    [found] = site.course(course).changes
    site.do(withdraw_change, site.clock, site.actor("teacher"), found.id)
    approve(site, change(site, course, seats=19))
    assert site.course(course).seats == 19


def test_moved_figures_are_shown_before_a_change_is_decided(site: Site) -> None:
    found = change(site, running(site), seats=25)
    with pytest.raises(Moved):
        approve(site, found, seen="[]")
    assert status(site, found) == "open"


def test_nothing_different_is_no_change(site: Site) -> None:
    course = running(site)
    with pytest.raises(Invalid):
        change(site, course)
    with pytest.raises(Stale):
        change(site, course, base=7, seats=25)


@pytest.mark.parametrize("login", ["colleague", "student", "stranger"])
def test_only_leads_and_governance_ask_for_changes(site: Site, login: str) -> None:
    with pytest.raises(Refused):
        change(site, running(site), login=login, seats=25)


def test_nobody_decides_on_a_change_of_their_own_course(site: Site) -> None:
    with transaction(site.sessions) as session:
        course = make_course(session, site.clock, site.people["gina"], status=Status.ACTIVE)
    found = change(site, course, login="gina", seats=25)
    with pytest.raises(Refused):
        approve(site, found)
    approve(site, found, login="gustav")


def test_a_change_of_the_last_day_is_agreed_to(site: Site) -> None:
    course = running(site)
    later = course.last_day + timedelta(days=100)
    approve(site, change(site, course, last_day=later))
    assert site.course(course).agreed_last_day == later


def test_the_difference_is_told_field_by_field(site: Site) -> None:
    course = running(site, spec={"profiles": [{"name": "Small"}], "environment": {"A": "1"}})
    before = design(site, course)
    after = design(
        site,
        course,
        seats=25,
        resources={**before.resources.model_dump(), "memory_limit": 2},
        profiles=[{"name": "Small", "description": "For reading"}, {"name": "Large"}],
        environment={"A": "2", "B": "3"},
        start_commands=["echo one", "echo two"],
    )
    found = {each.field: each for each in differences(before, after)}
    assert found["seats"] == Difference("seats", ("number of participants",), 20, 25)
    assert found["resources.memory_limit"].labels == ("memory per person, limit",)
    assert found["resources.memory_limit"].unit == "GiB"
    assert found["profiles[Small].description"].labels == ("profiles", "Small", "description")
    assert (found["profiles[Large].name"].before, found["profiles[Large].name"].after) == (None, "Large")
    assert (found["environment[A]"].before, found["environment[A]"].after) == ("1", "2")
    assert found["environment[B]"].before is None
    assert found["start_commands"].after == "echo one\necho two"
    assert differences(before, before) == []


def test_written_figures_name_every_figure(site: Site) -> None:
    found = change(site, running(site), seats=25)
    with pytest.raises(Moved) as caught:
        approve(site, found, seen="")
    assert "memory_mib" in room.written(caught.value.fit)
