"""Killed at the points that matter most, an operation is finished by the next one: nothing lost, nothing made twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from tests.chaos.conftest import Arena, Victim
from tests.support.proxy import Request

pytestmark = pytest.mark.machine


def s3(method: str, part: str) -> Callable[[Request], bool]:
    """A request to the state store for a key with this in it; copies are PUTs as well."""
    return lambda request: request.method == method and part in request.path


POINTS: list[tuple[str, str, Victim, str, Literal["before", "after"], Callable[[Request], bool]]] = [
    ("stack init", "deploy", "tree", "state", "after", s3("PUT", "/locks/organization/jhaas-course/SLUG/")),
    ("first state write", "deploy", "child", "state", "after", s3("PUT", "/SLUG.json")),
    ("effect and reply", "deploy", "tree", "identity", "after", s3("POST", "/oauth/register")),
    ("lock write", "update", "starter", "state", "after", s3("PUT", "/locks/organization/jhaas-course/SLUG/")),
    ("backup copy", "update", "tree", "state", "after", s3("PUT", "/SLUG.json.bak")),
    ("effect and reply", "destroy", "child", "identity", "after", s3("DELETE", "/oauth/register")),
    ("stack rm", "destroy", "tree", "state", "after", s3("DELETE", "/history/jhaas-course/SLUG/")),
]


@pytest.mark.parametrize(
    ("kind", "victim", "service", "moment", "matches"),
    [point[1:] for point in POINTS],
    ids=[f"{kind}: {name} ({victim})" for name, kind, victim, *_ in POINTS],
)
def test_the_next_run_converges(
    arena: Arena,
    slugs: Iterator[str],
    kind: str,
    victim: Victim,
    service: str,
    moment: Literal["before", "after"],
    matches: Callable[[Request], bool],
) -> None:
    slug = next(slugs)
    if kind != "deploy":
        arena.stacks().deploy(arena.spec(slug))

    def at(request: Request) -> bool:
        # A marker of ours lies where the locks are.
        return "/.keep/" not in request.path and matches(
            Request(request.method, request.path.replace(slug, "SLUG"), request.query, request.headers)
        )

    assert arena.kill(arena.start(kind, slug, "Chaos, changed"), victim, service, moment, at)

    if kind == "destroy":
        arena.stacks().destroy(slug)
    else:
        getattr(arena.stacks(), kind)(arena.spec(slug, "Chaos, changed"))
        arena.assert_whole(slug)
        assert arena.stacks().refresh(slug) == []
        arena.stacks().destroy(slug)
    arena.assert_gone(slug)
    arena.assert_bystander_untouched()
