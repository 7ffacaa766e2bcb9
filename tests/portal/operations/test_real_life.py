"""The life of a course on a real hub, by the works that workers really carry out; only the clock is moved."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from portal.archives import records
from portal.db import transaction
from portal.lifecycle import Status
from portal.models import Archive, Attempt
from portal.planning import refresh_at
from portal.worker.kinds import works
from portal.worker.runner import Runner
from portal.worker.stacks import RealPlace
from tests.conftest import Machine
from tests.portal.makers import make_course, make_target, make_user
from tests.portal.operations.conftest import Stage


class RealStage(Stage):
    """With real works."""

    def runner(self) -> Runner:
        return Runner(self.sessions, self.clock, self.settings, works(RealPlace))

    def settled(self, session, course):  # type: ignore[no-untyped-def]
        return records.settled(session, course)


@pytest.mark.machine
@pytest.mark.timeout(900)
def test_a_course_lives_and_leaves_nothing_but_its_archives(machine: Machine, stage: Stage) -> None:
    real = RealStage(stage.sessions, stage.clock, stage.settings)
    with transaction(real.sessions) as session:
        target = make_target(session, target=machine.target.model_dump(mode="json"))
        issuer = machine.target.identity.url
        subjects = (machine.people[role].subject for role in ("teacher", "student"))
        lead, student = (make_user(session, real.clock, subject, issuer=issuer) for subject in subjects)
        course = make_course(
            session, real.clock, lead, status=Status.APPROVED, slug="real-life", target=target, participants=(student,)
        )
    real.clock.set(course.first_day)
    _settle(real)
    found = real.look(course.id)
    assert found.status is Status.ACTIVE, _failures(real, course.id)
    assert found.hub_url == machine.target.hub_url("real-life")
    _, *rest = real.attempts(course.id)
    assert [attempt.result for attempt in rest] == ["succeeded"]
    told = real.events(real.attempts(course.id)[0].id)
    assert {"started", "step", "resource", "progress", "finished"} <= {kind for _, kind in told}

    real.clock.set(refresh_at(course.id, real.clock.today(), real.clock))
    _settle(real)
    found = real.look(course.id)
    assert found.drift is None, found.drift
    assert found.drift_checked_at == real.clock.now()

    real.clock.set(real.clock.end(course.last_day))
    _settle(real)
    assert real.status(course.id) is Status.CLOSED, _failures(real, course.id)
    real.clock.move(days=real.settings.grace_days)
    _settle(real)
    assert real.status(course.id) is Status.ARCHIVED, _failures(real, course.id)
    assert RealPlace(machine.target).traces("real-life") == []
    with real.sessions() as session:
        assert set(session.scalars(select(Archive.status).where(Archive.course_id == course.id))) <= {"verified"}
        held = session.scalars(select(Attempt).where(Attempt.released_at.is_(None))).all()
    assert held == [], "nothing of any attempt can live any more"


def _settle(real: RealStage) -> None:
    for _ in range(12):
        real.tick()
        if not real.work():
            return


def _failures(real: RealStage, course_id: object) -> list[str]:
    return [attempt.failure for attempt in real.attempts(course_id)]  # type: ignore[arg-type]
