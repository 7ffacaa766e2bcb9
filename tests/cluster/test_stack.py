"""A course on a cluster by the path that the portal takes: `CourseStacks`, Pulumi with its Kubernetes provider, Helm.

`CHAOS_SEED` repeats the random test, `CHAOS_ROUNDS` sets its length (default 6).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from automation import processes
from automation.job import Timing
from automation.settings import ENGINE_ENV, StateSettings
from automation.stacks import CourseStacks
from automation.state import StackState, StateStore
from course_stack import object_store
from course_stack.kubernetes.names import ClusterNames
from course_stack.spec import CourseSpec
from tests.cluster import kube
from tests.cluster.course import ClusterCourse
from tests.cluster.engines import ENGINES, Engine, skip_without
from tests.cluster.trial import Trial
from tests.support.starter import Started
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.machine]


@dataclass
class Site:
    """One engine, and a course that it puts on the cluster."""

    trial: Trial
    engine: Engine

    def __post_init__(self) -> None:
        self.settings = StateSettings.of_machine(self.trial.machine.layout)
        self.course = ClusterCourse.at(self.trial, f"lab-stack-{self.engine}")

    @property
    def slug(self) -> str:
        return self.course.spec.slug

    @property
    def namespace(self) -> str:
        return ClusterNames(self.slug).namespace

    def stacks(self) -> CourseStacks:
        """As another process would have it."""
        timing = Timing(deadline=500, graceful=30, abandoned=1, abort=2)
        layout = self.trial.machine.layout
        return CourseStacks(self.settings, self.trial.target, layout, engine=self.engine, timing=timing)

    def spec(self, title: str) -> CourseSpec:
        """The course; a title changes the hub (its page of refusal names the course)."""
        return self.course.spec.model_copy(update={"title": title})

    def start(self, kind: str, title: str = "") -> Started:
        """An operation in another process, for being killed."""
        spec = None if kind == "destroy" else self.spec(title).model_dump(mode="json")
        layout = self.trial.machine.layout
        return Started(
            layout.home, self.settings, self.trial.target, kind, self.slug, spec, environment={ENGINE_ENV: self.engine}
        )

    def kill(self, running: Started, when: Callable[[], bool]) -> bool:
        """Kill the starter and the whole tree once `when` is true; False if the operation was over before."""
        wait_for(lambda: running.process.poll() is not None or when(), "the moment to kill", 300)
        over = running.process.poll() is not None
        operation = running.operation
        running.kill_everything()
        running.wait()
        if operation is not None:
            wait_for(lambda: not processes.of_operation(operation), "the end of the tree")
        return not over

    def release_states(self) -> set[str]:
        """What Helm says of the revisions of the course's release."""
        found = kube.show("secrets", "-n", self.namespace, "-l", f"owner=helm,name={ClusterNames(self.slug).release}")
        return {one["metadata"]["labels"]["status"] for one in found}

    def phase(self) -> str | None:
        """Of the namespace: Active, Terminating; None where there is none."""
        found = [one for one in kube.show("namespaces") if one["metadata"]["name"] == self.namespace]
        return str(found[0]["status"]["phase"]) if found else None

    def assert_whole(self, title: str) -> None:
        """State without anything interrupted, one release that is deployed, a hub at which the change arrived."""
        store = StateStore.of(self.settings, "jhaas-course")
        state = store.stack(self.slug)
        assert isinstance(state, StackState)
        assert state.whole
        assert not state.pending
        assert "deployed" in self.release_states()
        assert not {status for status in self.release_states() if status.startswith("pending")}
        stranger = self.trial.machine.people["stranger"]
        page = self.course.person("stranger").sign_in(stranger.login, stranger.password)
        assert page.status_code == 403
        assert title in page.text

    def assert_gone(self) -> None:
        """Nothing in the state, in the cluster, at the identity provider, at the object store."""
        assert self.slug not in self.stacks().names()
        assert self.course.traces() == []
        store = object_store.connect(self.trial.target, self.trial.machine.layout.credentials)
        assert self.course.names.bucket not in store.bucket_names(self.course.names.bucket)
        assert self.course.names.store_user not in store.user_names(self.course.names.store_user)


