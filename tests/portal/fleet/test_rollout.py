"""The order of a fleet's update, and when it stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.fleet.rollout import Member, Outcome, Plan, roll_out, waves

MEMBERS = st.lists(
    st.builds(Member, st.text("abcdef", min_size=1, max_size=4), st.integers(1, 500)), unique_by=lambda one: one.slug
)


class Told:
    """A fleet that does what it is told, and writes down in which order it was asked."""

    def __init__(self, **outcomes: Outcome) -> None:
        self.asked: list[list[str]] = []
        self._outcomes = outcomes

    def members(self) -> Sequence[Member]:
        return []

    def plan(self, slug: str) -> Plan:
        raise AssertionError(f"nobody asks what becomes of {slug}")

    def update(self, slugs: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        self.asked.append(list(slugs))
        for slug in slugs:
            yield slug, self._outcomes.get(slug, Outcome("updated"))


@given(MEMBERS, st.integers(1, 7))
def test_every_course_has_its_turn_once_after_a_first_one_alone(members: list[Member], size: int) -> None:
    order = waves(members, None, size)
    assert sorted(slug for wave in order for slug in wave) == sorted(one.slug for one in members)
    assert [len(wave) for wave in order[:1]] == [1] * bool(members)
    assert all(1 <= len(wave) <= size for wave in order[1:])


@given(MEMBERS.filter(bool), st.data())
def test_the_canary_goes_first_and_else_whoever_has_the_fewest_seats(
    members: list[Member], data: st.DataObject
) -> None:
    canary = data.draw(st.sampled_from(members))
    assert waves(members, canary.slug, 3)[0] == [canary.slug]
    fewest = min(one.seats for one in members)
    assert next(one.seats for one in members if [one.slug] == waves(members, None, 3)[0]) == fewest


def test_a_canary_that_needs_nothing_any_more_keeps_nobody_from_going_first() -> None:
    assert waves([Member("b", 5), Member("a", 9)], "done", 3) == [["b"], ["a"]]


def test_a_wave_has_at_least_one_course() -> None:
    with pytest.raises(ValueError, match="at least one course, not 0"):
        waves([Member("a", 1)], None, 0)


def test_no_wave_begins_after_one_in_which_a_course_failed_and_its_others_are_brought_to_their_end() -> None:
    fleet = Told(b=Outcome("failed", "no room"))
    told: list[str] = []
    found = roll_out(fleet, [["a"], ["b", "c"], ["d"]], lambda slug, one: told.append(f"{slug} {one.state}"))
    assert fleet.asked == [["a"], ["b", "c"]]
    assert told == ["a updated", "b failed", "c updated"]
    assert {slug: one.state for slug, one in found.items()} == {
        "a": "updated",
        "b": "failed",
        "c": "updated",
        "d": "waiting",
    }


def test_a_canary_that_fails_is_the_only_one() -> None:
    fleet = Told(a=Outcome("failed", "no room"))
    found = roll_out(fleet, [["a"], ["b", "c"]])
    assert fleet.asked == [["a"]]
    assert [one.state for one in found.values()] == ["failed", "waiting", "waiting"]


def test_a_course_that_was_left_out_stops_nothing() -> None:
    fleet = Told(a=Outcome("left out", "it closes"))
    roll_out(fleet, [["a"], ["b"]])
    assert fleet.asked == [["a"], ["b"]]
