"""What may be done to a person's place in a course, as one pure function. Nothing here knows a database or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from portal.lifecycle import JOINABLE, STATUS_NAMES, Refusal, Status
from portal.texts import N_


class Standing(StrEnum):
    """Where a person stands in a course (`Participation.status`)."""

    WAITING = "waiting"
    """Asked to join; a lead has to consent. Holds no seat."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REMOVED = "removed"
    LEFT = "left"


class Deed(StrEnum):
    """What is done to a place."""

    JOIN = "join"
    """By the person, with the course's code."""
    LEAVE = "leave"
    """By the person: out of the course, or the request taken back."""
    ACCEPT = "accept"
    REJECT = "reject"
    REMOVE = "remove"
    LIFT = "lift"
    """The code works again for somebody who was rejected or removed."""


BY_LEADS = frozenset({Deed.ACCEPT, Deed.REJECT, Deed.REMOVE, Deed.LIFT})

DEAD_CODE = "dead_code"
"""Code of the refusal that a page answers exactly as it answers an unknown code."""

STANDING_NAMES: dict[Standing, str] = {
    Standing.WAITING: N_("waiting for a lead"),
    Standing.ACCEPTED: N_("participant"),
    Standing.REJECTED: N_("rejected"),
    Standing.REMOVED: N_("removed"),
    Standing.LEFT: N_("left"),
}
"""How people read them (message ids)."""

_OPEN_TO_ENDING = JOINABLE | {Status.CLOSING, Status.CLOSED}
"""A course that is over may be extended: whom it should then not let in again can be settled until it is removed."""

_FROM: dict[Deed, frozenset[Standing]] = {
    Deed.LEAVE: frozenset({Standing.WAITING, Standing.ACCEPTED}),
    Deed.ACCEPT: frozenset({Standing.WAITING, Standing.REJECTED, Standing.REMOVED}),
    Deed.REJECT: frozenset({Standing.WAITING}),
    Deed.REMOVE: frozenset({Standing.ACCEPTED}),
    Deed.LIFT: frozenset({Standing.REJECTED, Standing.REMOVED}),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A person's place: `standing` is None for somebody who never asked."""

    standing: Standing | None = None
    code_is_dead: bool = False

    @property
    def has_access(self) -> bool:
        return self.standing is Standing.ACCEPTED


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules ask of the course and the person."""

    status: Status
    is_over: bool
    """Its last day has passed, or it was ended early."""
    asks: bool
    """Its code asks for a lead's consent, instead of admitting at once."""
    is_lead: bool
    """The person leads the course."""
    seats: int
    """Of the approved spec."""
    taken: int
    """Seats of accepted participants."""


def decide(deed: Deed, place: Place, facts: Facts) -> Place | Refusal:
    """The place after the deed, or why it is not possible. A place that stays as it is means: nothing to do."""
    if deed is Deed.JOIN:
        return _join(place, facts)
    if facts.status not in (JOINABLE if deed is Deed.ACCEPT else _OPEN_TO_ENDING):
        return Refusal(
            "not_now",
            N_("That is not possible in a course that is %(status)s."),
            (("status", STATUS_NAMES[facts.status]),),
        )
    if place.standing is None or place.standing not in _FROM[deed]:
        if place.standing is None:
            return Refusal("no_place", N_("This person has no place in the course."))
        return Refusal(
            "changed",
            N_("Nothing was changed. This person's place in the course: %(standing)s."),
            (("standing", STANDING_NAMES[place.standing]),),
        )
    match deed:
        case Deed.ACCEPT if facts.is_lead:
            return _LEADS_ARE_IN
        case Deed.ACCEPT if facts.taken >= facts.seats:
            return _full(facts)
        case Deed.ACCEPT:
            return Place(Standing.ACCEPTED)
        case Deed.REJECT:
            return Place(Standing.REJECTED, code_is_dead=True)
        case Deed.REMOVE:
            return Place(Standing.REMOVED, code_is_dead=True)
        case Deed.LEAVE:
            return Place(Standing.LEFT)
    return Place(place.standing)  # LIFT


_LEADS_ARE_IN = Refusal("lead", N_("Who leads the course takes part in it anyway, without a seat."))


def _join(place: Place, facts: Facts) -> Place | Refusal:
    if place.code_is_dead or facts.status not in JOINABLE or facts.is_over:
        return Refusal(DEAD_CODE, N_("This link does not work, or no longer."))
    if facts.is_lead:
        return _LEADS_ARE_IN
    if place.standing is Standing.ACCEPTED:
        return place
    if facts.asks:
        return Place(Standing.WAITING)
    if facts.taken >= facts.seats:
        return _full(facts)
    return Place(Standing.ACCEPTED)


def _full(facts: Facts) -> Refusal:
    return Refusal(
        "full",
        N_("The course is full: all of its %(seats)s seats are taken. Its teachers can ask for more."),
        (("seats", str(facts.seats)),),
    )
