"""A course with a real hub, and its row in the database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.hub_api import Patience
from portal.lifecycle import Status
from portal.worker.run import Hub
from tests.conftest import Machine
from tests.portal.makers import make_course, make_target, make_user
from tests.portal.support.run import FakeRun
from tests.support.courses import DeployedCourse

QUICK = Patience(start=60, stop=60, poll=0.1)


@pytest.fixture(scope="module")
def deployed(machine: Machine, short_ages: None) -> Iterator[Callable[..., DeployedCourse]]:
    """Deploys courses with real hubs; all are removed at the end of the module."""
    with contextlib.ExitStack() as ending:

        def deploy(slug: str, **changes: Any) -> DeployedCourse:
            course = DeployedCourse.of(machine, slug, **changes)
            ending.callback(course.remove)
            course.deploy()
            return course

        yield deploy


@pytest.fixture
def run_of(
    session_factory: Sessions, clock: SiteClock, settings: PortalSettings
) -> Callable[[DeployedCourse, Status], FakeRun]:
    """Work on a deployed course: its row with a lead and an accepted participant, in a status."""

    def make(course: DeployedCourse, status: Status) -> FakeRun:
        people, issuer = course.machine.people, course.machine.target.identity.url
        with transaction(session_factory) as session:
            target = make_target(session, target=course.machine.target.model_dump(mode="json"))
            lead, student = (
                make_user(session, clock, people[role].subject, issuer=issuer) for role in ("teacher", "student")
            )
            row = make_course(
                session, clock, lead, status=status, slug=course.spec.slug, target=target, participants=(student,)
            )
        return FakeRun(
            sessions=session_factory,
            clock=clock,
            settings=settings,
            course_id=row.id,
            spec=course.spec,
            target=course.machine.target,
            hub=hub_of(course),
            closing=row.closing or 0,
        )

    return make


def hub_of(course: DeployedCourse) -> Hub:
    return Hub(course.url, f"{course.url}hub/api/", course.secrets["api_token"])
