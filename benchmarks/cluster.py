"""A course on a Kubernetes cluster, by Pulumi, beside the same objects and chart by kubectl and helm alone.

Measured where JHAAS_TEST_TARGET names a target (see "Trials on a cluster" in docs/developing.md), with the engine that
JHAAS_PULUMI chooses.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml

from automation.engine import engine_choice, pulumi_engine
from automation.stacks import CourseStacks
from benchmarks.figure import Figure, seconds
from benchmarks.machine import machine
from course_stack.local.machine import local_target
from course_stack.local.services.demo import ensure_demo_people
from course_stack.target import CREDENTIALS_ENV
from tests.cluster.course import ClusterCourse
from tests.cluster.trial import trial_on
from tests.conftest import Machine

ROUNDS = 3


def measure() -> list[Figure]:
    """Seconds of each, in `ROUNDS` rounds; nothing where there is no cluster."""
    path = os.environ.pop("JHAAS_TEST_TARGET", None)
    if path is None:
        return []
    content = yaml.safe_load(Path(path).read_text())
    with machine() as it, tempfile.TemporaryDirectory() as folder:
        os.environ[CREDENTIALS_ENV] = str(it.layout.credentials)
        people = {one.role: one for one in ensure_demo_people(it.layout)}
        with trial_on(content, Machine(it.layout, local_target(it.layout), people), Path(folder)) as trial:
            by_hand, by_stack = ClusterCourse.at(trial, "lab-by-hand"), ClusterCourse.at(trial, "lab-by-stack")
            stacks = CourseStacks(it.settings, trial.target, it.layout)
            keys = by_hand.hub_keys()
            hand: list[float] = []
            removals: list[float] = []
            deploys: list[float] = []
            repeats: list[float] = []
            destroys: list[float] = []
            for _ in range(ROUNDS):
                hand += seconds(lambda: by_hand.put(keys))
                removals += seconds(by_hand.take_away)
                deploys += seconds(lambda: stacks.deploy(by_stack.spec))
                repeats += seconds(lambda: stacks.update(by_stack.spec))
                destroys += seconds(lambda: stacks.destroy(by_stack.spec.slug))
            by_hand.remove()
    above = tuple(deploy - alone for deploy, alone in zip(deploys, hand, strict=True))
    note = pulumi_engine(engine_choice()).title
    return [
        Figure("cluster: kubectl apply and helm install --wait", "s", tuple(hand)),
        Figure("cluster: helm uninstall and namespace gone", "s", tuple(removals)),
        Figure("cluster: deploy", "s", tuple(deploys), note=note),
        Figure("cluster: deploy, above kubectl and helm", "s", above, bound=6, note=note),
        Figure("cluster: update without a change", "s", tuple(repeats), bound=4, note=note),
        Figure("cluster: destroy", "s", tuple(destroys), bound=12, note=note),
    ]
