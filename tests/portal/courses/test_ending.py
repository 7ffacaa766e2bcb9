"""Extending, ending early, trying again, and who leads: what leads and governance do with a course that runs."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.courses import room
from portal.courses.ending import end_early, retry
from portal.courses.extension import bounds, extend
from portal.courses.leads import add_lead, remove_lead
from portal.courses.problems import Invalid, Refused
from portal.courses.specs import spec_of
from portal.db import transaction
from portal.lifecycle import Role, Status
from portal.models import Course, Operation, Participation, TargetRecord
from portal.operations.ask import ask as ask_operation
from tests.portal.courses.conftest import Site
from tests.portal.makers import make_course, make_target, make_user


def running(site: Site, status: Status = Status.ACTIVE, **more: Any) -> Course:
    with transaction(site.sessions) as session:
        return make_course(
            session, site.clock, site.people["teacher"], status=status, participants=(site.people["student"],), **more
        )


def extended(site: Site, course: Course, days: int, login: str = "teacher") -> Course:
    later = course.last_day + timedelta(days=days)
    found: Course = site.do(extend, site.clock, site.settings, site.actor(login), course.id, later)
    return found


def operations(site: Site) -> list[tuple[str, str]]:
    site.session.rollback()
    rows = site.session.execute(select(Operation.kind, Operation.status).order_by(Operation.created_at, Operation.kind))
    return [(kind, status) for kind, status in rows]


# --- extending


def test_a_lead_extends_a_running_course(site: Site) -> None:  # A26
    course = running(site)
    extended(site, course, 14)
    found = site.course(course)
    assert (found.status, found.last_day, found.approved_revision) == (
        Status.ACTIVE,
        course.last_day + timedelta(days=14),
        2,
    )
    assert spec_of(site.session, found).last_day == found.last_day
    assert found.next_due_at == site.clock.now()
    assert site.mails("course_extended") == ["student@example.org"]
    [entry] = site.audit("course.extend")
    assert (entry.before or {})["last_day"] == str(course.last_day)


def test_leads_extend_so_far_and_no_further_however_often(site: Site) -> None:
    course = running(site)
    extended(site, course, 60)
    extended(site, course, 92)
    with pytest.raises(Invalid) as caught:
        extended(site, course, 93)
    assert [problem.field for problem in caught.value.problems] == ["last_day"]
    extended(site, course, 93, login="gina")
    extended(site, course, 93 + 92)  # from what governance agreed to


@pytest.mark.parametrize("days", [0, -1, -40])
def test_an_extension_is_later(site: Site, days: int) -> None:
    with pytest.raises(Invalid):
        extended(site, running(site), days)


def test_no_course_is_longer_than_a_year(site: Site) -> None:
    with pytest.raises(Invalid) as caught:
        extended(site, running(site), 360, login="gina")
    assert [problem.field for problem in caught.value.problems] == ["last_day"]


def test_governance_does_not_agree_to_its_own_course_without_end(site: Site) -> None:
    with transaction(site.sessions) as session:
        course = make_course(session, site.clock, site.people["gina"], status=Status.ACTIVE)
    with pytest.raises(Invalid):
        extended(site, course, 100, login="gina")
    assert bounds(site.clock, site.settings, course, {Role.GOVERNANCE})[1] is None


@pytest.mark.parametrize("status", [Status.CLOSING, Status.CLOSED])
def test_out_of_closing_the_course_is_active_again_with_everybodys_access(site: Site, status: Status) -> None:
    course = running(site, status, ended_early_at=site.clock.now())
    before = course.people_revision
    with transaction(site.sessions) as session:
        ask_operation(session, site.clock, site.actor("gina"), session.get_one(Course, course.id), "archive")
    site.do(extend, site.clock, site.settings, site.actor("teacher"), course.id, site.today + timedelta(days=30))
    found = site.course(course)
    assert (found.status, found.ended_early_at, found.closed_at) == (Status.ACTIVE, None, None)
    assert found.people_revision > before
    assert found.closing == 1  # the next closing is another one: archives of this one do not count for it
    assert operations(site) == [("archive", "superseded"), ("update", "waiting")]


def test_an_extension_out_of_closed_counts_the_room_again(site: Site) -> None:
    course = running(site, Status.CLOSED)
    with transaction(site.sessions) as session:
        other = make_course(session, site.clock, site.people["colleague"], status=Status.ACTIVE)
        make_target(session, memory_mib=15 * 1024)
    assert other.target_name == course.target_name
    with pytest.raises(Refused) as caught:
        extended(site, course, 7)
    assert caught.value.refusal.code == "no_room"
    assert site.course(course).status is Status.CLOSED


def test_a_running_course_on_an_overcommitted_target_keeps_what_it_has_and_no_longer(site: Site) -> None:
    course = running(site)
    with transaction(site.sessions) as session:
        make_target(session, memory_mib=1024)
    with pytest.raises(Refused):
        extended(site, course, 7)


def test_nothing_is_extended_once_the_removal_was_asked_for(site: Site) -> None:
    course = running(site, Status.CLOSED)
    with transaction(site.sessions) as session:
        ask_operation(session, site.clock, site.actor("gina"), session.get_one(Course, course.id), "destroy")
    with pytest.raises(Refused) as caught:
        extended(site, course, 7)
    assert caught.value.refusal.code == "removal_began"
    with pytest.raises(Refused):
        extended(site, running(site, Status.REMOVING), 7)


@pytest.mark.parametrize("login", ["student", "colleague", "stranger"])
def test_only_leads_and_governance_extend_and_end(site: Site, login: str) -> None:
    course = running(site)
    with pytest.raises(Refused):
        extended(site, course, 7, login=login)
    with pytest.raises(Refused):
        site.do(end_early, site.clock, site.actor(login), course.id, reason="I may not")
    assert site.course(course).status is Status.ACTIVE


# --- ending early


def test_a_course_that_is_ended_early_closes_and_everybody_is_told_why(site: Site) -> None:  # A26
    course = running(site)
    site.do(end_early, site.clock, site.actor("teacher"), course.id, reason="The exam is over")
    found = site.course(course)
    assert (found.status, found.closing, found.ended_early_at) == (Status.CLOSING, 1, site.clock.now())
    assert found.people_revision == course.people_revision + 1
    assert operations(site) == [("close", "waiting")]
    assert site.mails("course_ended_early") == ["student@example.org"]
    with pytest.raises(Refused):
        site.do(end_early, site.clock, site.actor("teacher"), course.id, reason="Again")


def test_ending_early_needs_a_reason(site: Site) -> None:
    course = running(site)
    with pytest.raises(Invalid):
        site.do(end_early, site.clock, site.actor("teacher"), course.id, reason="")
    assert site.course(course).status is Status.ACTIVE


def test_ending_early_takes_the_place_of_a_waiting_retry(site: Site) -> None:
    course = running(site, Status.DEPLOY_FAILED)
    with transaction(site.sessions) as session:
        later = site.clock.now() + timedelta(hours=1)
        ask_operation(
            session, site.clock, site.actor("gina"), session.get_one(Course, course.id), "deploy", not_before=later
        )
    site.do(end_early, site.clock, site.actor("teacher"), course.id, reason="Not needed")
    assert site.course(course).status is Status.REMOVING
    assert operations(site) == [("deploy", "superseded"), ("destroy", "waiting")]


# --- trying again


def test_a_failed_deploy_is_tried_again_while_the_course_is_not_over(site: Site) -> None:  # A2, A8, A18
    course = running(site, Status.DEPLOY_FAILED)
    site.do(retry, site.clock, site.settings, site.actor("teacher"), course.id)
    assert site.course(course).status is Status.DEPLOYING
    assert operations(site) == [("deploy", "waiting")]
    late = running(site, Status.DEPLOY_FAILED)
    site.clock.set(site.clock.end(late.last_day))
    with pytest.raises(Refused) as caught:
        site.do(retry, site.clock, site.settings, site.actor("gina"), late.id)
    assert caught.value.refusal.code == "over"


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.DEPLOY_FAILED, Status.REMOVAL_FAILED}))
def test_nothing_is_deployed_again_from_any_other_status(site: Site, status: Status) -> None:  # A9, A3
    course = running(site, status)
    with pytest.raises(Refused):
        site.do(retry, site.clock, site.settings, site.actor("gina"), course.id)
    assert operations(site) == []


def test_governance_alone_tries_a_removal_again(site: Site) -> None:
    course = running(site, Status.REMOVAL_FAILED)
    with pytest.raises(Refused):
        site.do(retry, site.clock, site.settings, site.actor("teacher"), course.id)
    site.do(retry, site.clock, site.settings, site.actor("gina"), course.id)
    assert operations(site) == [("destroy", "waiting")]


# --- leads


@pytest.mark.parametrize("who", ["colleague", "COLLEAGUE@example.org", " colleague "])
def test_a_colleague_becomes_a_lead_by_login_or_address(site: Site, who: str) -> None:
    course = running(site)
    site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, who)
    found = site.course(course)
    assert spec_of(site.session, found).leads == ("colleague", "teacher")
    assert found.people_revision == course.people_revision + 1
    assert site.mails("lead_added") == ["colleague@example.org"]
    assert operations(site) == [("update", "waiting")]  # their home needs its place in the hub's bounds
    assert len(site.audit("lead.add")) == 1


def test_a_participant_who_becomes_a_lead_gives_the_seat_back(site: Site) -> None:
    course = running(site)
    site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "student")
    spec = spec_of(site.session, site.course(course))
    assert (spec.leads, spec.participants) == (("student", "teacher"), ())
    assert site.session.scalars(select(Participation.status)).all() == ["left"]


@pytest.mark.parametrize("who", ["", "nobody", "teacher", "shared@example.org"])
def test_who_cannot_be_a_lead_is_said_beside_the_field(site: Site, who: str) -> None:
    course = running(site)
    with transaction(site.sessions) as session:
        for login in ("twin1", "twin2"):
            make_user(session, site.clock, login, email="shared@example.org")
    with pytest.raises(Invalid) as caught:
        site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, who)
    assert [problem.field for problem in caught.value.problems] == ["who"]


def test_a_lead_takes_room_too(site: Site) -> None:
    course = running(site)
    with transaction(site.sessions) as session:
        make_target(session, storage_mib=1024)
    with pytest.raises(Refused) as caught:
        site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "colleague")
    assert caught.value.refusal.code == "no_room"


def test_a_lead_is_removed_but_never_the_last(site: Site) -> None:
    course = running(site)
    teacher, colleague = (site.people[login].id for login in ("teacher", "colleague"))
    with pytest.raises(Refused) as caught:
        site.do(remove_lead, site.clock, site.actor("teacher"), course.id, teacher)
    assert caught.value.refusal.code == "last_lead"
    site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "colleague")
    site.do(remove_lead, site.clock, site.actor("colleague"), course.id, teacher)
    assert site.mails("lead_removed") == ["teacher@example.org"]
    with pytest.raises(Refused):  # who leads no more decides no more
        site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "teacher")
    with pytest.raises(LookupError):
        site.do(remove_lead, site.clock, site.actor("colleague"), course.id, uuid.uuid4())
    assert spec_of(site.session, site.course(course)).leads == ("colleague",)
    assert colleague != teacher


def test_every_home_is_counted_once_whoever_leads(site: Site) -> None:
    course = running(site)

    def storage() -> int:
        site.session.rollback()
        target = site.session.get_one(TargetRecord, "local")
        [held] = room.occupancy(site.session, site.clock, site.settings, target).held
        return held.demand.storage_mib

    before, home = storage(), 2 * 1024
    site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "student")
    assert storage() == before + home  # the seat is free again, and the lead's home is the one they had
    site.do(add_lead, site.clock, site.settings, site.actor("teacher"), course.id, "colleague")
    site.do(remove_lead, site.clock, site.actor("teacher"), course.id, site.people["colleague"].id)
    assert storage() == before + 2 * home  # a former lead's home stays until it is archived
    with transaction(site.sessions) as session:
        elsewhere = make_target(session, "elsewhere")
        make_course(session, site.clock, site.people["colleague"], target=elsewhere, status=Status.ACTIVE)
    assert storage() == before + 2 * home  # also if they lead another course
    [place] = site.session.scalars(
        select(Participation).where(Participation.user_id == site.people["colleague"].id)
    ).all()
    assert (place.status, place.access_ended) == ("removed", False)


@pytest.mark.parametrize("login", ["student", "stranger", "colleague"])
def test_only_leads_and_governance_name_leads(site: Site, login: str) -> None:
    course = running(site)
    with pytest.raises(Refused):
        site.do(add_lead, site.clock, site.settings, site.actor(login), course.id, "colleague")


def test_a_course_that_is_gone_has_no_new_leads(site: Site) -> None:
    with pytest.raises(Refused):
        site.do(add_lead, site.clock, site.settings, site.actor("gina"), running(site, Status.ARCHIVED).id, "colleague")
