"""The life of a course as scheduler and workers carry it on."""

from __future__ import annotations

import datetime as dt

from portal.lifecycle import Status
from portal.planning import deploy_at
from tests.portal.operations.conftest import Stage

DAY = dt.timedelta(days=1)


def test_an_approved_course_is_deployed_in_its_window_and_active_only_after_its_check(stage: Stage) -> None:
    course_id = stage.course()
    stage.settle()
    assert stage.status(course_id) is Status.APPROVED
    assert stage.world.done == []

    course = stage.look(course_id)
    stage.clock.set(deploy_at(course.id, course.first_day, frozenset(), stage.settings, stage.clock))
    stage.tick()
    assert stage.status(course_id) is Status.DEPLOYING
    stage.work()
    assert stage.world.done == [f"deploy {course.slug}"]
    assert stage.status(course_id) is Status.DEPLOYING, "not before a notebook has run"
    assert stage.mails(course_id) == []
    stage.settle()
    course = stage.look(course_id)
    assert course.status == Status.ACTIVE
    assert course.applied_revision == 1
    assert course.hub_url == f"https://{course.slug}.hubs.example.net/"
    assert course.api_token is not None
    assert b"token" not in course.api_token
    assert course.checked_at == stage.clock.now()
    assert stage.operations(course_id) == [("deploy", "succeeded"), ("check", "succeeded")]
    assert stage.mails(course_id) == ["course_ready"]


def test_from_approval_to_the_archives(stage: Stage) -> None:
    course_id = stage.course()
    slug = stage.look(course_id).slug
    stage.clock.set(stage.look(course_id).first_day)
    stage.settle()
    assert stage.status(course_id) is Status.ACTIVE

    stage.clock.set(stage.clock.end(stage.look(course_id).last_day) - dt.timedelta(seconds=1))
    stage.settle()
    assert stage.status(course_id) is Status.ACTIVE, "the last day counts to its last second"
    stage.clock.move(seconds=1)
    stage.tick()
    assert stage.status(course_id) is Status.CLOSING
    stage.settle()
    assert stage.status(course_id) is Status.CLOSED
    assert stage.look(course_id).closed_at == stage.clock.now()

    stage.clock.move(days=stage.settings.grace_days, seconds=-1)
    stage.settle()
    assert stage.status(course_id) is Status.CLOSED, "the days of grace count to the last second"
    stage.clock.move(seconds=1)
    stage.settle()
    course = stage.look(course_id)
    assert course.status == Status.ARCHIVED
    assert (course.hub_url, course.api_token, course.stack_gone_at) == (None, None, stage.clock.now())
    assert course.next_due_at is None
    assert [entry for entry in stage.world.done if not entry.startswith("refresh")] == [
        f"{kind} {slug}" for kind in ("deploy", "check", "close", "archive", "archive_leads", "destroy")
    ]
    assert stage.mails(course_id) == ["course_ready", "ending_soon", "closing", "destroy_soon", "archived"]