@pytest.fixture(scope="module", params=ENGINES)
def site(request: pytest.FixtureRequest, trial: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nothing of the course is there before and after the module."""
    skip_without(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_HOME", str(tmp_path_factory.mktemp("pulumi")))
        site = Site(trial, request.param)
        site.stacks().destroy(site.slug)
        yield site
        site.stacks().destroy(site.slug)


def test_a_course_comes_up_stays_as_it_is_changes_and_goes_without_a_trace(site: Site) -> None:
    made = site.stacks().deploy(site.spec("First title"))
    assert made.outputs["hub_url"] == site.course.url
    site.course.secrets["api_token"] = site.stacks().outputs(site.slug)["api_token"].value
    student = site.course.signed_in("student")
    student.start_server()
    assert student.run_cell("print(6 * 7)") == "42\n"
    assert student.name in {one["name"] for one in site.course.portal.api("GET", "users").json()}
    site.assert_whole("First title")

    again = site.stacks().update(site.spec("First title"))
    assert set(again.changes) == {"same"}
    assert site.stacks().refresh(site.slug) == []

    changed = site.stacks().update(site.spec("Second title"))
    assert changed.changes["update"] >= 1
    assert not {"create", "delete", "replace"} & set(changed.changes)
    site.assert_whole("Second title")
    assert student.server_ready()
    assert student.run_cell("print('still there')") == "still there\n"

    site.stacks().destroy(site.slug)
    site.assert_gone()


def _moments(site: Site) -> dict[str, Callable[[], bool]]:
    return {
        "the namespace is there": lambda: site.phase() == "Active",
        "Helm has begun": lambda: "pending-install" in site.release_states(),
        "the hub starts": lambda: bool(site.course.pods("hub")),
    }


@pytest.mark.parametrize("moment", ["the namespace is there", "Helm has begun", "the hub starts"])
@pytest.mark.parametrize("following", ["deploy", "destroy"])
def test_a_deploy_that_was_killed_is_brought_to_its_end_or_removed(site: Site, moment: str, following: str) -> None:
    assert site.kill(site.start("deploy", "Killed"), _moments(site)[moment])
    if following == "deploy":
        site.stacks().deploy(site.spec("After it"))
        site.assert_whole("After it")
    site.stacks().destroy(site.slug)
    site.assert_gone()


def test_a_change_that_was_killed_while_helm_worked_is_brought_to_its_end(site: Site) -> None:
    site.stacks().deploy(site.spec("Before it"))
    assert site.kill(site.start("update", "Killed"), lambda: "pending-upgrade" in site.release_states())
    site.stacks().update(site.spec("After it"))
    site.assert_whole("After it")


@pytest.mark.parametrize("following", ["destroy", "deploy"])
def test_a_removal_that_was_killed_is_brought_to_its_end_or_undone(site: Site, following: str) -> None:
    site.stacks().deploy(site.spec("To be removed"))
    assert site.kill(site.start("destroy"), lambda: site.phase() != "Active")
    if following == "deploy":
        site.stacks().deploy(site.spec("Wanted again"))
        site.assert_whole("Wanted again")
    site.stacks().destroy(site.slug)
    site.assert_gone()


def test_a_course_whose_namespace_somebody_removed_is_made_anew(site: Site) -> None:
    site.stacks().deploy(site.spec("Before it"))
    kube.kubectl("delete", "namespace", site.namespace, "--wait=false")
    site.stacks().update(site.spec("After it"))
    site.assert_whole("After it")


def test_homes_and_running_notebooks_hold_up_no_removal(site: Site) -> None:
    site.stacks().deploy(site.spec("With people"))
    site.course.signed_in("student").start_server()
    assert site.course.pods("singleuser-server")
    site.stacks().destroy(site.slug)
    site.assert_gone()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_was_killed_at_whatever_moment_the_next_run_converges(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    draw = random.Random(seed)
    there = False
    with capsys.disabled():
        print(f"\n{site.engine}, seed {seed}")
        for number in range(int(os.environ.get("CHAOS_ROUNDS", "6"))):
            kind = draw.choice(("update", "destroy", "deploy")) if there else "deploy"
            seconds, title = draw.uniform(1, 15), f"Round {number}"
            moment = time.monotonic() + seconds
            struck = site.kill(site.start(kind, title), partial(_reached, moment))
            following = draw.choice(("deploy", "deploy", "destroy"))
            began = time.monotonic()
            if following == "deploy":
                site.stacks().deploy(site.spec(title))
                site.assert_whole(title)
            else:
                site.stacks().destroy(site.slug)
                site.assert_gone()
            there = following == "deploy"
            fate = f"killed after {seconds:.1f} s" if struck else "over before it could be killed"
            print(f"{number:>3}  {kind:<8} {fate:<32} {following:<8} {time.monotonic() - began:5.1f} s", flush=True)


def _reached(moment: float) -> bool:
    return time.monotonic() >= moment
