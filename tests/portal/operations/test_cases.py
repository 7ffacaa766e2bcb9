"""The cases that break naive designs, each by name."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from automation.events import Difference, LogLine
from automation.failures import IdentityProviderFailed
from portal.actor import SYSTEM, Actor
from portal.courses.decisions import approve
from portal.courses.life import act, lock
from portal.db import transaction
from portal.lifecycle import Action, Role, Status
from portal.models import Attempt, Course, Mail, Operation, Revision
from portal.operations.ask import ask, live
from portal.operations.attempts import renew
from portal.operations.events import EventWriter
from portal.operations.kinds import Kind
from portal.operations.outcomes import Failed, Succeeded, conclude
from portal.planning import deploy_at
from portal.worker.claimed import ClaimedRun
from portal.worker.queue import deliver
from portal.worker.run import AttemptLost
from tests.portal.makers import make_target, make_user
from tests.portal.operations.conftest import Stage
from tests.portal.operations.fakes import Crash

LEAD = frozenset({Role.LEAD})


def active(stage: Stage, **facts: object) -> Course:
    """A course that went the whole way to active; today is its first day."""
    course_id = stage.course(**facts)
    stage.clock.set(stage.look(course_id).first_day)
    stage.settle()
    course = stage.look(course_id)
    assert course.status == Status.ACTIVE
    stage.world.done.clear()
    return course


def closed(stage: Stage) -> Course:
    course = active(stage)
    stage.clock.set(stage.clock.end(course.last_day))
    stage.settle()
    course = stage.look(course.id)
    assert course.status == Status.CLOSED
    return course


def end_early(stage: Stage, course: Course) -> None:
    def deed(session, row):  # type: ignore[no-untyped-def]
        row.ended_early_at = stage.clock.now()
        act(session, stage.clock, SYSTEM, row, Action.END_EARLY, roles=LEAD)

    stage.do(course.id, deed)


def extend(stage: Stage, course: Course, days: int) -> None:
    def deed(session, row):  # type: ignore[no-untyped-def]
        row.last_day = stage.clock.today() + timedelta(days=days)
        act(session, stage.clock, SYSTEM, row, Action.EXTEND, roles=LEAD)

    stage.do(course.id, deed)


def change(stage: Stage, course: Course) -> None:
    """A change of the spec, approved: a new revision."""

    def deed(session, row):  # type: ignore[no-untyped-def]
        old = session.get_one(Revision, (row.id, row.approved_revision))
        number = row.approved_revision + 1
        session.add(Revision(course_id=row.id, number=number, spec=old.spec, created_at=stage.clock.now()))
        row.approved_revision = number
        act(session, stage.clock, SYSTEM, row, Action.DECIDE_CHANGE, roles={Role.GOVERNANCE})

    stage.do(course.id, deed)


# --- one at a time, once


def test_the_database_itself_refuses_a_second_live_operation(stage: Stage) -> None:
    course_id = stage.course(status=Status.ACTIVE)
    with pytest.raises(IntegrityError), transaction(stage.sessions) as session:
        for kind in ("update", "check"):
            now = stage.clock.now()
            session.add(
                Operation(course_id=course_id, kind=kind, revision=1, not_before=now, max_tries=1, created_at=now)
            )
        session.flush()


def test_a_job_that_is_delivered_twice_works_once(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    (attempt,) = stage.unclaimed()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: stage.runner().work(attempt), range(4)))
    assert stage.world.done == [f"deploy {stage.look(course_id).slug}"]
    stage.runner().work(attempt)
    assert len(stage.world.done) == 1, "late deliveries neither"


def test_a_job_that_is_lost_by_the_queue_is_delivered_again(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    with transaction(stage.sessions) as session:
        session.execute(func.now().select())
        session.connection().exec_driver_sql("DELETE FROM procrastinate_jobs")
        session.execute(update(Attempt).values(queued_at=func.clock_timestamp() - timedelta(minutes=1)))
    assert stage.tick().delivered_again == 1
    assert stage.tick().delivered_again == 0


def test_a_job_that_waits_in_the_queue_is_not_delivered_again(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    with transaction(stage.sessions) as session:
        session.execute(update(Attempt).values(queued_at=func.clock_timestamp() - timedelta(minutes=1)))
    assert stage.tick().delivered_again == 0


def test_the_job_is_part_of_the_transaction_that_writes_the_attempt(stage: Stage) -> None:
    with pytest.raises(RuntimeError), transaction(stage.sessions) as session:
        deliver(session, stage.course(), 1)
        raise RuntimeError
    with stage.sessions() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM procrastinate_jobs").scalar_one() == 0


# --- workers that go and come back


def test_a_worker_that_wakes_up_after_its_lease_was_taken_can_write_nothing(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    runner, mine, keeper = stage.claim()
    events = EventWriter(stage.sessions, mine)
    run = ClaimedRun(stage.sessions, stage.clock, stage.settings, runner._sealer, mine, keeper, events)
    stage.end_leases()
    assert stage.tick().lost == 1

    run.tell(LogLine("I am still here"))
    with pytest.raises(AttemptLost):
        events.flush()
    with pytest.raises(AttemptLost):
        run.tell(LogLine("really"))
    with pytest.raises(AttemptLost), run.transaction() as session:
        run.course(session).hub_url = "https://ghost.example.net/"
    with pytest.raises(AttemptLost):
        run.write(lambda _, course: setattr(course, "hub_url", "https://ghost.example.net/"))
    with pytest.raises(AttemptLost), transaction(stage.sessions) as session:
        renew(session, mine, timedelta(seconds=30))
    with pytest.raises(AttemptLost), transaction(stage.sessions) as session:
        conclude(session, stage.clock, stage.settings, mine, Succeeded())
    runner.finish(mine, Failed("I give up"))
    keeper.renew()
    with pytest.raises(AttemptLost):
        run.check()
    assert stage.look(course_id).hub_url is None
    (attempt,) = stage.attempts(course_id)
    assert (attempt.result, attempt.finished_at is not None) == ("lost", True)
    assert stage.events(attempt.id) == []


def test_a_lost_attempt_is_tried_again_and_what_it_may_have_left_is_looked_for(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    stage.world.after["deploy"] = lambda _: (_ for _ in ()).throw(Crash())
    with pytest.raises(Crash):
        stage.work()
    stage.world.after.clear()
    stage.end_leases()
    stage.tick()
    assert stage.work() == 0, "not before the pause is over"
    stage.clock.move(seconds=stage.settings.retry_seconds)
    stage.settle()
    assert stage.status(course_id) == Status.ACTIVE
    first, *_ = stage.attempts(course_id)
    assert first.result == "lost"
    assert first.released_at is not None, "the second attempt has proven it dead"


def test_a_lease_that_is_renewed_is_not_taken(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    _, mine, keeper = stage.claim()
    stage.end_leases()
    keeper.renew()
    assert stage.tick().lost == 0
    stage.clock.move(days=3)
    assert stage.tick().lost == 0, "leases go by the database's clock, whatever the site's says"
    assert stage.attempts(course_id)[0].worker == mine.worker


def test_an_attempt_past_its_deadline_ends_although_its_worker_renews(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    _, _, keeper = stage.claim()
    with transaction(stage.sessions) as session:
        session.execute(update(Attempt).values(deadline=func.clock_timestamp() - timedelta(hours=1)))
    keeper.renew()
    assert keeper.deadline_passed
    assert stage.tick().lost == 1


# --- tries and their end


def test_after_bounded_tries_a_deploy_has_failed_and_people_are_told_once(stage: Stage) -> None:
    with transaction(stage.sessions) as session:
        make_user(session, stage.clock, "boss", governance=True)
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.world.failing["deploy"] = 99
    for _ in range(stage.settings.max_tries + 3):
        stage.settle()
        stage.clock.move(minutes=30)
    assert stage.status(course_id) == Status.DEPLOY_FAILED
    assert len(stage.attempts(course_id)) == stage.settings.max_tries
    assert stage.mails(course_id) == ["deploy_failed", "operation_failed"]

    stage.world.failing.clear()
    stage.do(
        course_id, lambda session, row: act(session, stage.clock, SYSTEM, row, Action.RETRY, roles={Role.GOVERNANCE})
    )
    stage.settle()
    assert stage.status(course_id) == Status.ACTIVE


def test_a_course_approved_while_the_group_provider_is_down_comes_up_once_it_is_back(stage: Stage) -> None:
    with transaction(stage.sessions) as session:
        boss = make_user(session, stage.clock, "boss", governance=True)
    course_id = stage.course(status=Status.REQUESTED)

    def down(_slug: str) -> None:
        raise IdentityProviderFailed("The identity provider does not answer.")

    stage.world.before["deploy"] = down
    with transaction(stage.sessions) as session:
        version = session.get_one(Course, course_id).version
        approve(session, stage.clock, stage.settings, Actor(boss), course_id, version=version)
    assert stage.status(course_id) == Status.APPROVED
    stage.clock.set(stage.look(course_id).first_day)
    stage.settle()
    assert stage.status(course_id) == Status.DEPLOYING
    assert stage.world.stacks == {}
    waiting = stage.live(course_id)
    assert waiting is not None
    assert "identity provider" in stage.attempts(course_id)[-1].failure

    stage.world.before.clear()
    stage.clock.set(waiting.not_before)
    stage.settle()
    assert stage.status(course_id) == Status.ACTIVE


def test_each_pause_is_three_times_the_last(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.world.failing["deploy"] = 99
    pauses = []
    for _ in range(3):
        stage.settle()
        waiting = stage.live(course_id)
        assert waiting is not None
        pauses.append((waiting.not_before - stage.clock.now()).total_seconds())
        stage.clock.set(waiting.not_before)
    assert pauses == [30, 90, 270]


def test_a_check_that_fails_keeps_the_course_from_being_active(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.world.failing["check"] = 99
    for _ in range(6):
        stage.settle()
        stage.clock.move(minutes=30)
    assert stage.status(course_id) == Status.DEPLOY_FAILED
    assert "course_ready" not in stage.mails(course_id)


def test_an_update_that_fails_leaves_the_course_active_at_its_last_revision(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["update"] = stage.settings.max_tries
    for _ in range(8):
        stage.settle()
        stage.clock.move(minutes=30)
    found = stage.look(course.id)
    assert (found.status, found.approved_revision, found.applied_revision) == (Status.ACTIVE, 2, 1)
    updates = [entry for entry in stage.operations(course.id) if entry[0] == "update"]
    assert updates == [("update", "failed"), ("update", "succeeded")], "the old revision is applied again, once"
    assert [mail for mail in stage.mails(course.id) if mail.endswith("failed")] == ["update_failed"]
    change(stage, course)
    stage.settle()
    assert stage.look(course.id).applied_revision == 3, "a later change is carried out"


def go_on(stage: Stage, rounds: int = 10) -> None:
    """Long enough for every bounded try of two operations."""
    for _ in range(rounds):
        stage.settle()
        stage.clock.move(minutes=30)


def test_a_change_after_which_no_notebook_starts_is_taken_back_and_people_are_told(stage: Stage) -> None:
    with transaction(stage.sessions) as session:
        governance = make_user(session, stage.clock, "gina", governance=True).email
    course = active(stage)
    change(stage, course)
    stage.world.failing["check"] = stage.settings.max_tries
    go_on(stage)
    found = stage.look(course.id)
    assert found.status == Status.ACTIVE
    assert (found.approved_revision, found.applied_revision, found.checked_revision) == (2, 1, 1)
    assert revisions(stage, course) == [
        ("update", 2, "succeeded"),
        ("check", 2, "failed"),
        ("update", 1, "succeeded"),
        ("check", 1, "succeeded"),
    ]
    told = [mail for mail in stage.mails(course.id) if mail.endswith("failed")]
    assert sorted(told) == ["operation_failed", "update_failed"]
    with stage.sessions() as session:
        assert session.scalar(select(Mail.recipient).where(Mail.event == "operation_failed")) == governance
    change(stage, course)
    stage.settle()
    assert stage.look(course.id).checked_revision == 3, "a later change is carried out"


def test_what_cannot_be_set_back_either_comes_to_rest_and_people_are_told(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["check"] = 99
    go_on(stage)
    assert revisions(stage, course) == [
        ("update", 2, "succeeded"),
        ("check", 2, "failed"),
        ("update", 1, "succeeded"),
        ("check", 1, "failed"),
    ]
    assert stage.status(course.id) == Status.ACTIVE
    assert [mail for mail in stage.mails(course.id) if mail.endswith("failed")] == ["update_failed", "check_failed"]


def test_a_way_back_that_fails_is_tried_so_often_and_no_more(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["update"] = 99
    go_on(stage)
    assert revisions(stage, course) == [("update", 2, "failed"), ("update", 1, "failed")]
    assert [mail for mail in stage.mails(course.id) if mail.endswith("failed")] == ["update_failed", "restore_failed"]


def test_a_change_that_is_asked_for_again_after_it_was_taken_back_is_checked_again(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["check"] = stage.settings.max_tries
    go_on(stage)
    stage.do(course.id, lambda session, row: ask(session, stage.clock, SYSTEM, row, Kind.UPDATE))
    go_on(stage)
    assert revisions(stage, course)[4:] == [("update", 2, "succeeded"), ("check", 2, "succeeded")]
    assert stage.look(course.id).checked_revision == 2


def revisions(stage: Stage, course: Course) -> list[tuple[str, int, str]]:
    """(kind, revision, status) of the updates of a course and of the checks after them, in order."""
    with stage.sessions() as session:
        first = select(func.min(Operation.number)).where(Operation.course_id == course.id, Operation.kind == "update")
        rows = session.execute(
            select(Operation.kind, Operation.revision, Operation.status)
            .where(Operation.course_id == course.id, Operation.kind.in_(("update", "check")))
            .where(Operation.number >= first.scalar_subquery())
            .order_by(Operation.number)
        )
        return [(kind, revision, status) for kind, revision, status in rows]


def test_a_close_that_fails_blocks_the_removal_and_goes_on_being_tried(stage: Stage) -> None:
    course = active(stage)
    stage.clock.set(stage.clock.end(course.last_day))
    stage.world.failing["close"] = stage.settings.max_tries + 1
    for _ in range(6):
        stage.settle()
        stage.clock.move(minutes=30)
    assert stage.status(course.id) == Status.CLOSING
    assert stage.mails(course.id).count("close_failed") == 1
    stage.clock.move(hours=12)
    for _ in range(3):
        stage.settle()
        stage.clock.move(minutes=30)
    assert stage.status(course.id) == Status.CLOSED
    assert stage.mails(course.id).count("close_failed") == 1


def test_a_removal_that_leaves_something_is_no_removal(stage: Stage) -> None:
    course = closed(stage)
    stage.world.left = ["bucket jhaas-left"]
    stage.clock.move(days=stage.settings.grace_days)
    for _ in range(6):
        stage.settle()
        stage.clock.move(hours=1)
    found = stage.look(course.id)
    assert found.status == Status.REMOVAL_FAILED
    assert found.stack_gone_at is None
    assert stage.mails(course.id).count("removal_failed") == 1


# --- what goes before what


def test_ending_early_while_a_retry_waits_supersedes_it(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["update"] = 1
    stage.settle()
    waiting = stage.live(course.id)
    assert waiting is not None
    assert (waiting.kind, waiting.status, waiting.tries) == ("update", "waiting", 1)
    end_early(stage, course)
    stage.settle()
    assert stage.status(course.id) == Status.CLOSED
    assert ("update", "superseded") in stage.operations(course.id)
    stage.clock.move(days=1)
    stage.settle()
    assert "update" not in [entry.split()[0] for entry in stage.world.done], "the retry never comes"


def test_a_change_supersedes_a_waiting_retry_of_the_revision_before(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.world.failing["update"] = 1
    stage.settle()
    change(stage, course)
    stage.settle()
    assert stage.look(course.id).applied_revision == 3
    assert [one for one in stage.operations(course.id) if one[0] == "update"] == [
        ("update", "superseded"), ("update", "succeeded"),
    ]  # fmt: skip


def test_ending_early_asks_a_running_update_to_stop_and_waits_for_its_end(stage: Stage) -> None:
    course = active(stage)
    change(stage, course)
    stage.tick()
    runner, mine, keeper = stage.claim()
    end_early(stage, course)
    stage.tick()
    running = stage.live(course.id)
    assert running is not None
    assert (running.kind, running.status, running.cancel_asked_at) == ("update", "running", stage.clock.now())
    assert stage.unclaimed() == [], "nothing begins beside it"
    keeper.renew()
    assert keeper.stop_asked
    runner.finish(mine, runner.carry_out(mine, keeper))
    assert ("update", "cancelled") in stage.operations(course.id)
    stage.settle()
    assert stage.status(course.id) == Status.CLOSED


def test_a_deploy_that_is_cut_off_by_the_end_is_removed_again(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    runner, mine, keeper = stage.claim()
    stage.clock.set(stage.clock.end(stage.look(course_id).last_day))
    stage.tick()
    assert stage.status(course_id) == Status.REMOVING
    runner.finish(mine, runner.carry_out(mine, keeper))
    stage.settle()
    assert stage.status(course_id) == Status.ARCHIVED
    assert stage.world.stacks == {}
    assert "course_ready" not in stage.mails(course_id)


def test_a_worker_deploys_nothing_that_is_over_although_the_scheduler_is_down(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    stage.clock.set(stage.clock.end(stage.look(course_id).last_day))
    stage.work()
    assert stage.world.done == []
    stage.settle()
    assert stage.status(course_id) == Status.ARCHIVED


def test_a_worker_destroys_nothing_of_a_course_that_goes_on(stage: Stage) -> None:
    course = active(stage)
    stage.do(course.id, lambda session, row: ask(session, stage.clock, SYSTEM, row, Kind.DESTROY))
    stage.tick()
    stage.work()
    assert stage.world.done == []
    assert stage.status(course.id) == Status.ACTIVE


def test_a_course_that_was_never_deployed_expires(stage: Stage) -> None:
    requested, approved = stage.course(status=Status.REQUESTED), stage.course()
    stage.clock.set(stage.clock.end(stage.look(approved).last_day))
    stage.settle()
    assert stage.status(requested) == stage.status(approved) == Status.EXPIRED
    assert stage.world.done == []
    assert stage.mails(requested) == stage.mails(approved) == ["course_expired"]


def test_a_lower_kind_does_not_disturb_a_higher_one(stage: Stage) -> None:
    course_id = stage.course(status=Status.CLOSED)
    with transaction(stage.sessions) as session:
        course = lock(session, course_id)
        destroy = ask(session, stage.clock, SYSTEM, course, Kind.DESTROY)
        for kind in (Kind.UPDATE, Kind.CHECK, Kind.REFRESH, Kind.ARCHIVE, Kind.CLOSE):
            assert ask(session, stage.clock, SYSTEM, course, kind) is destroy
        assert live(session, course) is destroy


# --- the end, again


def test_archive_extend_close_again(stage: Stage) -> None:
    course = closed(stage)
    assert "archive" in [entry.split()[0] for entry in stage.world.done]
    extend(stage, course, days=3)
    stage.settle()
    assert stage.status(course.id) == Status.ACTIVE
    stage.world.unarchived.add(str(course.id))  # somebody works on
    stage.world.done.clear()
    stage.clock.set(stage.clock.end(stage.look(course.id).last_day))
    stage.settle()
    found = stage.look(course.id)
    assert (found.status, found.closing) == (Status.CLOSED, 2)
    assert [entry.split()[0] for entry in stage.world.done if "refresh" not in entry] == ["close", "archive"]
    stage.clock.move(days=stage.settings.grace_days)
    stage.settle()
    assert stage.status(course.id) == Status.ARCHIVED
    assert stage.mails(course.id).count("closing") == 2


def test_an_archive_that_runs_while_the_course_is_extended_is_stopped_and_counts_for_nothing(stage: Stage) -> None:
    course = active(stage)
    stage.world.unarchived.add(str(course.id))
    stage.clock.set(stage.clock.end(course.last_day))
    stage.tick()
    stage.work()
    stage.tick()
    runner, mine, keeper = stage.claim()
    assert mine.kind is Kind.ARCHIVE
    extend(stage, course, days=3)
    stage.tick()
    assert stage.operations(course.id)[-1] == ("archive", "running")
    keeper.renew()
    assert keeper.stop_asked
    runner.finish(mine, Succeeded())
    stage.settle()
    assert stage.status(course.id) == Status.ACTIVE
    stage.clock.set(stage.clock.end(stage.look(course.id).last_day))
    stage.settle()
    assert stage.operations(course.id)[-1] == ("archive", "succeeded")
    assert [one.closing for one in _operations(stage, course) if one.kind == "archive"] == [1, 2]


def test_a_close_of_an_earlier_closing_does_not_finish_this_one(stage: Stage) -> None:
    course = active(stage)
    stage.clock.set(stage.clock.end(course.last_day))
    stage.tick()
    runner, mine, _ = stage.claim()
    extend(stage, course, days=3)
    end_early(stage, course)
    assert stage.look(course.id).closing == 2
    runner.finish(mine, Succeeded())
    assert stage.status(course.id) == Status.CLOSING
    stage.settle()
    assert stage.status(course.id) == Status.CLOSED


def test_nothing_is_destroyed_while_an_archive_is_missing_and_people_are_told(stage: Stage) -> None:
    course = active(stage)
    stage.clock.set(stage.clock.end(course.last_day))
    stage.world.unarchived.add(str(course.id))
    stage.world.failing["archive"] = 999
    for _ in range(40):
        stage.settle()
        stage.clock.move(days=1)
    assert stage.status(course.id) == Status.CLOSED
    assert "destroy" not in [entry.split()[0] for entry in stage.world.done]
    assert stage.mails(course.id).count("archive_failed") == 1
    stage.do(course.id, lambda _, row: setattr(row, "waived_closing", row.closing))
    stage.do(
        course.id,
        lambda session, row: act(session, stage.clock, SYSTEM, row, Action.WAIVE_ARCHIVES, roles={Role.GOVERNANCE}),
    )
    stage.settle()
    assert stage.status(course.id) == Status.ARCHIVED


# --- the nightly look


def test_drift_is_looked_at_once_a_night_and_changes_nothing(stage: Stage) -> None:
    course = active(stage)
    stage.world.drift = [
        Difference("hub", "pulumi:hub", "changed", ("image",)),
        Difference("group", "pulumi:group", "changed", ("members",)),
    ]
    for _ in range(24):
        stage.clock.move(hours=1)
        stage.settle()
    found = stage.look(course.id)
    assert stage.world.done == [f"refresh {course.slug}"]
    assert found.drift == {
        "differences": [{"name": "hub", "resource_type": "pulumi:hub", "what": "changed", "fields": ["image"]}]
    }, "who is in a group is not drift"
    assert (found.status, found.applied_revision) == (Status.ACTIVE, 1)
    stage.world.drift = []
    stage.clock.move(days=1)
    stage.settle()
    assert stage.look(course.id).drift is None


def test_a_look_that_fails_is_told_on_the_page_and_wakes_nobody(stage: Stage) -> None:
    course = active(stage)
    stage.world.failing["refresh"] = stage.settings.max_tries
    for _ in range(12):
        stage.clock.move(hours=1)
        stage.settle()
    found = stage.look(course.id)
    assert found.drift == {"failure": "The fake was told to fail at refresh."}
    assert stage.mails(course.id) == ["course_ready"]


# --- warnings


def test_after_a_downtime_only_the_nearest_warning_is_sent(stage: Stage) -> None:
    course = active(stage)
    stage.clock.set(course.last_day - dt.timedelta(days=5))
    stage.settle()
    with stage.sessions() as session:
        keys = list(session.scalars(select(Mail.event_key).where(Mail.event == "ending_soon")))
    assert keys == [f"{course.id}:ending_soon:{course.last_day}:7"]
    stage.clock.set(course.last_day - dt.timedelta(days=1))
    stage.settle()
    assert stage.mails(course.id).count("ending_soon") == 2


# --- fairness


def test_a_target_works_on_no_more_courses_at_once_than_it_can(stage: Stage) -> None:
    with transaction(stage.sessions) as session:
        make_target(session, "local", parallel_operations=2)
        other = make_target(session, "other", parallel_operations=1)
    for _ in range(4):
        stage.course()
    stage.course(target=other)
    stage.clock.move(days=7)
    stage.tick(3)
    assert len(stage.unclaimed()) == 3
    stage.work()
    stage.tick()
    with stage.sessions() as session:
        kinds = list(
            session.scalars(
                select(Operation.kind).join(Attempt).where(Attempt.result.is_(None)).order_by(Operation.kind)
            )
        )
    assert kinds == ["check", "check", "check", "deploy", "deploy"], "checks do not keep others from being deployed"


def test_homes_that_are_copied_for_hours_keep_no_course_from_starting(stage: Stage) -> None:
    with transaction(stage.sessions) as session:
        make_target(session, parallel_operations=2)
    for _ in range(4):
        stage.course(status=Status.CLOSED)
    for _ in range(4):
        stage.course(status=Status.APPROVED)
    stage.clock.move(days=7)
    stage.tick(2)
    with stage.sessions() as session:
        kinds = list(
            session.scalars(
                select(Operation.kind).join(Attempt).where(Attempt.result.is_(None)).order_by(Operation.kind)
            )
        )
    assert kinds == ["archive", "archive", "deploy", "deploy"]


def test_a_token_that_cannot_be_opened_any_more_is_made_anew_by_a_deploy(stage: Stage) -> None:
    course_id = stage.course(
        status=Status.DEPLOYING, hub_url="https://x/", api_url="https://x/", api_token=b"other key"
    )
    stage.clock.set(stage.look(course_id).first_day)
    stage.settle()
    assert stage.status(course_id) == Status.ACTIVE


def test_a_course_that_cannot_be_looked_at_does_not_keep_others_from_it(stage: Stage, caplog: object) -> None:
    from portal.scheduler.tick import tick

    bad, good = stage.course(status=Status.CLOSED), stage.course()

    def settled(_session: object, course: Course) -> bool:
        raise ValueError(f"{course.slug} cannot be looked at")

    with transaction(stage.sessions) as session:
        done = {"created_at": stage.clock.now(), "finished_at": stage.clock.now(), "not_before": stage.clock.now()}
        session.add(
            Operation(
                course_id=bad, kind="archive", closing=1, revision=1, status="succeeded", tries=1, max_tries=1, **done
            )
        )
    stage.clock.move(days=7)
    report = tick(stage.sessions, stage.clock, stage.settings, settled)
    assert report.failed == [bad]
    assert stage.status(good) == Status.DEPLOYING
    assert tick(stage.sessions, stage.clock, stage.settings, settled).failed == [], "it is left alone for a moment"
    stage.clock.move(minutes=2)
    assert tick(stage.sessions, stage.clock, stage.settings, settled).failed == [bad]


def test_another_lead_time_moves_every_planned_deploy(stage: Stage) -> None:
    course_id = stage.course()
    stage.settle()
    course = stage.look(course_id)
    planned = deploy_at(course.id, course.first_day, frozenset(), stage.settings, stage.clock)
    assert course.next_due_at == planned
    stage.settings = stage.settings.model_copy(update={"lead_working_days": 4})
    stage.settle()
    earlier = deploy_at(course.id, course.first_day, frozenset(), stage.settings, stage.clock)
    assert earlier < planned
    assert stage.look(course_id).next_due_at == max(earlier, stage.clock.now())


def test_events_are_numbered_in_the_order_in_which_they_were_told(stage: Stage) -> None:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    _, mine, _ = stage.claim()
    events = EventWriter(stage.sessions, mine)
    threads = [
        threading.Thread(target=lambda: [events.tell(LogLine(f"{i}\0")) for i in range(50)]) for _ in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
        events.flush()
    for thread in threads:
        thread.join()
    events.close()
    assert [n for n, _ in stage.events(mine.attempt_id)] == list(range(1, 201))


def test_an_attempt_that_tells_too_much_keeps_its_steps_and_its_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portal.operations import events as module

    monkeypatch.setattr(module, "MOST", 5)
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    _, mine, _ = stage.claim()
    events = EventWriter(stage.sessions, mine)
    for number in range(4):
        events.tell(LogLine(f"line {number}"))
    events.flush()
    for number in range(4):
        events.tell(LogLine(f"line {number}"))
    events.step("Nearly there")
    events.close()
    assert stage.events(mine.attempt_id) == [(1, "log"), (2, "log"), (3, "log"), (4, "log"), (5, "log"), (6, "step")]


def _operations(stage: Stage, course: Course) -> list[Operation]:
    with stage.sessions() as session:
        return list(
            session.scalars(select(Operation).where(Operation.course_id == course.id).order_by(Operation.number))
        )
