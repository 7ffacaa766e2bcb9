"""Images are on the nodes before people start notebooks with them: after a deploy, and before a change."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from automation.events import Progress
from course_stack.kubernetes import api, prepull
from portal.actor import SYSTEM
from portal.courses.life import act
from portal.db import transaction
from portal.lifecycle import Action, Role, Status
from portal.models import AttemptEvent, Course, Revision
from tests.course_stack.kubernetes.targets import cluster_target
from tests.portal.makers import make_target
from tests.portal.operations.conftest import Stage
from tests.support.fake_cluster import FakeCluster

NEW = "quay.io/jupyter/pytorch-notebook:2026-11-02"
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def course(stage: Stage, fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> uuid.UUID:
    """An active course on a cluster with two nodes; what its pods fetch is written down among what was done."""

    def fetched(pod: dict[str, Any]) -> None:
        containers = pod["spec"]["containers"]
        stage.world.done.append(f"fetch {' '.join(one['image'] for one in containers)}")
        ended = {"image": "any", "imageID": "", "ready": False, "restartCount": 0, "state": {"running": {}}}
        pod["status"] = {"containerStatuses": [{**ended, "name": one["name"]} for one in containers]}

    monkeypatch.setattr(prepull, "_POLL", 0)
    monkeypatch.setattr(api, "connect", lambda target: fake.connect(target, tmp_path))
    for name in ("node-1", "node-2"):
        fake.add("nodes", name, spec={}, status=READY)
    fake.on_create = fetched
    with transaction(stage.sessions) as session:
        target = make_target(session, "campus", target=cluster_target().model_dump(mode="json"))
    found = stage.course(target=target, slug="the-course")
    stage.clock.set(stage.look(found).first_day)
    stage.settle()
    assert stage.status(found) == Status.ACTIVE
    return found


def change(stage: Stage, course_id: uuid.UUID, **fields: Any) -> None:
    """An approved change of these fields of the spec."""

    def deed(session, row):  # type: ignore[no-untyped-def]
        old = session.get_one(Revision, (row.id, row.approved_revision))
        row.approved_revision += 1
        spec = {**old.spec, **fields}
        session.add(Revision(course_id=row.id, number=row.approved_revision, spec=spec, created_at=stage.clock.now()))
        act(session, stage.clock, SYSTEM, row, Action.DECIDE_CHANGE, roles={Role.GOVERNANCE})

    stage.world.done.clear()
    stage.do(course_id, deed)
    stage.settle()


def image_of(stage: Stage, course_id: uuid.UUID) -> str:
    with stage.sessions() as session:
        course = session.get_one(Course, course_id)
        return str(session.get_one(Revision, (course_id, course.approved_revision)).spec["image"])


def test_a_deploy_brings_the_images_once_the_hub_is_there(stage: Stage, course: uuid.UUID) -> None:
    image = image_of(stage, course)
    assert stage.world.done == ["deploy the-course", f"fetch {image}", f"fetch {image}", "check the-course"]


def test_a_new_image_is_on_every_node_before_the_hub_is_changed(stage: Stage, course: uuid.UUID) -> None:
    change(stage, course, image=NEW)
    assert stage.world.done == [f"fetch {NEW}", f"fetch {NEW}", "update the-course", "check the-course"]
    update = stage.attempts(course)[-2]
    with stage.sessions() as session:
        query = select(AttemptEvent.content).where(AttemptEvent.attempt_id == update.id)
        told = session.scalars(query.where(AttemptEvent.type == Progress.type).order_by(AttemptEvent.n)).all()
    assert [(one["done"], one["total"]) for one in told[:2]] == [(1, 2), (2, 2)]


def test_the_image_of_a_new_profile_comes_likewise(stage: Stage, course: uuid.UUID) -> None:
    image = image_of(stage, course)
    change(stage, course, profiles=[{"name": "Small", "default": True}, {"name": "Large", "image": NEW}])
    assert stage.world.done[:3] == [f"fetch {image} {NEW}", f"fetch {image} {NEW}", "update the-course"]


def test_a_change_without_a_new_image_brings_none(stage: Stage, course: uuid.UUID) -> None:
    change(stage, course, title="Another title")
    assert stage.world.done == ["update the-course", "check the-course"]


def test_a_retry_brings_an_image_that_the_hub_does_not_run_yet(stage: Stage, course: uuid.UUID) -> None:
    stage.world.failing["update"] = 1
    change(stage, course, image=NEW)
    stage.clock.move(minutes=30)
    stage.settle()
    assert stage.world.done == [*[f"fetch {NEW}"] * 4, "update the-course", "check the-course"]
