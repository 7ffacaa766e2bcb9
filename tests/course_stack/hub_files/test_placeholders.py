"""Room for the next notebooks: kept while a course is used, given up as soon as somebody needs it."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_stack.hub_files.placeholders import IN_USE_SECONDS, Pod, Steps, look, steps

NOW = dt.datetime(2027, 4, 12, 10, 0, tzinfo=dt.UTC)


def notebook(number: int, age: int = 60, node: str | None = "one", phase: str = "Running") -> Pod:
    return Pod(f"jupyter-{number}", "singleuser-server", phase, node, NOW - dt.timedelta(seconds=age))


def placeholder(number: int, node: str | None = "one", phase: str = "Running") -> Pod:
    return Pod(f"placeholder-{number}", "placeholder", phase, node, NOW)


def test_room_is_made_when_the_first_person_comes() -> None:
    assert steps([], NOW, keep=2, most=20) == Steps()
    assert steps([notebook(0)], NOW, keep=2, most=20) == Steps(make=("placeholder-0", "placeholder-1"))


def test_an_hour_after_the_last_start_the_room_is_given_back() -> None:
    pods = [notebook(0, age=IN_USE_SECONDS), placeholder(0), placeholder(1)]
    assert steps(pods, NOW, keep=2, most=20) == Steps(remove=("placeholder-0", "placeholder-1"))
    assert steps([notebook(1, age=IN_USE_SECONDS - 1), *pods], NOW, keep=2, most=20) == Steps()


def test_a_notebook_that_waits_for_a_node_gets_the_room_of_a_placeholder_that_has_one() -> None:
    pods = [notebook(0), notebook(1, node=None, phase="Pending"), placeholder(0, node=None), placeholder(1)]
    assert steps(pods, NOW, keep=2, most=20) == Steps(remove=("placeholder-1",))


def test_without_need_placeholders_that_wait_go_first() -> None:
    pods = [notebook(0), placeholder(0), placeholder(1, node=None, phase="Pending")]
    assert steps(pods, NOW, keep=1, most=20) == Steps(remove=("placeholder-1",))


def test_an_ended_placeholder_is_removed_and_replaced() -> None:
    pods = [notebook(0), placeholder(0, phase="Failed")]
    assert steps(pods, NOW, keep=2, most=20) == Steps(make=("placeholder-1",), remove=("placeholder-0",))


def test_an_ended_notebook_counts_for_nothing() -> None:
    assert steps([notebook(0, phase="Succeeded")], NOW, keep=2, most=20) == Steps()


_NOTEBOOKS = st.lists(
    st.builds(
        notebook,
        st.integers(0, 99),
        st.integers(0, 2 * IN_USE_SECONDS),
        st.sampled_from(["one", None]),
        st.sampled_from(["Running", "Pending", "Failed"]),
    ),
    max_size=8,
    unique_by=lambda pod: pod.name,
)
_PLACEHOLDERS = st.lists(
    st.builds(
        placeholder,
        st.integers(0, 5),
        st.sampled_from(["one", None]),
        st.sampled_from(["Running", "Pending", "Failed"]),
    ),
    max_size=5,
    unique_by=lambda pod: pod.name,
)


@given(_NOTEBOOKS, _PLACEHOLDERS, st.integers(1, 5), st.integers(1, 8))
def test_placeholders_and_notebooks_are_never_made_more_than_the_course_has(
    notebooks: list[Pod], placeholders: list[Pod], keep: int, most: int
) -> None:
    todo = steps([*notebooks, *placeholders], NOW, keep, most)
    names = {pod.name for pod in placeholders}
    left = (names - set(todo.remove)) | set(todo.make)
    running = [pod for pod in notebooks if pod.phase != "Failed"]
    assert len(left) <= keep
    assert len(left) <= max(0, most - len(running))
    assert set(todo.remove) <= names
    assert not names & set(todo.make)
    assert not (todo.make and any(pod.node is None for pod in running) and len(left) >= keep)


class _Answer(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class _Cluster:
    """The few calls that are made of a cluster; each change is answered with `status`, or works."""

    def __init__(self, pods: list[Pod], status: int | None = None) -> None:
        self.pods, self.status = pods, status
        self.calls: list[str] = []

    async def list_namespaced_pod(self, namespace: str, **_: Any) -> Any:
        return SimpleNamespace(items=[_described(pod) for pod in self.pods])

    async def create_namespaced_pod(self, namespace: str, manifest: dict[str, Any]) -> None:
        self._change(f"create {manifest['metadata']['name']} {manifest['metadata']['labels']['component']}")

    async def delete_namespaced_pod(self, name: str, namespace: str, **_: Any) -> None:
        self._change(f"delete {name}")

    def _change(self, call: str) -> None:
        self.calls.append(call)
        if self.status:
            raise _Answer(self.status)


def _described(pod: Pod) -> Any:
    return SimpleNamespace(
        metadata=SimpleNamespace(
            name=pod.name, labels={"component": pod.component}, creation_timestamp=dt.datetime.now(dt.UTC)
        ),
        status=SimpleNamespace(phase=pod.phase),
        spec=SimpleNamespace(node_name=pod.node),
    )


def _look(cluster: _Cluster) -> list[str]:
    pod = {"metadata": {"labels": {"component": "placeholder"}}}
    asyncio.run(look(cluster, "jhaas-python-intro", {"keep": 1, "most": 5, "pod": pod}))
    return cluster.calls


def test_a_look_makes_and_removes_what_is_to_be() -> None:
    assert _look(_Cluster([notebook(0)])) == ["create placeholder-0 placeholder"]
    assert _look(_Cluster([placeholder(0)])) == ["delete placeholder-0"]


def test_what_is_there_or_gone_already_is_fine_and_anything_else_is_told() -> None:
    assert _look(_Cluster([notebook(0)], status=409)) == ["create placeholder-0 placeholder"]
    assert _look(_Cluster([placeholder(0)], status=404)) == ["delete placeholder-0"]
    with pytest.raises(_Answer):
        _look(_Cluster([notebook(0)], status=403))
