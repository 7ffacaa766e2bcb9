"""The rules of places, for every combination of what they ask."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from portal.lifecycle import JOINABLE, Refusal, Status
from portal.participants.rules import BY_LEADS, DEAD_CODE, Deed, Facts, Place, Standing, decide

SEATS = 3


def everything(deed: Deed) -> Iterator[tuple[Place, Facts, Place | Refusal]]:
    """Each place that can be, in each course, and what the deed makes of it."""
    for standing, dead, status, over, asks, lead, taken in itertools.product(
        [None, *Standing], (False, True), Status, (False, True), (False, True), (False, True), range(SEATS + 2)
    ):
        if dead and standing not in (Standing.REJECTED, Standing.REMOVED):
            continue
        place = Place(standing, dead)
        facts = Facts(status, over, asks, lead, SEATS, taken)
        yield place, facts, decide(deed, place, facts)


@pytest.mark.parametrize("deed", list(Deed))
def test_only_joining_and_accepting_give_access_and_only_while_there_is_a_seat(deed: Deed) -> None:
    for place, facts, after in everything(deed):
        if isinstance(after, Place) and after.has_access and not place.has_access:
            assert deed in (Deed.JOIN, Deed.ACCEPT)
            assert facts.taken < facts.seats
            assert facts.status in JOINABLE
            assert not facts.is_lead


@pytest.mark.parametrize("deed", [Deed.REJECT, Deed.REMOVE, Deed.LEAVE])
def test_rejecting_removing_and_leaving_always_end_access(deed: Deed) -> None:
    outcomes = [after for _, _, after in everything(deed)]
    assert any(isinstance(after, Place) for after in outcomes)
    assert not any(isinstance(after, Place) and after.has_access for after in outcomes)


def test_a_dead_code_stays_dead_until_it_is_lifted_or_the_person_accepted() -> None:
    for deed in Deed:
        for place, _, after in everything(deed):
            if place.code_is_dead and isinstance(after, Place) and not after.code_is_dead:
                assert deed in (Deed.LIFT, Deed.ACCEPT)


def test_joining_with_a_dead_code_or_in_a_closed_course_has_one_answer() -> None:
    refusals = set()
    for place, facts, after in everything(Deed.JOIN):
        if place.code_is_dead or facts.is_over or facts.status not in JOINABLE:
            assert isinstance(after, Refusal)
            assert after.code == DEAD_CODE
            refusals.add(after)
    assert len(refusals) == 1


def test_where_the_code_asks_joining_never_lets_anybody_in() -> None:
    for place, facts, after in everything(Deed.JOIN):
        if facts.asks and isinstance(after, Place) and not place.has_access:
            assert after.standing is Standing.WAITING


def test_nobody_who_left_is_brought_back_by_others() -> None:
    for deed in BY_LEADS:
        for place, _, after in everything(deed):
            if place.standing is Standing.LEFT:
                assert isinstance(after, Refusal)


@pytest.mark.parametrize("deed", list(Deed))
def test_every_refusal_can_be_filled_with_its_values(deed: Deed) -> None:
    for _, _, after in everything(deed):
        if isinstance(after, Refusal):
            assert "%(" not in after.text % dict(after.values)
