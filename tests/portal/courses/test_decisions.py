"""Approving and rejecting: one decision, on what was seen, and never more than the target has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from portal.courses import life, room
from portal.courses.decisions import approve, reject
from portal.courses.problems import Invalid, Moved, Refused, Stale
from portal.courses.requests import ask, revise, withdraw
from portal.courses.specs import spec_of
from portal.db import transaction
from portal.lifecycle import Status
from portal.models import Course, TargetRecord
from portal.operations.ask import live
from tests.portal.courses.conftest import Site
from tests.portal.makers import make_course, make_target


def requested(site: Site, slug: str = "python-intro", **changes: Any) -> Course:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted(slug, **changes))
    return course


def approved(site: Site, course: Course, login: str = "gina", **more: Any) -> Course:
    found: Course = site.do(
        approve, site.clock, site.settings, site.actor(login), course.id, **{"version": course.version, **more}
    )
    return found


def small_target(site: Site, **figures: int) -> None:
    with transaction(site.sessions) as session:
        make_target(session, **figures)


def fit_of(site: Site, course: Course) -> Any:
    site.session.rollback()
    target = site.session.get_one(TargetRecord, course.target_name)
    return room.fit(site.session, site.clock, site.settings, target, spec_of(site.session, course), course=course)


def at_once(*deeds: Callable[[], Any]) -> list[Any]:
    """Run them in threads that begin together; each outcome is what it returned or raised."""
    barrier = threading.Barrier(len(deeds), timeout=30)
    outcomes: list[Any] = [None] * len(deeds)

    def run(number: int, deed: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            outcomes[number] = deed()
        except (Stale, Refused, Moved) as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_an_approved_course_waits_for_its_time_and_its_leads_know(site: Site) -> None:
    course = approved(site, requested(site))
    found = site.course(course)
    assert found.status is Status.APPROVED
    assert (found.decided_by_id, found.agreed_last_day) == (site.people["gina"].id, found.last_day)
    assert site.mails("course_approved") == ["teacher@example.org"]
    assert live(site.session, found) is None  # A4: nothing is deployed before its time
    assert found.next_due_at == site.clock.now()  # the scheduler looks at it now, and says when
    [entry] = site.audit("course.approve")  # D9
    assert entry.actor_id == site.people["gina"].id
    assert entry.after and entry.after["status"] == "approved"


def test_a_course_is_approved_once(site: Site) -> None:  # A23
    course = approved(site, requested(site))
    with pytest.raises(Refused):
        approved(site, course, login="gustav", version=site.course(course).version)
    assert site.mails("course_approved") == ["teacher@example.org"]


@pytest.mark.parametrize("login", ["teacher", "colleague", "student"])
def test_only_governance_decides(site: Site, login: str) -> None:  # A9
    course = requested(site)
    with pytest.raises(Refused):
        approved(site, course, login=login)
    with pytest.raises(Refused):
        site.do(reject, site.clock, site.actor(login), course.id, version=course.version, reason="No")
    assert site.course(course).status is Status.REQUESTED


def test_nobody_approves_their_own_course_unless_the_site_allows_it(site: Site) -> None:
    course: Course = site.do(ask, site.clock, site.actor("gina"), site.wanted())
    with pytest.raises(Refused) as caught:
        approved(site, course)
    assert caught.value.refusal.code == "own_course"
    allowed = site.settings.model_copy(update={"allow_own_approval": True})
    site.do(approve, site.clock, allowed, site.actor("gina"), course.id, version=course.version)
    assert site.course(course).status is Status.APPROVED


def test_a_rejection_says_why(site: Site) -> None:
    course = requested(site)
    with pytest.raises(Invalid) as caught:
        site.do(reject, site.clock, site.actor("gina"), course.id, version=course.version, reason="  ")
    assert [problem.field for problem in caught.value.problems] == ["reason"]
    site.do(reject, site.clock, site.actor("gina"), course.id, version=course.version, reason="Too large")
    assert (site.course(course).status, site.course(course).reason) == (Status.REJECTED, "Too large")
    assert site.mails("course_rejected") == ["teacher@example.org"]


def test_a_course_whose_last_day_passed_is_not_approved(site: Site) -> None:
    course = requested(site)
    site.clock.set(site.clock.end(course.last_day))
    with pytest.raises(Refused) as caught:
        approved(site, course)
    assert caught.value.refusal.code == "over"


def test_a_course_for_which_there_is_no_room_is_not_approved(site: Site) -> None:
    course = requested(site)
    small_target(site, memory_mib=8 * 1024)
    with pytest.raises(Refused) as caught:
        approved(site, course)
    assert caught.value.refusal.code == "no_room"
    assert dict(caught.value.refusal.values)["figure"] == "memory"
    assert site.course(course).status is Status.REQUESTED


def test_the_form_counts_what_the_approval_counts(site: Site) -> None:
    with transaction(site.sessions) as session:
        make_course(session, site.clock, site.people["colleague"], status=Status.ACTIVE)
    wanted = site.wanted()
    target = site.session.get_one(TargetRecord, "local")
    from portal.courses.specs import with_people

    estimate = room.fit(site.session, site.clock, site.settings, target, with_people(wanted, ["x"]))
    course = requested(site)
    assert estimate == fit_of(site, course)
    approved(site, course, seen=room.written(estimate))


def test_the_list_of_requests_counts_what_the_approval_counts(site: Site) -> None:
    now, day = site.clock.now(), timedelta(days=1)
    with transaction(site.sessions) as session:
        teacher, student = site.people["teacher"], site.people["student"]
        other = make_target(session, "elsewhere")
        long_over = {"first_day": site.today - 60 * day, "last_day": site.today - 10 * day}
        make_course(session, site.clock, teacher, status=Status.ACTIVE)
        make_course(session, site.clock, teacher, status=Status.ACTIVE, spec={"seats": 7}, ended_early_at=now)
        make_course(session, site.clock, teacher, status=Status.ACTIVE, spec=long_over)
        make_course(session, site.clock, teacher, status=Status.CLOSED, spec=long_over, closed_at=now - 3 * day)
        make_course(session, site.clock, teacher, status=Status.REMOVAL_FAILED, spec=long_over)
        make_course(session, site.clock, teacher, status=Status.APPROVED, target=other)
        left = make_course(session, site.clock, teacher, status=Status.ACTIVE, participants=(student,))
        left.participations[0].status = "left"
    targets = list(site.session.scalars(select(TargetRecord)))
    in_short = room.rooms(site.session, site.clock, site.settings, targets)
    for target in targets:
        one_by_one = room.occupancy(site.session, site.clock, site.settings, target)
        assert len(one_by_one.held) == (1 if target.name == "elsewhere" else 6)
        assert in_short[target.name].used == one_by_one.used
        assert in_short[target.name].capacity == one_by_one.capacity


def test_what_the_requested_course_itself_needs_is_not_held_twice(site: Site) -> None:
    course = requested(site)
    before = fit_of(site, course)
    approved(site, course)
    assert fit_of(site, site.course(course)).figures == before.figures


def test_figures_that_moved_since_the_page_was_made_are_shown_and_nothing_is_done(site: Site) -> None:
    first, second = requested(site), requested(site, "second-course")
    seen = room.written(fit_of(site, first))
    approved(site, second)
    with pytest.raises(Moved) as caught:
        approved(site, first, seen=seen)
    assert site.course(first).status is Status.REQUESTED
    assert not site.mails("course_approved")[1:]
    now = room.written(caught.value.fit)
    assert now != seen
    approved(site, first, seen=now)  # both are seen, and confirmed
    assert site.course(first).status is Status.APPROVED


def test_of_two_approvals_for_the_last_room_one_wins(site: Site) -> None:
    one, other = requested(site), requested(site, "other-course", title="Other")
    needed = {fit.figure: fit.wanted for fit in fit_of(site, one).figures}
    small_target(site, memory_mib=needed["memory_mib"] * 3 // 2)
    outcomes = at_once(lambda: approved(site, one), lambda: approved(site, other, login="gustav"))
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert [error.refusal.code for error in refused] == ["no_room"]
    assert sorted(site.course(each).status for each in (one, other)) == [Status.APPROVED, Status.REQUESTED]


def test_of_approving_and_withdrawing_at_once_one_wins_and_the_other_is_told(site: Site) -> None:  # A19
    course = requested(site)
    outcomes = at_once(
        lambda: approved(site, course),
        lambda: site.do(withdraw, site.clock, site.actor("teacher"), course.id, version=course.version),
    )
    assert sum(isinstance(outcome, Stale | Refused) for outcome in outcomes) == 1
    status = site.course(course).status
    assert status is (Status.WITHDRAWN if isinstance(outcomes[0], Stale | Refused) else Status.APPROVED)
    deeds = len(site.audit("course.approve")) + len(site.audit("course.withdraw"))
    assert deeds == 1


def test_of_approving_and_changing_the_request_at_once_one_wins_and_nobody_waits_for_ever(site: Site) -> None:
    with transaction(site.sessions) as session:
        make_target(session, "other")
    course = requested(site)
    wanted = site.wanted(seats=30, target="other")
    outcomes = at_once(
        lambda: approved(site, course),
        lambda: site.do(revise, site.clock, site.actor("teacher"), course.id, wanted, version=course.version),
    )
    assert sum(isinstance(outcome, Stale | Refused) for outcome in outcomes) == 1
    found = site.course(course)
    assert (found.status, found.seats) in ((Status.APPROVED, 20), (Status.REQUESTED, 30))


def test_a_withdrawn_course_gives_its_room_back(site: Site) -> None:
    one, other = requested(site), requested(site, "other-course")
    needed = {fit.figure: fit.wanted for fit in fit_of(site, one).figures}
    small_target(site, memory_mib=needed["memory_mib"])
    approved(site, one)
    with pytest.raises(Refused):
        approved(site, other)
    site.do(withdraw, site.clock, site.actor("teacher"), one.id, version=site.course(one).version)
    approved(site, other)


def test_an_overdue_course_keeps_its_room(site: Site) -> None:
    with transaction(site.sessions) as session:
        late = make_course(session, site.clock, site.people["colleague"], status=Status.ACTIVE)
    site.clock.set(site.clock.end(late.last_day) + timedelta(days=3))
    later = requested(site, "next-course")
    needed = {fit.figure: fit.wanted for fit in fit_of(site, later).figures}
    small_target(site, memory_mib=needed["memory_mib"])
    with pytest.raises(Refused):
        approved(site, later)
    with transaction(site.sessions) as session:
        course = life.lock(session, late.id)
        life.act(
            session, site.clock, site.actor("gina"), course, life.Action.END_EARLY
        )  # its servers are being stopped
        life.act(
            session,
            site.clock,
            site.actor("gina"),
            course,
            life.Action.FINISH_CLOSING,
            roles={life.Role.SYSTEM},
        )
    approved(site, later)


def test_storage_is_held_until_the_days_of_grace_are_over(site: Site) -> None:
    with transaction(site.sessions) as session:
        make_course(
            session,
            site.clock,
            site.people["colleague"],
            status=Status.CLOSED,
            first_day=site.today - timedelta(days=30),
            last_day=site.today - timedelta(days=1),
        )
    soon = requested(site)
    needed = {fit.figure: fit.wanted for fit in fit_of(site, soon).figures}
    small_target(site, storage_mib=needed["storage_mib"])
    with pytest.raises(Refused) as caught:
        approved(site, soon)
    assert dict(caught.value.refusal.values)["figure"] == "storage"
    after_grace = site.today + timedelta(days=22)
    later = requested(site, "later", first_day=after_grace, last_day=after_grace)
    approved(site, later)


def test_a_refused_deed_leaves_no_trace(site: Site) -> None:
    course = requested(site)
    small_target(site, memory_mib=1024)
    version = site.course(course).version
    with pytest.raises(Refused):
        approved(site, course)
    assert site.course(course).version == version
    assert site.audit("course.approve") == []
    assert site.mails("course_approved") == []
