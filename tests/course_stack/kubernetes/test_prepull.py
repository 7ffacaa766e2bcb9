"""Images are brought to every node that may carry notebooks, whatever is in them; what fails stops nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automation.events import Progress, Warned
from automation.failures import Cancelled
from course_stack.kubernetes import api, prepull
from course_stack.kubernetes.api import Cluster
from course_stack.kubernetes.objects import JOBS_AT_ONCE
from course_stack.kubernetes.prepull import Fetched, fetch, manifest
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import Target
from portal.worker.images import fetch_images
from tests.course_stack.kubernetes.targets import cluster_target
from tests.course_stack.specs import course
from tests.support.fake_cluster import FakeCluster
from tests.support.pod_security import violations, without_requests

PROFILES = [
    {"name": "Small", "default": True},
    {"name": "Large", "image": "quay.io/jupyter/pytorch-notebook:2026-10-05"},
    {"name": "Larger", "image": "quay.io/jupyter/pytorch-notebook:2026-10-05"},
]
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def spec() -> CourseSpec:
    return load_spec(course(slug="the-course", profiles=PROFILES))


def _nodes(fake: FakeCluster, *names: str) -> None:
    for name in names:
        fake.add("nodes", name, spec={}, status=READY)


def _states(*states: dict[str, Any]) -> dict[str, Any]:
    one = {"image": "the-image", "imageID": "", "ready": False, "restartCount": 0}
    return {
        "phase": "Pending",
        "containerStatuses": [
            {**one, "name": f"image-{number}", "state": state} for number, state in enumerate(states)
        ],
    }


def _waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


TRIED = _states({"terminated": {"exitCode": 0, "reason": "Completed"}}, {"terminated": {"exitCode": 128}})
REFUSED = _states(_waits("InvalidImageName", "cannot parse"), {"terminated": {"exitCode": 0}})
FETCHING = _states(_waits("ContainerCreating"), _waits("ImagePullBackOff", "no such host"))


def _fetch(cluster: Cluster, spec: CourseSpec, tick: Callable[[], None] = lambda: None) -> list[Fetched]:
    target = cluster_target().cluster
    assert target is not None
    now = 0.0

    def sleep(_: float) -> None:
        nonlocal now
        now += 60

    return list(fetch(cluster, target, spec, tick, sleep=sleep, monotonic=lambda: now))


def test_every_image_that_a_notebook_may_run_is_fetched_once(spec: CourseSpec) -> None:
    assert spec.images == (spec.image, "quay.io/jupyter/pytorch-notebook:2026-10-05")
    target = cluster_target().cluster
    assert target is not None
    pod = manifest("the-course", target, "node-1", spec.images)
    assert [one["image"] for one in pod["spec"]["containers"]] == list(spec.images)
    assert violations(pod["spec"]) == []
    assert without_requests(pod["spec"]) == []


def test_an_image_in_which_nothing_can_be_started_counts_as_fetched(
    fake: FakeCluster, cluster: Cluster, spec: CourseSpec
) -> None:
    _nodes(fake, "node-1")
    fake.on_create = lambda made: made.update(status=TRIED)
    assert _fetch(cluster, spec) == [Fetched("node-1", None, 1, 1)]
    assert fake.of("pods") == []


def test_pods_come_a_few_at_a_time_to_ready_nodes_that_take_notebooks(
    fake: FakeCluster, cluster: Cluster, spec: CourseSpec
) -> None:
    names = [f"node-{number}" for number in range(7)]
    _nodes(fake, *names)
    fake.add("nodes", "cordoned", spec={"unschedulable": True}, status=READY)
    fake.add("nodes", "tainted", spec={"taints": [{"key": "only", "effect": "NoSchedule"}]}, status=READY)
    fake.add("nodes", "broken", spec={}, status={"conditions": [{"type": "Ready", "status": "Unknown"}]})
    most = 0

    def made(pod: dict[str, Any]) -> None:
        nonlocal most
        pod.update(status=TRIED)
        most = max(most, len(fake.of("pods")))

    fake.on_create = made
    found = _fetch(cluster, spec)
    assert sorted(one.node for one in found) == names
    assert [one.done for one in found] == list(range(1, 8))
    assert most < JOBS_AT_ONCE


def test_a_node_that_does_not_get_an_image_is_told_and_the_others_go_on(
    fake: FakeCluster, cluster: Cluster, spec: CourseSpec
) -> None:
    _nodes(fake, "node-1", "node-2", "node-3")
    by_node = {"node-1": REFUSED, "node-2": FETCHING, "node-3": TRIED}

    def made(pod: dict[str, Any]) -> None:
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        node = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        pod.update(status=by_node[node])

    fake.on_create = made
    assert {one.node: one.trouble for one in _fetch(cluster, spec)} == {
        "node-1": "the-image: cannot parse",
        "node-2": "the-image: no such host",
        "node-3": None,
    }
    assert fake.of("pods") == []


def test_nodes_that_were_not_looked_after_in_time_are_told(
    fake: FakeCluster, cluster: Cluster, spec: CourseSpec
) -> None:
    _nodes(fake, *(f"node-{number}" for number in range(5)))
    fake.on_create = lambda made: made.update(status=_states(_waits("ContainerCreating"), _waits("ContainerCreating")))
    found = _fetch(cluster, spec)
    assert {one.trouble for one in found} == {"not within 15 minutes"}
    assert found[-1].done == found[-1].total == 5
    assert fake.of("pods") == []


def test_whoever_stops_the_work_leaves_no_pod(fake: FakeCluster, cluster: Cluster, spec: CourseSpec) -> None:
    _nodes(fake, "node-1")
    fake.on_create = lambda made: made.update(status=FETCHING)

    def stop() -> None:
        if fake.of("pods"):
            raise Cancelled("The operation was asked to stop.")

    with pytest.raises(Cancelled):
        _fetch(cluster, spec, stop)
    assert fake.of("pods") == []


class _Run:
    """As much of a run as bringing images needs."""

    def __init__(self, target: Target, spec: CourseSpec) -> None:
        self.target, self.spec = target, spec
        self.told: list[Any] = []

    def step(self, text: str, **_: object) -> None:
        self.told.append(text)

    def tell(self, event: Any) -> None:
        self.told.append(event)

    def check(self) -> None:
        """Goes on."""


def test_a_course_goes_on_whose_images_are_not_there_yet(
    fake: FakeCluster, tmp_path: Path, spec: CourseSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepull, "_POLL", 0)
    monkeypatch.setattr(api, "connect", lambda target: fake.connect(target, tmp_path))
    _nodes(fake, "node-1")
    fake.on_create = lambda made: made.update(status=REFUSED)
    run = _Run(cluster_target(), spec)
    fetch_images(run)  # type: ignore[arg-type]
    assert run.told[1:] == [Progress(1, 1), Warned("The images are not on node node-1: the-image: cannot parse")]
    fake.refuse = lambda _method, _path: 403
    run = _Run(cluster_target(), spec)
    fetch_images(run)  # type: ignore[arg-type]
    assert isinstance(run.told[-1], Warned)
    assert "does not allow us to list Nodes" in run.told[-1].text
