from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from automation.audit import Thing, compare
from automation.failures import CorruptState
from automation.state import Lock, StackState

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def things_of(slug: str) -> frozenset[Thing]:
    return frozenset({Thing("hub", slug), Thing("bucket", f"jhaas-{slug}")})


def stack(name: str, *, whole: bool = True, pending: tuple[dict[str, Any], ...] = (), target: str = "") -> StackState:
    where = {"target": json.dumps({"name": target})} if target else {}
    outputs = {"outputs": {"hub_url": "http://…", **where}} if whole else {}
    root = {"type": "pulumi:pulumi:Stack", "urn": f"urn:pulumi:{name}::jhaas-course::pulumi:pulumi:Stack::x", **outputs}
    return StackState(name, NOW, (root,), pending)


def test_what_fits_is_in_order() -> None:
    audit = compare([stack("physics")], {}, {}, things_of("physics"), things_of)

    assert audit.in_order
    assert audit.stacks[0].slug == "physics"


def test_what_a_whole_stack_lacks_is_missing() -> None:
    audit = compare([stack("physics")], {}, {}, frozenset({Thing("hub", "physics")}), things_of)

    assert audit.stacks[0].missing == (Thing("bucket", "jhaas-physics"),)
    assert not audit.in_order


def test_what_has_no_stack_is_stray() -> None:
    audit = compare([stack("physics")], {}, {}, things_of("physics") | things_of("chemistry"), things_of)

    assert set(audit.stray) == things_of("chemistry")
    assert not audit.in_order


def test_a_stack_that_is_being_made_lacks_nothing_yet_and_explains_what_is_there() -> None:
    pending = ({"type": "creating", "resource": {"urn": "urn:pulumi:physics::jhaas-course::LocalHub::hub"}},)
    audit = compare(
        [stack("physics", whole=False, pending=pending)], {}, {}, frozenset({Thing("hub", "physics")}), things_of
    )

    assert audit.stacks[0].missing == ()
    assert audit.stacks[0].interrupted == ("creating hub",)
    assert audit.stray == ()


def test_a_state_that_cannot_be_read_hides_no_other_and_makes_nothing_stray() -> None:
    damage = CorruptState("The state of stack physics cannot be read", slug="physics")
    audit = compare([damage, stack("art")], {}, {}, things_of("physics") | things_of("art"), things_of)

    assert [(one.slug, one.in_order) for one in audit.stacks] == [("physics", False), ("art", True)]
    assert audit.stray == ()


def test_locks_and_leftovers_are_told() -> None:
    lock = Lock("key", 1, "host", "user", NOW)
    audit = compare([stack("physics")], {"physics": [lock]}, {"gone": ["a key"]}, things_of("physics"), things_of)

    assert audit.stacks[0].locks == (lock,)
    assert audit.leftovers == {"gone": ["a key"]}
    assert not audit.in_order


def test_a_bucket_that_is_kept_on_purpose_is_no_stray() -> None:
    bucket, client = Thing("bucket", "jhaas-history"), Thing("OIDC client", "jhaas-history")

    audit = compare([], {}, {}, frozenset({bucket, client}), things_of, lambda thing: thing.kind == "bucket")

    assert audit.stray == (client,)


def test_stacks_on_other_targets_are_neither_missing_here_nor_stray_at_services_that_targets_share() -> None:
    stacks = [stack("physics", target="campus"), stack("biology", target="city"), stack("older")]
    found = things_of("physics") | things_of("older") | {Thing("bucket", "jhaas-biology")}

    audit = compare(stacks, {}, {}, found, things_of, target="campus")

    assert audit.in_order
    assert [one.slug for one in audit.stacks] == ["physics", "older"]
