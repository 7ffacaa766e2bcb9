"""The life of a course as one pure table: (status, action, role) → next status, or a refusal that says why.

Nothing here reads a clock, a database or a request; what a rule needs to know is in `Circumstances`. Nothing else
in the portal decides about a status.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from portal.texts import N_


class Status(StrEnum):
    """Where a course is in its life."""

    REQUESTED = "requested"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    """Its last day passed before it had a hub."""
    APPROVED = "approved"
    DEPLOYING = "deploying"
    DEPLOY_FAILED = "deploy_failed"
    ACTIVE = "active"
    """A notebook was proven to run. Leads get in now, participants from the first day."""
    CLOSING = "closing"
    """Over; servers are being stopped."""
    CLOSED = "closed"
    """No server runs. Homes are being archived; extension is still possible."""
    REMOVING = "removing"
    REMOVAL_FAILED = "removal_failed"
    ARCHIVED = "archived"
    """An independent look found nothing of the hub; archives are kept for their time."""
    PURGED = "purged"


class Role(StrEnum):
    """In which capacity somebody acts on a course. One person may have several."""

    LEAD = "lead"
    GOVERNANCE = "governance"
    PARTICIPANT = "participant"
    STRANGER = "stranger"
    SYSTEM = "system"
    """The portal itself: scheduler and workers."""


class Action(StrEnum):
    """What may be done to a course."""

    REVISE = "revise"
    """Change a request that nobody has decided yet."""
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    REQUEST_CHANGE = "request_change"
    DECIDE_CHANGE = "decide_change"
    EXTEND = "extend"
    END_EARLY = "end_early"
    RETRY = "retry"
    """Deploy or remove again after the bounded tries failed."""
    WAIVE_ARCHIVES = "waive_archives"
    """Give up the archives that are missing, for the present closing."""
    EXPIRE = "expire"
    DEPLOY = "deploy"
    ACTIVATE = "activate"
    """The deploy succeeded and its check ran a notebook."""
    GIVE_UP_DEPLOY = "give_up_deploy"
    CLOSE = "close"
    FINISH_CLOSING = "finish_closing"
    """Every server is verified to be stopped."""
    REMOVE = "remove"
    FINISH_REMOVAL = "finish_removal"
    """The independent look found nothing."""
    GIVE_UP_REMOVAL = "give_up_removal"
    PURGE = "purge"


SLUG_IS_FREE = frozenset({Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED, Status.ARCHIVED, Status.PURGED})
"""Statuses in which another course may take the slug: there is no hub, and none will come."""

HAS_STACK = frozenset(
    {Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE, Status.CLOSING, Status.CLOSED, Status.REMOVING,
     Status.REMOVAL_FAILED}
)  # fmt: skip
"""Statuses in which a stack may exist."""

HOLDS_COMPUTE = frozenset({Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE, Status.CLOSING})
"""Until servers are verified to be stopped."""

HOLDS_STORAGE = HOLDS_COMPUTE | {Status.CLOSED, Status.REMOVING, Status.REMOVAL_FAILED}
"""Until the independent look."""

JOINABLE = frozenset({Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE})
"""Statuses in which people may join, be accepted and be removed with an effect on access."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What rules ask beside status and role. The defaults are those of a course in the middle of everything."""

    is_over: bool = False
    """Its last day has passed (or it was ended early)."""
    stack_exists: bool = False
    is_own: bool = False
    """The actor asked for the course or leads it."""
    own_approval_allowed: bool = False
    grace_is_over: bool = False
    """`grace_days` have passed since the last server was verified to be stopped."""
    archives_settled: bool = False
    """Every home of this closing has a verified archive, or governance waived the missing ones."""
    retention_is_over: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is not possible. `text` is a message id of the translations, filled with `values`."""

    code: str
    """`not_now`, `not_yours`, or the name of the rule."""
    text: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Rule:
    to: Status
    roles: frozenset[Role]


_LEAD = frozenset({Role.LEAD})
_GOVERNANCE = frozenset({Role.GOVERNANCE})
_EITHER = _LEAD | _GOVERNANCE
_SYSTEM = frozenset({Role.SYSTEM})

_S = Status
_TABLE: dict[tuple[Status, Action], _Rule] = {
    (_S.REQUESTED, Action.REVISE): _Rule(_S.REQUESTED, _LEAD),
    (_S.REQUESTED, Action.APPROVE): _Rule(_S.APPROVED, _GOVERNANCE),
    (_S.REQUESTED, Action.REJECT): _Rule(_S.REJECTED, _GOVERNANCE),
    (_S.REQUESTED, Action.WITHDRAW): _Rule(_S.WITHDRAWN, _EITHER),
    (_S.REQUESTED, Action.EXPIRE): _Rule(_S.EXPIRED, _SYSTEM),
    (_S.APPROVED, Action.WITHDRAW): _Rule(_S.WITHDRAWN, _EITHER),
    (_S.APPROVED, Action.EXPIRE): _Rule(_S.EXPIRED, _SYSTEM),
    (_S.APPROVED, Action.REQUEST_CHANGE): _Rule(_S.APPROVED, _EITHER),
    (_S.APPROVED, Action.DECIDE_CHANGE): _Rule(_S.APPROVED, _GOVERNANCE),
    (_S.APPROVED, Action.EXTEND): _Rule(_S.APPROVED, _EITHER),
    (_S.APPROVED, Action.DEPLOY): _Rule(_S.DEPLOYING, _SYSTEM),
    (_S.DEPLOYING, Action.REQUEST_CHANGE): _Rule(_S.DEPLOYING, _EITHER),
    (_S.DEPLOYING, Action.DECIDE_CHANGE): _Rule(_S.DEPLOYING, _GOVERNANCE),
    (_S.DEPLOYING, Action.EXTEND): _Rule(_S.DEPLOYING, _EITHER),
    (_S.DEPLOYING, Action.ACTIVATE): _Rule(_S.ACTIVE, _SYSTEM),
    (_S.DEPLOYING, Action.GIVE_UP_DEPLOY): _Rule(_S.DEPLOY_FAILED, _SYSTEM),
    (_S.DEPLOYING, Action.END_EARLY): _Rule(_S.REMOVING, _EITHER),
    (_S.DEPLOYING, Action.EXPIRE): _Rule(_S.EXPIRED, _SYSTEM),
    (_S.DEPLOYING, Action.REMOVE): _Rule(_S.REMOVING, _SYSTEM),
    (_S.DEPLOY_FAILED, Action.REQUEST_CHANGE): _Rule(_S.DEPLOY_FAILED, _EITHER),
    (_S.DEPLOY_FAILED, Action.DECIDE_CHANGE): _Rule(_S.DEPLOY_FAILED, _GOVERNANCE),
    (_S.DEPLOY_FAILED, Action.EXTEND): _Rule(_S.DEPLOY_FAILED, _EITHER),
    (_S.DEPLOY_FAILED, Action.RETRY): _Rule(_S.DEPLOYING, _EITHER),
    (_S.DEPLOY_FAILED, Action.END_EARLY): _Rule(_S.REMOVING, _EITHER),
    (_S.DEPLOY_FAILED, Action.EXPIRE): _Rule(_S.EXPIRED, _SYSTEM),
    (_S.DEPLOY_FAILED, Action.REMOVE): _Rule(_S.REMOVING, _SYSTEM),
    (_S.ACTIVE, Action.REQUEST_CHANGE): _Rule(_S.ACTIVE, _EITHER),
    (_S.ACTIVE, Action.DECIDE_CHANGE): _Rule(_S.ACTIVE, _GOVERNANCE),
    (_S.ACTIVE, Action.EXTEND): _Rule(_S.ACTIVE, _EITHER),
    (_S.ACTIVE, Action.END_EARLY): _Rule(_S.CLOSING, _EITHER),
    (_S.ACTIVE, Action.CLOSE): _Rule(_S.CLOSING, _SYSTEM),
    (_S.CLOSING, Action.EXTEND): _Rule(_S.ACTIVE, _EITHER),
    (_S.CLOSING, Action.FINISH_CLOSING): _Rule(_S.CLOSED, _SYSTEM),
    (_S.CLOSING, Action.WAIVE_ARCHIVES): _Rule(_S.CLOSING, _GOVERNANCE),
    (_S.CLOSED, Action.EXTEND): _Rule(_S.ACTIVE, _EITHER),
    (_S.CLOSED, Action.WAIVE_ARCHIVES): _Rule(_S.CLOSED, _GOVERNANCE),
    (_S.CLOSED, Action.REMOVE): _Rule(_S.REMOVING, _SYSTEM),
    (_S.REMOVING, Action.FINISH_REMOVAL): _Rule(_S.ARCHIVED, _SYSTEM),
    (_S.REMOVING, Action.GIVE_UP_REMOVAL): _Rule(_S.REMOVAL_FAILED, _SYSTEM),
    (_S.REMOVAL_FAILED, Action.RETRY): _Rule(_S.REMOVING, _GOVERNANCE),
    (_S.ARCHIVED, Action.PURGE): _Rule(_S.PURGED, _SYSTEM),
}  # fmt: skip

STATUS_NAMES: dict[Status, str] = {
    Status.REQUESTED: N_("waiting for approval"),
    Status.REJECTED: N_("rejected"),
    Status.WITHDRAWN: N_("withdrawn"),
    Status.EXPIRED: N_("expired"),
    Status.APPROVED: N_("approved"),
    Status.DEPLOYING: N_("being set up"),
    Status.DEPLOY_FAILED: N_("set-up failed"),
    Status.ACTIVE: N_("active"),
    Status.CLOSING: N_("closing"),
    Status.CLOSED: N_("closed"),
    Status.REMOVING: N_("being removed"),
    Status.REMOVAL_FAILED: N_("removal failed"),
    Status.ARCHIVED: N_("archived"),
    Status.PURGED: N_("purged"),
}
"""How people read them (message ids)."""

ACTION_NAMES: dict[Action, str] = {
    Action.REVISE: N_("change the request"),
    Action.APPROVE: N_("approve"),
    Action.REJECT: N_("reject"),
    Action.WITHDRAW: N_("withdraw"),
    Action.REQUEST_CHANGE: N_("ask for a change"),
    Action.DECIDE_CHANGE: N_("decide on a change"),
    Action.EXTEND: N_("extend"),
    Action.END_EARLY: N_("end early"),
    Action.RETRY: N_("try again"),
    Action.WAIVE_ARCHIVES: N_("do without the missing archives"),
    Action.EXPIRE: N_("expire"),
    Action.DEPLOY: N_("set up"),
    Action.ACTIVATE: N_("activate"),
    Action.GIVE_UP_DEPLOY: N_("give up the set-up"),
    Action.CLOSE: N_("close"),
    Action.FINISH_CLOSING: N_("finish closing"),
    Action.REMOVE: N_("remove"),
    Action.FINISH_REMOVAL: N_("finish the removal"),
    Action.GIVE_UP_REMOVAL: N_("give up the removal"),
    Action.PURGE: N_("purge"),
}


def transition(
    status: Status, action: Action, roles: AbstractSet[Role], circumstances: Circumstances | None = None
) -> Status | Refusal:
    """The status after the action, or why it is not possible for somebody with these roles."""
    rule = _TABLE.get((status, action))
    if rule is None or not rule.roles & roles:
        known = {role for (_, one), other in _TABLE.items() if one is action for role in other.roles}
        if not known & roles:
            return Refusal("not_yours", N_("Only people with another role in this course can do that."))
        if rule is None:
            return Refusal(
                "not_now",
                N_("That is not possible for a course that is %(status)s."),
                (("status", STATUS_NAMES[status]),),
            )
        return Refusal("not_yours", N_("Only people with another role in this course can do that."))
    return _refusal(status, action, circumstances or Circumstances()) or rule.to


def possible_actions(
    status: Status, roles: AbstractSet[Role], circumstances: Circumstances | None = None
) -> frozenset[Action]:
    """What somebody with these roles can do now: what a page offers."""
    return frozenset(
        action for action in Action if isinstance(transition(status, action, roles, circumstances), Status)
    )


def _refusal(status: Status, action: Action, facts: Circumstances) -> Refusal | None:
    """What stands against an action that table and role allow."""
    match action:
        case Action.APPROVE if facts.is_over:
            return Refusal("over", N_("The course's last day has passed."))
        case Action.APPROVE if facts.is_own and not facts.own_approval_allowed:
            return Refusal("own_course", N_("Nobody approves their own course; ask another member of governance."))
        case Action.DECIDE_CHANGE if facts.is_own and not facts.own_approval_allowed:
            return Refusal("own_course", N_("Nobody decides on a change of their own course; ask another member."))
        case Action.DEPLOY | Action.RETRY if facts.is_over and status is not Status.REMOVAL_FAILED:
            return Refusal("over", N_("The course's last day has passed."))
        case Action.EXPIRE | Action.CLOSE if not facts.is_over:
            return Refusal("not_over", N_("The course's last day has not passed."))
        case Action.EXPIRE if facts.stack_exists:
            return Refusal("stack_exists", N_("The course has a stack, which must be removed."))
        case Action.REMOVE if status is not Status.CLOSED and not facts.is_over:
            return Refusal("not_over", N_("The course's last day has not passed."))
        case Action.REMOVE if status is Status.CLOSED and not facts.grace_is_over:
            return Refusal("grace", N_("The days of grace are not over."))
        case Action.REMOVE if status is Status.CLOSED and not facts.archives_settled:
            return Refusal("archives", N_("Archives are missing, and governance has not done without them."))
        case Action.FINISH_REMOVAL if facts.stack_exists:
            return Refusal("stack_exists", N_("Something of the course's hub is still there."))
        case Action.PURGE if not facts.retention_is_over:
            return Refusal("retention", N_("The archives' time is not over."))
    return None
