"""Asking for a course: every bound by field, nothing half-saved, one slug for one course at a time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select

from course_stack.spec import CourseDesign, problems_of
from portal.courses.decisions import approve
from portal.courses.problems import Invalid, Refused, Stale
from portal.courses.requests import CourseRequest, ask, copy_of, revise, slug_of, withdraw
from portal.courses.specs import spec_of
from portal.db import transaction
from portal.lifecycle import Status
from portal.models import Course, Lead, Mail, Revision
from tests.portal.clock import MovableClock
from tests.portal.courses.conftest import Site
from tests.portal.makers import make_course, make_spec, make_target


def test_a_request_waits_for_governance_who_is_told(site: Site) -> None:
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    found = site.course(course)
    assert found.status is Status.REQUESTED
    assert (found.slug, found.seats, found.approved_revision) == ("python-intro", 20, 1)
    assert [lead.user_id for lead in found.leads] == [site.people["teacher"].id]
    assert site.mails("course_requested") == ["gina@example.org", "gustav@example.org"]
    [entry] = site.audit("course.request")  # D9: who asked for what, when, from where
    assert (entry.actor_id, entry.course_id, entry.address) == (site.people["teacher"].id, course.id, "192.0.2.1")
    assert entry.after and entry.after["slug"] == "python-intro"


def test_a_revision_holds_no_people_and_the_spec_has_them(site: Site) -> None:
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    revision = site.session.scalars(select(Revision)).one()
    assert set(revision.spec) == set(CourseDesign.model_fields)
    spec = spec_of(site.session, course)
    assert spec.leads == ("teacher",)
    assert spec.participants == ()


def test_only_people_who_may_ask_ask(site: Site) -> None:
    with pytest.raises(Refused):
        site.do(ask, site.clock, site.actor("student"), site.wanted())
    assert not site.session.scalar(select(func.count()).select_from(Course))


def test_governance_asks_like_every_teacher(site: Site) -> None:  # D6
    assert site.do(ask, site.clock, site.actor("gina"), site.wanted()).status is Status.REQUESTED
    assert site.mails("course_requested") == ["gustav@example.org"]


# C1, C2, C4, C5, C6, C7, C8, C10: each bound is a problem of its field (all of them in tests/course_stack/test_spec.py)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "../Foo Bar"),
        ("slug", "a" * 41),
        ("slug", "portal"),
        ("title", ""),
        ("seats", 0),
        ("seats", -5),
        ("seats", 1001),
        ("seats", "many"),
        ("home_size", 9000),
        ("image", "jupyter/scipy-notebook"),
        ("image", "registry.example.org:5000/x"),
        ("first_day", "31.02.2027"),
        ("default_url", "https://elsewhere.example.org"),
        ("git_repositories", [{"url": "http://example.org/x"}]),
        ("resources.memory_limit", 0.1),
        ("environment", {"PATH": "/tmp"}),
        ("leads", ["somebody"]),  # nobody names the people of a course by hand
        ("status", "approved"),
        ("target", "Nowhere!"),
        ("join_policy", "everybody"),
    ],
)
def test_every_field_has_its_bounds(clock: MovableClock, field: str, value: Any) -> None:
    fields = {**make_spec(clock), "target": "local", "join_policy": "admits"}
    name, _, inner = field.partition(".")
    fields[name] = {**fields[name], inner: value} if inner else value
    with pytest.raises(ValidationError) as caught:
        CourseRequest.model_validate(fields)
    assert all(problem.field.startswith(name) for problem in problems_of(caught.value, CourseRequest))


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"first_day": -1, "last_day": 10}, ["first_day"]),  # C8: begins in the past
        ({"first_day": -9, "last_day": -2}, ["last_day"]),
        ({"first_day": 800, "last_day": 810}, ["first_day"]),
    ],
)
def test_a_new_course_lies_ahead_and_not_too_far(site: Site, changes: dict[str, int], fields: list[str]) -> None:
    dates = {name: site.today + timedelta(days=days) for name, days in changes.items()}
    with pytest.raises(Invalid) as caught:
        site.do(ask, site.clock, site.actor("teacher"), site.wanted(**dates))
    assert [problem.field for problem in caught.value.problems] == fields
    assert not site.session.scalar(select(func.count()).select_from(Course))
    assert not site.session.scalar(select(func.count()).select_from(Mail))


def test_what_no_day_of_the_target_could_hold_is_said_at_once(site: Site) -> None:
    gpu = {"name": "GPU", "gpu": {"count": 1}}
    with pytest.raises(Invalid) as caught:
        site.do(ask, site.clock, site.actor("teacher"), site.wanted(seats=900, profiles=[gpu]))
    assert [problem.field for problem in caught.value.problems] == ["seats", "seats", "profiles", "seats"]
    assert "make it smaller" in str(caught.value)


@pytest.mark.parametrize("target", ["elsewhere", "shut"])
def test_a_target_must_be_there_and_open(site: Site, target: str) -> None:
    with transaction(site.sessions) as session:
        make_target(session, "shut", is_open=False)
    with pytest.raises(Invalid) as caught:
        site.do(ask, site.clock, site.actor("teacher"), site.wanted(target=target))
    assert [problem.field for problem in caught.value.problems] == ["target"]


def test_a_slug_in_use_is_a_problem_of_its_field_and_nothing_is_saved(site: Site) -> None:  # C20
    site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    with pytest.raises(Invalid) as caught:
        site.do(ask, site.clock, site.actor("colleague"), site.wanted())
    assert [problem.field for problem in caught.value.problems] == ["slug"]
    for table in (Course, Revision, Lead):
        assert site.session.scalar(select(func.count()).select_from(table)) == 1
    assert len(site.audit("course.request")) == 1


def test_of_two_who_ask_for_one_slug_at_once_one_gets_it(site: Site) -> None:  # C20
    both = threading.Barrier(2, timeout=30)
    outcomes: list[str] = []

    def run(login: str) -> None:
        try:
            with transaction(site.sessions) as session:
                both.wait()
                ask(session, site.clock, site.actor(login), site.wanted())
            outcomes.append("asked")
        except Invalid as error:
            outcomes.append(error.problems[0].field)

    threads = [threading.Thread(target=run, args=(login,)) for login in ("teacher", "colleague")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["asked", "slug"]


@pytest.mark.parametrize("end", [Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED, Status.ARCHIVED, Status.PURGED])
def test_a_slug_is_free_again_next_term(site: Site, end: Status) -> None:  # C3, A28
    with transaction(site.sessions) as session:
        old = make_course(session, site.clock, site.people["teacher"], status=end, slug="python-intro")
    new = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    assert new.id != old.id
    assert site.course(new).slug == site.course(old).slug


@pytest.mark.parametrize("end", [Status.CLOSED, Status.REMOVING, Status.REMOVAL_FAILED])
def test_a_slug_is_taken_until_the_hub_is_verified_to_be_gone(site: Site, end: Status) -> None:
    with transaction(site.sessions) as session:
        make_course(session, site.clock, site.people["teacher"], status=end, slug="python-intro")
    with pytest.raises(Invalid):
        site.do(ask, site.clock, site.actor("teacher"), site.wanted())


def test_a_request_can_be_changed_until_it_is_decided(site: Site) -> None:
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    changed = site.do(
        revise,
        site.clock,
        site.actor("teacher"),
        course.id,
        site.wanted("python-two", seats=30),
        version=course.version,
    )
    found = site.course(changed)
    assert (found.slug, found.seats, found.approved_revision) == ("python-two", 30, 2)
    [entry] = site.audit("course.revise")
    assert entry.before and entry.after
    assert (entry.before["seats"], entry.after["seats"]) == (20, 30)
    with pytest.raises(Stale):  # what was decided on must be what was seen
        site.do(approve, site.clock, site.settings, site.actor("gina"), course.id, version=course.version)
    site.do(approve, site.clock, site.settings, site.actor("gina"), course.id, version=found.version)
    with pytest.raises(Refused):
        site.do(
            revise, site.clock, site.actor("teacher"), course.id, site.wanted(), version=site.course(course).version
        )


def test_a_refused_revision_changes_nothing(site: Site) -> None:
    site.do(ask, site.clock, site.actor("colleague"), site.wanted("taken"))
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    with pytest.raises(Invalid):
        site.do(revise, site.clock, site.actor("teacher"), course.id, site.wanted("taken"), version=course.version)
    found = site.course(course)
    assert (found.slug, found.approved_revision, found.version) == ("python-intro", 1, course.version)


def test_strangers_and_governance_do_not_write_a_teachers_request(site: Site) -> None:
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    for login in ("colleague", "gina", "student"):
        with pytest.raises(Refused):
            site.do(revise, site.clock, site.actor(login), course.id, site.wanted(), version=course.version)


def test_a_withdrawn_course_tells_those_it_concerns(site: Site) -> None:
    with transaction(site.sessions) as session:
        course = make_course(
            session,
            site.clock,
            site.people["teacher"],
            status=Status.APPROVED,
            participants=(site.people["student"],),
        )
    site.do(withdraw, site.clock, site.actor("teacher"), course.id, version=course.version, reason="No room booked")
    assert site.course(course).status is Status.WITHDRAWN
    assert site.mails("course_withdrawn") == ["gina@example.org", "gustav@example.org", "student@example.org"]
    [entry] = site.audit("course.withdraw")
    assert entry.after == {"status": "withdrawn", "reason": "No room booked"}


def test_a_course_that_is_deployed_is_not_withdrawn(site: Site) -> None:
    with transaction(site.sessions) as session:
        course = make_course(session, site.clock, site.people["teacher"], status=Status.ACTIVE)
    with pytest.raises(Refused):
        site.do(withdraw, site.clock, site.actor("teacher"), course.id, version=course.version)


def test_the_same_course_again_needs_a_name_and_dates_only(site: Site) -> None:
    with transaction(site.sessions) as session:
        old = make_course(
            session, site.clock, site.people["teacher"], status=Status.ARCHIVED, spec={"seats": 33, "home_size": 4}
        )
    again = copy_of(site.session, site.actor("teacher"), old)
    assert (again["seats"], again["home_size"], again["target"]) == (33, 4, "local")
    assert not {"slug", "first_day", "last_day"} & set(again)
    days = {"first_day": site.today + timedelta(days=9), "last_day": site.today + timedelta(days=19)}
    wanted = CourseRequest.model_validate({**again, "slug": "python-again", **days})
    assert site.course(site.do(ask, site.clock, site.actor("teacher"), wanted)).seats == 33
    with pytest.raises(Refused):
        copy_of(site.session, site.actor("colleague"), old)


def test_people_of_another_provider_are_not_in_the_spec(site: Site) -> None:
    with transaction(site.sessions) as session:
        course = make_course(
            session, site.clock, site.people["teacher"], status=Status.ACTIVE, participants=(site.people["student"],)
        )
        session.merge(site.people["student"]).issuer = "https://old.example.org"
    assert spec_of(site.session, site.course(course)).participants == ()


def test_a_reason_has_its_bounds(site: Site) -> None:
    course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    for reason in ("x" * 2001, "bell \x07"):
        with pytest.raises(Invalid) as caught:
            site.do(withdraw, site.clock, site.actor("teacher"), course.id, version=course.version, reason=reason)
        assert [problem.field for problem in caught.value.problems] == ["reason"]
    assert site.course(course).status is Status.REQUESTED


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Python for beginners", "python-for-beginners"),
        ("3. Übung: C++ & Café", "uebung-cpp-cafe"),
        ("Introduction to the methods of numerical mathematics", "introduction-to-the-methods-of-numerical"),
        ("数学", ""),
        ("", ""),
    ],
)
def test_a_short_name_is_made_of_a_title(title: str, slug: str) -> None:
    assert slug_of(title) == slug
