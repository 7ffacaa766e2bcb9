"""A hub's objects on a cluster through the engine: in order, once, changed alone, and gone with their namespace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from automation.stacks import CourseStacks
from course_stack.spec import CourseSpec, load_spec
from tests.automation.conftest import Site
from tests.automation.kubernetes_double import asked, install, objects
from tests.course_stack.specs import course

NAMESPACE = "Namespace/jhaas-python-intro"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for a cluster, with its kubeconfig in it, and a provider that knows it by that alone."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "kubeconfig").write_text("")
    install(tmp_path / "bin")
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


def stacks(site: Site) -> CourseStacks:
    return site.stacks(program="tests.automation.kubernetes_double:program", engine="embedded")


def spec(**changes: object) -> CourseSpec:
    return load_spec(course(**changes))


def test_a_hub_comes_up_in_order_changes_by_what_changed_and_goes_with_its_namespace(
    site: Site, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stacks(site).deploy(spec())
    assert made.outputs["hub_url"] == "https://python-intro.hubs.example.org/"
    first = asked(cluster)
    assert (first[0], first[-1]) == (f"create {NAMESPACE}", "create release")
    assert len(first) == len(set(first)) == len(objects(cluster)) == 11

    # another worker has its kubeconfig elsewhere: nothing changes for that
    elsewhere = cluster.with_name("elsewhere")
    elsewhere.symlink_to(cluster)
    monkeypatch.setenv("KUBECONFIG", str(elsewhere / "kubeconfig"))
    unchanged = stacks(site).update(spec())
    assert [step for step in unchanged.steps if step.action != "same"] == []
    assert asked(cluster) == first

    stacks(site).update(spec(seats=30))
    assert sorted(asked(cluster)[len(first) :]) == ["update ResourceQuota/course", "update release"]

    before = len(asked(cluster))
    stacks(site).destroy("python-intro")
    # one deletion: what is in it goes with it
    assert asked(cluster)[before:] == [f"delete {NAMESPACE}"]
    assert objects(cluster) == {}
    assert site.state_keys("python-intro") == []


def test_the_keys_of_the_hub_are_in_the_state_as_ciphertext_only(site: Site, cluster: Path) -> None:
    stacks(site).deploy(spec())
    release = objects(cluster)["release"]
    text = "".join(path.read_text(errors="replace") for path in (site.home / "state").rglob("*") if path.is_file())
    assert "client-secret" not in text
    for key in ("secretToken", "cookieSecret"):
        assert key in text
    for value in (release["values"]["proxy"]["secretToken"], release["values"]["hub"]["cookieSecret"]):
        assert len(value["value"]) == 64
        assert value["value"] not in text
