"""Joining, consent, the cap, and the end of access: what the database says of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, select, text

from portal.actor import Actor
from portal.courses.problems import Refused
from portal.db import Sessions, connect, sessions, transaction
from portal.lifecycle import Status
from portal.models import AuditEntry, Course, Lead, Participation
from portal.participants import codes, places
from portal.participants.rules import Deed, Standing
from tests.portal.people.conftest import SEALER, Classroom
from tests.support.waiting import wait_for


def refusal(call: object, *arguments: object) -> str:
    """Code of the refusal."""
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.refusal.code


def text_of(call: object, *arguments: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_whoever_has_the_code_is_in_and_told_so(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    assert classroom.join(anna).standing is Standing.ACCEPTED
    assert classroom.mails(anna) == ["participant_accepted"]
    assert classroom.now().people_revision == 1


def test_where_the_code_asks_a_lead_consents_and_until_then_nobody_has_access(classroom: Classroom) -> None:
    classroom.asks()
    anna = classroom.person("anna")
    assert classroom.join(anna).standing is Standing.WAITING
    assert classroom.now().people_revision == 0
    assert classroom.mails(classroom.lead) == ["participant_waiting"]
    assert classroom.mails(anna) == []
    assert classroom.settle(anna, Deed.ACCEPT).standing is Standing.ACCEPTED
    assert classroom.now().people_revision == 1
    assert classroom.mails(anna) == ["participant_accepted"]


def test_joining_twice_is_joining_once(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    since = classroom.row(anna).since
    classroom.clock.move(hours=1)
    assert classroom.join(anna).standing is Standing.ACCEPTED
    assert classroom.row(anna).since == since
    assert classroom.now().people_revision == 1
    assert classroom.mails(anna) == ["participant_accepted"]


def test_d1_an_accepted_person_who_joins_again_and_is_put_out_has_no_access_left(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.asks()
    # joining again makes nobody wait who is in: there is no state in which rejecting would leave access behind
    assert classroom.join(anna).standing is Standing.ACCEPTED
    assert refusal(classroom.settle, anna, Deed.REJECT) == "changed"
    assert classroom.settle(anna, Deed.REMOVE).standing is Standing.REMOVED
    assert classroom.row(anna).access_ended is False  # the reconciler's task now
    assert classroom.now().people_revision == 2


@pytest.mark.parametrize("deed", [Deed.REJECT, Deed.REMOVE])
def test_d2_who_was_rejected_or_removed_cannot_come_back_until_a_lead_lifts_it(
    classroom: Classroom, deed: Deed
) -> None:
    anna = classroom.person("anna")
    if deed is Deed.REJECT:
        classroom.asks()
    classroom.join(anna)
    classroom.settle(anna, deed)
    with pytest.raises(Refused) as here:
        classroom.join(anna)
    with pytest.raises(Refused) as nowhere:
        classroom.join(anna, "A" * 32)
    assert str(here.value) == str(nowhere.value)
    with transaction(classroom.sessions) as session:  # a new code is as dead for them as the old one
        classroom.code = codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, SEALER)
    assert refusal(classroom.join, anna) == "dead_code"
    assert classroom.settle(anna, Deed.LIFT).code_is_dead is False
    assert classroom.join(anna).standing in (Standing.WAITING, Standing.ACCEPTED)


def test_d3_whoever_is_put_out_or_leaves_is_marked_until_group_tokens_and_server_are_gone(classroom: Classroom) -> None:
    anna, ben = classroom.person("anna"), classroom.person("ben")
    for person in (anna, ben):
        classroom.join(person)
    before = classroom.now().people_revision
    classroom.settle(anna, Deed.REMOVE)
    classroom.leave(ben)
    assert not classroom.row(anna).access_ended
    assert not classroom.row(ben).access_ended
    assert classroom.now().people_revision == before + 2
    assert classroom.mails(anna)[-1] == "participant_removed"
    assert classroom.mails(ben)[-1] == "participant_left"


def test_a_request_that_was_taken_back_or_rejected_never_had_access_to_end(classroom: Classroom) -> None:
    classroom.asks()
    anna, ben = classroom.person("anna"), classroom.person("ben")
    for person in (anna, ben):
        classroom.join(person)
    classroom.leave(anna)
    classroom.settle(ben, Deed.REJECT)
    assert classroom.row(anna).access_ended
    assert classroom.row(ben).access_ended
    assert classroom.now().people_revision == 0


def test_who_left_may_join_again(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.leave(anna)
    assert classroom.join(anna).standing is Standing.ACCEPTED


def test_who_left_is_not_put_back_by_a_lead(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.leave(anna)
    assert refusal(classroom.settle, anna, Deed.ACCEPT) == "changed"


def test_a_rejection_by_mistake_is_undone_by_accepting(classroom: Classroom) -> None:
    classroom.asks()
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.settle(anna, Deed.REJECT)
    assert classroom.settle(anna, Deed.ACCEPT).standing is Standing.ACCEPTED
    assert classroom.row(anna).code_is_dead is False


def test_d9_every_deed_is_in_the_audit_log_with_before_and_after_and_who_did_it(classroom: Classroom) -> None:
    classroom.asks()
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.settle(anna, Deed.ACCEPT)
    classroom.settle(anna, Deed.REMOVE)
    classroom.settle(anna, Deed.LIFT)
    with classroom.sessions() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.subject_id == str(anna.id)).order_by(AuditEntry.id)
        ).all()
        everything = session.scalars(select(AuditEntry)).all()
    assert [
        (one.action, one.actor_id, one.before and one.before["status"], one.after and one.after["status"])
        for one in entries
    ] == [
        ("participation.join", anna.id, None, "waiting"),
        ("participation.accept", classroom.lead.id, "waiting", "accepted"),
        ("participation.remove", classroom.lead.id, "accepted", "removed"),
        ("participation.lift", classroom.lead.id, "removed", "removed"),
    ]
    assert classroom.code not in repr([(one.before, one.after, one.subject_id) for one in everything])


def test_d10_a_full_course_refuses_with_the_number_of_its_seats(classroom: Classroom) -> None:
    for login in ("anna", "ben"):
        classroom.join(classroom.person(login))
    carl = classroom.person("carl")
    assert "2 seats" in text_of(classroom.join, carl)
    classroom.asks()
    assert classroom.join(carl).standing is Standing.WAITING  # who waits holds no seat, and may
    assert "2 seats" in text_of(classroom.settle, carl, Deed.ACCEPT)
    assert classroom.row(carl).status == "waiting"


def test_a_seat_that_somebody_leaves_is_free_again(classroom: Classroom) -> None:
    anna, ben, carl = (classroom.person(login) for login in ("anna", "ben", "carl"))
    classroom.join(anna)
    classroom.join(ben)
    classroom.leave(anna)
    assert classroom.join(carl).standing is Standing.ACCEPTED
    assert refusal(classroom.join, anna) == "full"


def test_d10_two_who_join_at_the_same_moment_share_the_last_seat_never(classroom: Classroom, database_url: str) -> None:
    classroom.join(classroom.person("anna"))
    rivals = [classroom.person("ben"), classroom.person("carl")]
    engine = connect(database_url)
    together = threading.Barrier(2)
    waited = threading.Event()

    def compete(person: object) -> str:
        with transaction(sessions(engine)) as session:
            first = True

            def meet(*_: object) -> None:
                nonlocal first
                if first:  # both have a connection and stand before the lock
                    first = False
                    together.wait(30)
                    waited.set()

            event.listen(session, "do_orm_execute", meet)
            try:
                place = places.join(session, classroom.clock, Actor(person), classroom.code)[1]  # type: ignore[arg-type]
            except Refused as refused:
                return refused.refusal.code
            return str(place.standing)

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(pool.map(compete, rivals))
    engine.dispose()
    assert waited.is_set()
    assert outcomes == ["accepted", "full"]
    with classroom.sessions() as session:
        assert places.taken(session, session.get_one(Course, classroom.course.id)) == 2


def test_leads_take_no_seat_and_cannot_join(classroom: Classroom) -> None:
    assert refusal(classroom.join, classroom.lead) == "lead"
    anna = classroom.person("anna")
    classroom.join(anna)
    with transaction(classroom.sessions) as session:
        session.add(Lead(course_id=classroom.course.id, user_id=anna.id, since=classroom.clock.now()))
    for login in ("ben", "carl"):
        assert classroom.join(classroom.person(login)).standing is Standing.ACCEPTED


def test_somebody_who_leads_now_is_not_accepted_as_participant(classroom: Classroom) -> None:
    classroom.asks()
    anna = classroom.person("anna")
    classroom.join(anna)
    with transaction(classroom.sessions) as session:
        session.add(Lead(course_id=classroom.course.id, user_id=anna.id, since=classroom.clock.now()))
    assert refusal(classroom.settle, anna, Deed.ACCEPT) == "lead"


@pytest.mark.parametrize("by", ["stranger", "participant"])
def test_only_leads_and_governance_decide_on_people(classroom: Classroom, by: str) -> None:
    anna, other = classroom.person("anna"), classroom.person(by)
    classroom.join(anna)
    if by == "participant":
        classroom.join(other)
    assert refusal(classroom.settle, anna, Deed.REMOVE, other) == "not_yours"
    assert classroom.row(anna).status == "accepted"
    governance = classroom.person("gov", governance=True)
    assert classroom.settle(anna, Deed.REMOVE, governance).standing is Standing.REMOVED


def test_leads_decide_only_on_people_who_asked(classroom: Classroom) -> None:
    stranger = classroom.person("stranger")
    assert refusal(classroom.settle, stranger, Deed.ACCEPT) == "no_place"


@pytest.mark.parametrize(
    "status", [one for one in Status if one not in {"approved", "deploying", "deploy_failed", "active"}]
)
def test_d5_a_course_that_cannot_be_joined_answers_like_an_unknown_code(classroom: Classroom, status: Status) -> None:
    classroom.set(status=status)
    anna = classroom.person("anna")
    unknown = text_of(classroom.look, anna, "no-such-code")
    assert text_of(classroom.look, anna) == unknown
    assert text_of(classroom.join, anna) == unknown


def test_d5_after_the_last_day_the_code_is_dead_even_before_anything_was_closed(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.clock.set(classroom.clock.end(classroom.course.last_day))
    assert refusal(classroom.join, anna) == "dead_code"


def test_d11_a_renewed_code_ends_the_one_before_at_once_and_none_is_stored_in_clear(classroom: Classroom) -> None:
    anna, old = classroom.person("anna"), classroom.code
    with transaction(classroom.sessions) as session:
        new = codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, SEALER)
    assert new != old
    assert refusal(classroom.join, anna, old) == "dead_code"
    course = classroom.now()
    assert codes.shown(course, SEALER) == new
    assert course.join_code is not None
    assert new.encode() not in course.join_code
    with transaction(classroom.sessions) as session:
        codes.switch_off(session, classroom.clock, Actor(classroom.lead), classroom.course.id)
    assert refusal(classroom.join, anna, new) == "dead_code"


def test_d11_who_waits_with_the_old_code_while_it_is_replaced_is_refused(
    classroom: Classroom, database_url: str
) -> None:
    anna, engine = classroom.person("anna"), connect(database_url)

    def waits_for_a_lock() -> bool:
        with engine.connect() as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            return bool(connection.scalar(text(query)))

    with ThreadPoolExecutor(1) as pool, transaction(classroom.sessions) as session:
        codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, SEALER)
        joining = pool.submit(refusal, classroom.join, anna)
        wait_for(waits_for_a_lock, "the person waits for the course", seconds=60)
        session.commit()
        assert joining.result(60) == "dead_code"
    engine.dispose()


def test_d11_leaving_needs_no_code_by_mail_and_happens_once(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.leave(anna)
    assert refusal(classroom.leave, anna) == "changed"


def test_a_code_has_192_bits_and_fits_an_address(classroom: Classroom) -> None:
    assert len(classroom.code) == 32
    assert classroom.code.replace("-", "").replace("_", "").isalnum()


def test_participants_do_not_outdate_the_pages_of_leads(classroom: Classroom) -> None:
    version = classroom.now().version
    classroom.join(classroom.person("anna"))
    classroom.asks()
    assert classroom.now().version == version


def test_many_are_decided_on_one_by_one_and_each_has_a_line(classroom: Classroom) -> None:
    classroom.asks()
    people = [classroom.person(login) for login in ("anna", "ben", "carl")]
    for person in people:
        classroom.join(person)
    stranger = classroom.person("stranger")
    with transaction(classroom.sessions) as session:
        outcomes = places.settle_many(
            session,
            classroom.clock,
            Actor(classroom.lead),
            classroom.course.id,
            [person.id for person in (*people, stranger)],
            Deed.ACCEPT,
        )
    assert [(one.name.split()[0], one.refusal and one.refusal.code) for one in outcomes] == [
        ("Anna", None),
        ("Ben", None),
        ("Carl", "full"),
        ("Stranger", "no_place"),
    ]
    assert [classroom.row(person).status for person in people] == ["accepted", "accepted", "waiting"]


def test_of_two_leads_who_decide_at_once_the_second_is_told_what_came_first(classroom: Classroom) -> None:
    classroom.asks()
    anna = classroom.person("anna")
    classroom.join(anna)
    classroom.settle(anna, Deed.ACCEPT)
    assert "participant" in text_of(classroom.settle, anna, Deed.REJECT)
    assert classroom.row(anna).status == "accepted"


def test_leads_get_one_mail_a_day_about_those_who_wait_and_the_late_ones_are_not_forgotten(
    classroom: Classroom,
) -> None:
    classroom.asks()
    for login in ("anna", "ben"):
        classroom.join(classroom.person(login))
    assert classroom.mails(classroom.lead) == ["participant_waiting"]
    classroom.clock.move(hours=1)  # that mail is out
    for login in ("carl", "dora"):
        classroom.join(classroom.person(login))
    assert classroom.mails(classroom.lead) == ["participant_waiting"] * 2
    classroom.clock.move(days=1)
    classroom.join(classroom.person("emil"))
    assert classroom.mails(classroom.lead) == ["participant_waiting"] * 3


def test_an_invitation_says_nothing_but_title_dates_and_leads_and_changes_nothing(
    classroom: Classroom, session_factory: Sessions
) -> None:
    anna = classroom.person("anna")
    found = classroom.look(anna)
    assert (found.refusal, found.leads) == (None, ("Teacher Example",))
    with session_factory() as session:
        assert session.scalars(select(Participation)).all() == []
