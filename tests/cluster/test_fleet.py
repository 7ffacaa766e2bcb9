"""`jhaas courses upgrade` over courses on a cluster: a new setting of their target reaches one, then the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.targets import TARGETS_ENV
from tests.cluster import kube
from tests.cluster.course import ClusterCourse
from tests.cluster.trial import Trial

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.machine,
    pytest.mark.skipif(
        shutil.which("pulumi-resource-kubernetes") is None, reason="pulumi-resource-kubernetes is not on PATH"
    ),
]

CANARY, *OTHERS = SLUGS = ("lab-fleet-one", "lab-fleet-two", "lab-fleet-three")
OPENING = {"name": "a printer", "cidr": "192.0.2.17/32", "ports": [9100], "notebooks": True}


class Fleet:
    """Courses that run, and the file of their target."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self._trial, self._folder = trial, folder
        layout = trial.machine.layout
        self._stacks = CourseStacks(StateSettings.of_machine(layout), trial.target, layout)
        self.courses = {slug: ClusterCourse.at(trial, slug) for slug in SLUGS}

    def deploy(self) -> None:
        with ThreadPoolExecutor(len(SLUGS)) as pool:
            list(pool.map(lambda one: self._stacks.deploy(one.spec), self.courses.values()))

    def remove(self) -> None:
        with ThreadPoolExecutor(len(SLUGS)) as pool:
            list(pool.map(self._stacks.destroy, SLUGS))

    def set(self, **changes: Any) -> None:
        """Write the target's file, its cluster changed in this."""
        content = self._trial.target.model_dump(mode="json", exclude={"home"})
        content["cluster"] |= changes
        content["capacity"] = {"memory": 64, "cpu": 16, "storage": 500}
        (self._folder / f"{self._trial.target.name}.yaml").write_text(yaml.safe_dump(content))

    def upgrade(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of the command."""
        command = [sys.executable, "-m", "portal", "courses", "upgrade", "--target", self._trial.target.name]
        environ = {**os.environ, TARGETS_ENV: str(self._folder), "COLUMNS": "200"}
        done = subprocess.run([*command, *arguments], env=environ, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def outcomes(self, output: str) -> dict[str, str]:
        """What the table at the end says of each course."""
        rows = [line.split() for line in output.splitlines()]
        return {row[0]: row[1] for row in rows if len(row) > 1 and row[0] in SLUGS}

    def revisions(self, slug: str) -> list[str]:
        """What Helm says of those of the course's release, oldest first."""
        names = self.courses[slug].cluster_names
        found = kube.show("secrets", "-n", names.namespace, "-l", f"owner=helm,name={names.release}")
        labels: list[Mapping[str, str]] = [one["metadata"]["labels"] for one in found]
        return [one["status"] for one in sorted(labels, key=lambda one: int(one["version"]))]

    def is_open(self, slug: str) -> bool:
        """Whether the course's notebooks may reach the printer."""
        policies = kube.show("networkpolicies", "-n", self.courses[slug].cluster_names.namespace)
        return str(OPENING["cidr"]) in str(policies)


@pytest.fixture
def fleet(trial: Trial, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(trial, tmp_path)
    fleet.remove()
    try:
        fleet.deploy()
        yield fleet
    finally:
        fleet.remove()


def test_a_setting_that_breaks_hubs_stops_at_the_first_course_and_the_right_one_reaches_all(
    trial: Trial, fleet: Fleet
) -> None:
    assert trial.target.cluster is not None
    openings = [one.model_dump(mode="json") for one in trial.target.cluster.openings]
    images = trial.target.cluster.images.model_dump(mode="json")

    fleet.set(images={**images, "hub": "registry.invalid/there-is-none:1"}, release_timeout=60)
    code, output = fleet.upgrade("--canary", CANARY, "--yes")
    assert code == 1, output
    assert fleet.outcomes(output) == {CANARY: "failed", **dict.fromkeys(OTHERS, "waiting")}
    assert "not begun, because a course before it failed" in output
    for slug in OTHERS:
        assert fleet.revisions(slug) == ["deployed"]
        fleet.courses[slug].wait_until_answers()

    fleet.set(openings=[*openings, OPENING])
    code, output = fleet.upgrade("--dry-run")
    assert (code, fleet.is_open(CANARY)) == (0, False), output
    code, output = fleet.upgrade("--canary", CANARY, "--wave", "2", "--yes")
    assert code == 0, output
    assert fleet.outcomes(output) == dict.fromkeys(SLUGS, "updated")
    for slug in SLUGS:
        assert fleet.is_open(slug)
        assert fleet.revisions(slug)[-1] == "deployed"
        fleet.courses[slug].wait_until_answers()

    code, output = fleet.upgrade("--yes")
    assert code == 0, output
    assert "Every running course is up to date." in output


def test_a_course_that_the_cluster_has_lost_is_brought_back_and_no_other_is_touched(fleet: Fleet) -> None:
    fleet.set()
    kube.kubectl("delete", "namespace", fleet.courses[CANARY].cluster_names.namespace)
    code, output = fleet.upgrade("--yes")
    assert code == 0, output
    assert fleet.outcomes(output) == {CANARY: "updated"}
    fleet.courses[CANARY].wait_until_answers()
    assert [fleet.revisions(slug) for slug in SLUGS] == [["deployed"]] * len(SLUGS)
