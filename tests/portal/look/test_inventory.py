"""What is on a target compared with the courses: each kind of difference is found and written down."""

from __future__ import annotations

import pytest

from automation.audit import Audit, StackAudit, Thing
from course_stack.target import Target
from portal import platform
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import TargetRecord
from portal.worker.inventory import FINDINGS, Finding, findings, take_inventory
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course


def stack(slug: str, **changes: object) -> StackAudit:
    facts: dict[str, object] = {"updated": None, "resources": 5, "interrupted": (), "locks": (), "missing": ()}
    return StackAudit(slug, **{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("audit", "courses", "expected"),
    [
        (Audit((stack("a"),), (), {}), {"a": Status.ACTIVE}, []),
        (Audit((stack("a"),), (), {}), {}, [Finding("no_course", "a")]),
        (Audit((), (), {}), {"a": Status.ACTIVE}, [Finding("no_stack", "a", "active")]),
        (Audit((), (), {}), {"a": Status.CLOSED}, [Finding("no_stack", "a", "closed")]),
        (Audit((), (), {}), {"a": Status.DEPLOYING, "b": Status.REMOVING, "c": Status.DEPLOY_FAILED}, []),
        (
            Audit((stack("a", missing=(Thing("group", "jhaas-a"),)),), (), {}),
            {"a": Status.ACTIVE},
            [Finding("part_missing", "a", "group jhaas-a")],
        ),
        (Audit((stack("a", damage="no JSON"),), (), {}), {"a": Status.ACTIVE}, [Finding("unreadable", "a", "no JSON")]),
        (
            Audit((stack("a", interrupted=("creating hub",)),), (), {}),
            {"a": Status.ACTIVE},
            [Finding("interrupted", "a", "creating hub")],
        ),
        (Audit((), (Thing("bucket", "jhaas-x"),), {}), {}, [Finding("stray", "jhaas-x", "bucket")]),
        (Audit((), (), {"old": ["key"]}), {}, [Finding("leftover", "old", "key")]),
    ],
)
def test_each_difference_is_found(audit: Audit, courses: dict[str, Status], expected: list[Finding]) -> None:
    assert findings(audit, courses) == expected
    assert {one.kind for one in expected} <= set(FINDINGS)


def test_what_was_found_is_written_down_and_replaced_by_the_next_look(
    session_factory: Sessions, clock: MovableClock
) -> None:
    with transaction(session_factory) as session:
        make_course(session, clock, slug="there", status=Status.ACTIVE)
        make_course(session, clock, slug="over", status=Status.ARCHIVED)
    assert take_inventory(session_factory, clock, lambda _target: Audit((stack("over"),), (), {})) == 2
    with session_factory() as session:
        record = session.get_one(TargetRecord, "local")
        assert record.inventory_at == clock.now()
        assert {one["kind"] for one in record.inventory["findings"]} == {"no_course", "no_stack"}
        assert not platform.overview(session, clock).in_order
    assert take_inventory(session_factory, clock, lambda _target: Audit((stack("there"),), (), {})) == 0
    with session_factory() as session:
        assert platform.overview(session, clock).in_order


def test_a_target_that_does_not_answer_says_so(session_factory: Sessions, clock: MovableClock) -> None:
    with transaction(session_factory) as session:
        make_course(session, clock, status=Status.ACTIVE)

    def away(target: Target) -> Audit:
        raise ConnectionError(f"{target.name} does not answer\nand more")

    assert take_inventory(session_factory, clock, away) == 0
    with session_factory() as session:
        inventory = session.get_one(TargetRecord, "local").inventory
        assert inventory == {"findings": [], "failure": "ConnectionError: local does not answer"}
        assert not platform.overview(session, clock).in_order
