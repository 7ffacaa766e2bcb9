"""The life of a course, cell by cell: what each role can do in each status, and what that leads to.

The table below is written from the rules, not from the code: each line is a status, each entry an action with the
roles that may do it (L lead, G governance, P participant, X stranger, S the portal itself) and the next status.
Whatever is not in it is refused.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from portal.lifecycle import (
    HAS_STACK,
    HOLDS_COMPUTE,
    HOLDS_STORAGE,
    JOINABLE,
    SLUG_IS_FREE,
    Action,
    Circumstances,
    Refusal,
    Role,
    Status,
    possible_actions,
    transition,
)

ROLES = {"L": Role.LEAD, "G": Role.GOVERNANCE, "P": Role.PARTICIPANT, "X": Role.STRANGER, "S": Role.SYSTEM}

TABLE = """
requested      | revise L requested, approve G approved, reject G rejected, withdraw LG withdrawn, expire S expired
rejected       |
withdrawn      |
expired        |
approved       | withdraw LG withdrawn, expire S expired, request_change LG approved, decide_change G approved
approved       | extend LG approved, deploy S deploying
deploying      | request_change LG deploying, decide_change G deploying, extend LG deploying, activate S active
deploying      | give_up_deploy S deploy_failed, end_early LG removing, expire S expired, remove S removing
deploy_failed  | request_change LG deploy_failed, decide_change G deploy_failed, extend LG deploy_failed
deploy_failed  | retry LG deploying, end_early LG removing, expire S expired, remove S removing
active         | request_change LG active, decide_change G active, extend LG active, end_early LG closing
active         | close S closing
closing        | extend LG active, finish_closing S closed, waive_archives G closing
closed         | extend LG active, waive_archives G closed, remove S removing
removing       | finish_removal S archived, give_up_removal S removal_failed
removal_failed | retry G removing
archived       | purge S purged
purged         |
"""


def expected() -> dict[tuple[Status, Action, Role], Status]:
    cells = {}
    for line in TABLE.strip().splitlines():
        status, _, entries = line.partition("|")
        for entry in filter(None, (entry.strip() for entry in entries.split(","))):
            action, roles, to = entry.split()
            for role in roles:
                cells[Status(status.strip()), Action(action), ROLES[role]] = Status(to)
    return cells


EXPECTED = expected()


def favourable(status: Status, action: Action) -> Circumstances:
    """Circumstances in which no rule beside the table stands against the action."""
    over = action in (Action.EXPIRE, Action.CLOSE) or (
        action is Action.REMOVE and status in (Status.DEPLOYING, Status.DEPLOY_FAILED)
    )
    return Circumstances(is_over=over, grace_is_over=True, archives_settled=True, retention_is_over=True)


def test_the_table_names_every_status() -> None:
    assert {line.split("|")[0].strip() for line in TABLE.strip().splitlines()} == set(Status)


# A9, D6: every cell is decided here and nowhere else
@pytest.mark.parametrize(
    ("status", "action", "role"),
    list(itertools.product(Status, Action, Role)),
    ids=str,
)
def test_each_cell(status: Status, action: Action, role: Role) -> None:
    found = transition(status, action, {role}, favourable(status, action))
    if (status, action, role) in EXPECTED:
        assert found is EXPECTED[status, action, role]
    else:
        assert isinstance(found, Refusal)
        assert found.code in ("not_yours", "not_now")
        assert found.text % dict(found.values)


@pytest.mark.parametrize("status", Status)
def test_a_page_offers_exactly_what_the_table_allows(status: Status) -> None:
    for role in Role:
        offered = possible_actions(status, {role}, Circumstances(own_approval_allowed=True))
        assert offered <= {action for one, action, who in EXPECTED if (one, who) == (status, role)}


@pytest.mark.parametrize("action", Action)
def test_somebody_with_several_roles_can_do_what_any_of_them_can(action: Action) -> None:
    for status in Status:
        for roles in itertools.combinations(Role, 2):
            alone = [transition(status, action, {role}, favourable(status, action)) for role in roles]
            together = transition(status, action, set(roles), favourable(status, action))
            assert isinstance(together, Status) == any(isinstance(one, Status) for one in alone)


def test_a_refusal_says_whether_it_is_the_person_or_the_moment() -> None:
    stranger = transition(Status.REQUESTED, Action.APPROVE, {Role.LEAD})
    assert isinstance(stranger, Refusal)
    assert stranger.code == "not_yours"
    late = transition(Status.APPROVED, Action.APPROVE, {Role.GOVERNANCE})  # A23: approving twice
    assert isinstance(late, Refusal)
    assert late.code == "not_now"
    assert dict(late.values) == {"status": "approved"}


GUARDS = [
    # status, action, role, circumstances that refuse, code
    (Status.REQUESTED, Action.APPROVE, Role.GOVERNANCE, Circumstances(is_over=True), "over"),
    (Status.REQUESTED, Action.APPROVE, Role.GOVERNANCE, Circumstances(is_own=True), "own_course"),
    (Status.ACTIVE, Action.DECIDE_CHANGE, Role.GOVERNANCE, Circumstances(is_own=True), "own_course"),
    (Status.APPROVED, Action.DEPLOY, Role.SYSTEM, Circumstances(is_over=True), "over"),
    (Status.DEPLOY_FAILED, Action.RETRY, Role.LEAD, Circumstances(is_over=True), "over"),  # A8
    (Status.ACTIVE, Action.CLOSE, Role.SYSTEM, Circumstances(), "not_over"),  # A6
    (Status.REQUESTED, Action.EXPIRE, Role.SYSTEM, Circumstances(), "not_over"),
    (Status.DEPLOYING, Action.EXPIRE, Role.SYSTEM, Circumstances(is_over=True, stack_exists=True), "stack_exists"),
    (Status.DEPLOYING, Action.REMOVE, Role.SYSTEM, Circumstances(), "not_over"),
    (Status.CLOSED, Action.REMOVE, Role.SYSTEM, Circumstances(is_over=True, archives_settled=True), "grace"),
    (Status.CLOSED, Action.REMOVE, Role.SYSTEM, Circumstances(is_over=True, grace_is_over=True), "archives"),
    (Status.REMOVING, Action.FINISH_REMOVAL, Role.SYSTEM, Circumstances(stack_exists=True), "stack_exists"),
    (Status.ARCHIVED, Action.PURGE, Role.SYSTEM, Circumstances(), "retention"),
]


@pytest.mark.parametrize(("status", "action", "role", "facts", "code"), GUARDS)
def test_what_the_table_allows_can_still_be_refused(
    status: Status, action: Action, role: Role, facts: Circumstances, code: str
) -> None:
    found = transition(status, action, {role}, facts)
    assert isinstance(found, Refusal)
    assert found.code == code


def test_an_own_course_is_approved_where_the_site_allows_it() -> None:
    facts = Circumstances(is_own=True, own_approval_allowed=True)
    assert transition(Status.REQUESTED, Action.APPROVE, {Role.GOVERNANCE}, facts) is Status.APPROVED


def test_a_failed_removal_is_tried_again_however_late() -> None:
    facts = Circumstances(is_over=True)
    assert transition(Status.REMOVAL_FAILED, Action.RETRY, {Role.GOVERNANCE}, facts) is Status.REMOVING


def test_every_status_can_be_reached_and_every_course_can_come_to_an_end() -> None:
    steps: dict[Status, set[Status]] = {}
    for (status, _, _), to in EXPECTED.items():
        steps.setdefault(status, set()).add(to)

    def reachable(start: Status) -> set[Status]:
        found, new = {start}, [start]
        while new:
            for to in steps.get(new.pop(), set()) - found:
                found.add(to)
                new.append(to)
        return found

    assert reachable(Status.REQUESTED) == set(Status)
    ends = {Status.REJECTED, Status.WITHDRAWN, Status.EXPIRED, Status.PURGED}
    assert all(reachable(status) & ends for status in Status)


def test_what_statuses_mean_fits_together() -> None:
    assert not SLUG_IS_FREE & HAS_STACK  # C3: a slug is free only when no hub has it or will have it
    assert HOLDS_COMPUTE < HOLDS_STORAGE
    assert HAS_STACK < HOLDS_STORAGE
    assert JOINABLE < HOLDS_COMPUTE
    assert SLUG_IS_FREE | HOLDS_STORAGE | {Status.REQUESTED} == set(Status)


class Life(RuleBasedStateMachine):
    """Anybody does anything in any circumstances; what must never happen does not."""

    @initialize()
    def begin(self) -> None:
        self.status = Status.REQUESTED
        self.was_approved = self.was_active = False

    @rule(
        action=st.sampled_from(Action),
        roles=st.sets(st.sampled_from(Role)),
        facts=st.builds(Circumstances, *[st.booleans()] * 7),
    )
    def act(self, action: Action, roles: set[Role], facts: Circumstances) -> None:
        self.step(action, roles, facts)

    @rule(data=st.data(), facts=st.builds(Circumstances, *[st.booleans()] * 7))
    def go_on(self, data: st.DataObject, facts: Circumstances) -> None:
        if possible := sorted(possible_actions(self.status, set(Role), facts)):
            self.step(data.draw(st.sampled_from(possible)), set(Role), facts)

    def step(self, action: Action, roles: set[Role], facts: Circumstances) -> None:
        before = self.status
        after = transition(before, action, roles, facts)
        if isinstance(after, Refusal):
            assert action not in possible_actions(before, roles, facts)
            return
        assert action in possible_actions(before, roles, facts)
        assert roles & {Role.LEAD, Role.GOVERNANCE, Role.SYSTEM}
        if after is Status.DEPLOYING and before is not Status.DEPLOYING:
            assert self.was_approved
            assert not facts.is_over
        if after is Status.ACTIVE and before is not Status.ACTIVE and action is not Action.EXTEND:
            assert before is Status.DEPLOYING
        if before is Status.CLOSED and after is Status.REMOVING:
            assert facts.archives_settled
            assert facts.grace_is_over
        if after is Status.REMOVING and before not in (Status.CLOSED, Status.REMOVAL_FAILED):
            assert not self.was_active  # nobody has a home there
        if after in SLUG_IS_FREE and before not in SLUG_IS_FREE:
            assert not facts.stack_exists or before in (Status.REQUESTED, Status.APPROVED)
        self.was_approved |= after is Status.APPROVED
        self.was_active |= after is Status.ACTIVE
        self.status = after

    @invariant()
    def nothing_holds_a_target_that_was_not_approved(self) -> None:
        if self.status in HOLDS_STORAGE:
            assert self.was_approved

    @invariant()
    def participants_meet_a_hub_only_after_it_was_proven(self) -> None:
        if self.status in (Status.ACTIVE, Status.CLOSING, Status.CLOSED):
            assert self.was_active


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30)


@pytest.mark.long
class TestLifeAtLength(Life.TestCase):  # type: ignore[name-defined, misc]
    """10,000 lives: `make lives`."""

    settings = settings(max_examples=10_000, stateful_step_count=40)


@given(st.sampled_from(Status), st.sampled_from(Action), st.sets(st.sampled_from(Role)))
def test_the_same_question_has_the_same_answer(status: Status, action: Action, roles: set[Role]) -> None:
    assert transition(status, action, roles) == transition(status, action, set(roles))
