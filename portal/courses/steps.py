"""What comes next in a course's life, in words for those who wait for it. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from portal.lifecycle import Status
from portal.texts import N_

NEXT_FOR_LEADS: dict[Status, str] = {
    Status.REQUESTED: N_("Governance decides. You get a mail as soon as it has."),
    Status.REJECTED: N_("You can ask again with other figures."),
    Status.WITHDRAWN: N_("Nothing happens any more. You can ask for the same again."),
    Status.EXPIRED: N_("Its last day passed before it was set up. You can ask for the same again."),
    Status.APPROVED: N_("It is set up by itself before the first day. Pass on the link to join."),
    Status.DEPLOYING: N_("It is being set up and then checked with a real notebook. That takes some minutes."),
    Status.DEPLOY_FAILED: N_(
        "Setting it up failed several times. Governance looks into it; you can have it tried again."
    ),
    Status.ACTIVE: N_("It runs. You get a mail before it ends, and can extend it until then and for some days after."),
    Status.CLOSING: N_("It is over, and its notebooks are being stopped. You can still extend it."),
    Status.CLOSED: N_("It is over, and every file is being kept. You can still extend it."),
    Status.REMOVING: N_("Its hub is being removed. The copies of all files are kept."),
    Status.REMOVAL_FAILED: N_("Its hub could not be removed. Governance looks into it; you need not do anything."),
    Status.ARCHIVED: N_("It is gone, and the copies of all files are kept for some time."),
    Status.PURGED: N_("It is gone, and its copies are deleted."),
}
"""Message ids."""

NEXT_FOR_PARTICIPANTS: dict[Status, str] = {
    Status.APPROVED: N_("You get a mail as soon as it is ready."),
    Status.DEPLOYING: N_("It is being set up. You get a mail as soon as it is ready."),
    Status.DEPLOY_FAILED: N_("It is not ready yet. Your teachers know."),
    Status.ACTIVE: N_("You can open your notebook."),
    Status.CLOSING: N_("It is over. Your files are being copied."),
    Status.CLOSED: N_("It is over. Your files are being copied."),
    Status.REMOVING: N_("It is over. The copy of your files is kept."),
    Status.REMOVAL_FAILED: N_("It is over. The copy of your files is kept."),
    Status.ARCHIVED: N_("It is over. The copy of your files is kept for some time."),
    Status.PURGED: N_("It is over, and the copy of your files is deleted."),
    Status.WITHDRAWN: N_("The course does not take place."),
    Status.EXPIRED: N_("The course does not take place."),
}
"""Message ids, for the statuses in which a course has participants."""

NOT_YET = N_("You can open your notebook from the first day on.")
IN_A_MOMENT = N_("It runs. You are being let in; that takes a minute.")

ORDER: tuple[tuple[str, frozenset[Status]], ...] = (
    (N_("Something went wrong"), frozenset({Status.DEPLOY_FAILED, Status.REMOVAL_FAILED})),
    (N_("Running"), frozenset({Status.ACTIVE})),
    (N_("Coming"), frozenset({Status.APPROVED, Status.DEPLOYING})),
    (N_("Waiting for approval"), frozenset({Status.REQUESTED})),
    (N_("Ending"), frozenset({Status.CLOSING, Status.CLOSED, Status.REMOVING})),
    (
        N_("Over"),
        frozenset({Status.ARCHIVED, Status.PURGED, Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED}),
    ),
)
"""Headings of “My courses” (message ids) and the statuses below them: what needs somebody comes first."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a course's life, as `macros/life.html` draws it."""

    what: str
    """Message id."""
    day: dt.date | None
    state: str
    """done, now, next or failed."""


def next_step(status: Status, *, leads: bool, has_begun: bool, let_in: str = "everybody") -> str:
    """The next step for a lead (or governance), or for a participant (message id). `let_in`: whom the hub lets in
    (`Course.people_access`)."""
    if leads:
        return NEXT_FOR_LEADS[status]
    if status is Status.ACTIVE and not has_begun:
        return NOT_YET
    if status is Status.ACTIVE and let_in != "everybody":
        return IN_A_MOMENT
    return NEXT_FOR_PARTICIPANTS.get(status, "")


def may_enter(status: Status, *, leads: bool, accepted: bool, let_in: str, is_on: bool) -> bool:
    """Whether the hub lets somebody in: leads while it is there, participants from the first day to the last
    (`is_on`), once the hub knows that (`let_in`: `Course.people_access`)."""
    if leads:
        return status in (Status.ACTIVE, Status.CLOSING, Status.CLOSED)
    return accepted and is_on and let_in == "everybody" and status is Status.ACTIVE


def life_of(
    status: Status,
    *,
    requested: dt.date,
    deploy: dt.date,
    first: dt.date,
    last: dt.date,
    destroy: dt.date,
    today: dt.date,
) -> list[Step]:
    """The whole life with its days, done steps and the one of now."""
    if status in (Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED):
        ends = {
            Status.REJECTED: N_("Rejected"),
            Status.WITHDRAWN: N_("Withdrawn"),
            Status.EXPIRED: N_("Expired"),
        }
        return [Step(N_("Asked for"), requested, "done"), Step(ends[status], None, "failed")]
    steps = [
        (N_("Asked for"), requested, ()),
        (N_("Approved"), None, (Status.REQUESTED,)),
        (N_("Set up and checked"), deploy, (Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED)),
        (N_("Participants get in"), first, (Status.ACTIVE,) if today < first else ()),
        (N_("Last day"), last, (Status.ACTIVE,)),
        (N_("Files are copied"), None, (Status.CLOSING, Status.CLOSED)),
        (N_("Hub removed"), destroy, (Status.REMOVING, Status.REMOVAL_FAILED)),
        (N_("Copies deleted"), None, (Status.ARCHIVED,)),
    ]
    now = next((number for number, (_, _, at) in enumerate(steps) if status in at), len(steps))
    failed = status in (Status.DEPLOY_FAILED, Status.REMOVAL_FAILED)
    return [
        Step(what, day, "done" if number < now else "next" if number > now else "failed" if failed else "now")
        for number, (what, day, _) in enumerate(steps)
    ]
