"""Who is let in at hubs: kept in step with the database, whatever was down meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from automation.failures import HubFailed
from course_stack.identity import IdentityError
from course_stack.names import CourseNames
from course_stack.target import Target
from portal.config import PortalSettings
from portal.courses.specs import spec_of
from portal.db import connect, sessions, transaction
from portal.groups import Access, access_of, people_due_at, reconcile_due
from portal.groups.access import as_let_in
from portal.hub_api import HubUser
from portal.lifecycle import Status
from portal.models import Attempt, Course, Lead, Operation, Participation, TargetRecord
from portal.participants.rules import Deed
from portal.sealing import Sealer
from portal.worker.run import Hub
from tests.portal.people.conftest import Classroom


@dataclass
class FakeProvider:
    """Groups of an identity provider, in memory. `down` makes every call fail; `accounts` limits who exists."""

    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    down: bool = False
    accounts: frozenset[str] | None = None
    writes: int = 0
    before_write: Callable[[], None] = lambda: None

    @contextmanager
    def __call__(self, _target: Target) -> Iterator[Any]:
        yield self

    def group_members(self, name: str) -> frozenset[str] | None:
        self._answer()
        return self.groups.get(name)

    def ensure_group(self, name: str, members: Iterable[str]) -> str:
        self._answer()
        wanted = frozenset(members)
        if self.accounts is not None and (missing := sorted(wanted - self.accounts)):
            raise IdentityError(f"{missing[0]} is no account", unknown=missing[0])
        self.before_write()
        self.writes += 1
        self.groups[name] = wanted
        return name

    def _answer(self) -> None:
        if self.down:
            raise IdentityError("The identity provider does not answer.")


@dataclass
class FakeHub:
    """Whom a hub knows. `forgetful` deletes nobody, `down` does not answer."""

    people: set[str] = field(default_factory=lambda: {"jhaas-check"})
    down: bool = False
    forgetful: bool = False
    stopped: list[str] = field(default_factory=list)

    @contextmanager
    def __call__(self, _hub: Hub) -> Iterator[Any]:
        if self.down:
            raise HubFailed("The hub does not answer.")
        yield self

    def users(self) -> list[HubUser]:
        return [HubUser(name, (), None) for name in sorted(self.people)]

    def stop_all(self, names: Iterable[str]) -> dict[str, str | None]:
        self.stopped += names
        return dict.fromkeys(names)

    def delete_user(self, name: str) -> None:
        if not self.forgetful:
            self.people.discard(name)


@dataclass
class World:
    """The classroom's course, its identity provider and its hub."""

    room: Classroom
    settings: PortalSettings
    provider: FakeProvider = field(default_factory=FakeProvider)
    hub: FakeHub = field(default_factory=FakeHub)

    def reconcile(self) -> int:
        return reconcile_due(
            self.room.sessions,
            self.room.clock,
            self.settings,
            self.target_of,
            connect=self.provider,
            call=self.hub,  # type: ignore[arg-type]
        )

    def target_of(self, name: str) -> Target:
        with self.room.sessions() as session:
            return Target.model_validate(session.get_one(TargetRecord, name).target)

    @property
    def names(self) -> CourseNames:
        return CourseNames(self.room.course.slug)

    @property
    def group(self) -> frozenset[str] | None:
        return self.provider.groups.get(self.names.group)

    @property
    def leads(self) -> frozenset[str] | None:
        return self.provider.groups.get(self.names.lead_group)

    @contextmanager
    def attempt(self, kind: str) -> Iterator[None]:
        """An operation of this kind runs."""
        now = self.room.clock.now()
        with transaction(self.room.sessions) as session:
            operation = Operation(
                course_id=self.room.course.id, kind=kind, revision=1, status="running", not_before=now, max_tries=1,
                created_at=now,
            )  # fmt: skip
            session.add(operation)
            session.flush()
            session.add(Attempt(operation_id=operation.id, number=1, queued_at=now, claimed_at=now))
        yield
        with transaction(self.room.sessions) as session:
            session.get_one(Operation, operation.id).status = "succeeded"
            attempt = session.scalars(select(Attempt).where(Attempt.operation_id == operation.id)).one()
            attempt.result, attempt.finished_at, attempt.released_at = "succeeded", now, now


@pytest.fixture
def world(classroom: Classroom, settings: PortalSettings) -> World:
    sealer = Sealer(settings.secret_key.get_secret_value())
    classroom.set(api_token=sealer.seal("the hub's token"))
    return World(classroom, settings)


# --- who may be in: pure


@pytest.mark.parametrize(
    ("status", "day", "expected"),
    [
        *((status, 3, Access.NOBODY) for status in Status if status not in ("active", "closing", "closed")),
        (Status.ACTIVE, 0, Access.LEADS),
        (Status.ACTIVE, 1, Access.EVERYBODY),
        (Status.ACTIVE, 5, Access.EVERYBODY),
        (Status.ACTIVE, 6, Access.LEADS),
        (Status.CLOSING, 3, Access.LEADS),
        (Status.CLOSED, 6, Access.LEADS),
    ],
)
def test_leads_are_in_from_active_to_removal_and_participants_between_the_first_and_the_last_day(
    classroom: Classroom, status: Status, day: int, expected: Access
) -> None:
    first = classroom.clock.today()
    assert access_of(status, first, first + timedelta(days=4), first + timedelta(days=day - 1)) is expected


def test_access_changes_by_the_calendar_at_midnight_of_the_site_also_on_the_day_of_the_clock_change(
    classroom: Classroom,
) -> None:
    clock, course = classroom.clock, classroom.course
    assert people_due_at(Status.APPROVED, course.first_day, course.last_day, clock) is None
    assert people_due_at(Status.ACTIVE, course.first_day, course.last_day, clock) == clock.end(course.last_day)
    later = clock.today() + timedelta(days=27)  # the night to 28 March 2027 is an hour short
    due = people_due_at(Status.ACTIVE, later, later, clock)
    assert due == clock.begin(later)
    clock.set(due)
    assert people_due_at(Status.ACTIVE, later, later, clock) == due + timedelta(hours=23)


def test_a_hub_that_is_set_up_is_given_no_participants_before_their_first_day(classroom: Classroom) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    with classroom.sessions() as session:
        spec = spec_of(session, session.get_one(Course, classroom.course.id))
    today = classroom.clock.today()
    assert as_let_in(spec, Status.ACTIVE, today).participants == ("anna",)
    assert as_let_in(spec, Status.ACTIVE, today - timedelta(days=1)).participants == ()
    assert as_let_in(spec, Status.DEPLOYING, today).participants == ()
    assert as_let_in(spec, Status.DEPLOYING, today).leads == spec.leads


# --- kept in step


def test_an_active_course_lets_its_people_in_and_nothing_is_done_twice(world: World) -> None:
    world.room.join(world.room.person("anna"))
    assert world.reconcile() == 1
    assert world.group == {"teacher", "anna"}
    assert world.leads == {"teacher"}
    writes = world.provider.writes
    assert world.reconcile() == 0
    assert world.provider.writes == writes


def test_participants_get_in_at_midnight_of_the_first_day_and_leads_before(world: World) -> None:
    clock = world.room.clock
    first = clock.today() + timedelta(days=2)
    world.room.set(first_day=first)
    world.room.join(world.room.person("anna"))
    world.reconcile()
    assert world.group == {"teacher"}
    clock.set(clock.begin(first) - timedelta(seconds=1))
    assert world.reconcile() == 0
    clock.set(clock.begin(first))
    assert world.reconcile() == 1
    assert world.group == {"teacher", "anna"}


def test_participants_are_out_at_midnight_of_the_last_day_even_if_nobody_closes_the_course(world: World) -> None:
    world.room.join(world.room.person("anna"))
    world.reconcile()
    world.hub.people.add("anna")
    world.room.clock.set(world.room.clock.end(world.room.course.last_day))
    assert world.reconcile() == 1
    assert world.group == {"teacher"}
    assert "anna" not in world.hub.people


@pytest.mark.parametrize("status", [Status.CLOSING, Status.CLOSED])
def test_after_the_end_only_leads_are_in_and_an_extension_lets_everybody_in_again(world: World, status: Status) -> None:
    world.room.join(world.room.person("anna"))
    world.reconcile()
    world.hub.people |= {"anna", "teacher"}
    world.room.set(status=status)
    world.reconcile()
    assert (world.group, world.hub.people) == ({"teacher"}, {"teacher", "jhaas-check"})
    world.room.set(status=Status.ACTIVE)
    world.reconcile()
    assert world.group == {"teacher", "anna"}


@pytest.mark.parametrize("way", ["removed", "left"])
def test_d1_d3_who_is_out_loses_group_server_and_tokens_and_only_then_counts_as_out(world: World, way: str) -> None:
    anna = world.room.person("anna")
    world.room.join(anna)
    world.reconcile()
    world.hub.people |= {"anna", "teacher"}
    if way == "left":
        world.room.leave(anna)
    else:
        world.room.settle(anna, Deed.REMOVE)
    world.hub.forgetful = True  # the hub says yes and keeps them
    assert world.reconcile() == 0
    assert world.group == {"teacher"}
    assert not world.room.row(anna).access_ended
    assert "still knows 1 of 1" in world.room.now().people_failure
    world.hub.forgetful = False
    world.room.clock.move(minutes=5)
    assert world.reconcile() == 1
    assert world.hub.people == {"teacher", "jhaas-check"}
    assert "anna" in world.hub.stopped
    assert world.room.row(anna).access_ended
    assert world.room.now().people_failure == ""


def test_a_lead_who_is_none_any_more_is_out_at_the_hub_too(world: World) -> None:
    colleague = world.room.person("colleague")
    with transaction(world.room.sessions) as session:
        session.add(Lead(course_id=world.room.course.id, user_id=colleague.id, since=world.room.clock.now()))
        session.get_one(Course, world.room.course.id).people_revision += 1
    world.reconcile()
    assert world.leads == {"teacher", "colleague"}
    world.hub.people |= {"colleague", "teacher"}
    with transaction(world.room.sessions) as session:
        session.delete(session.get_one(Lead, (world.room.course.id, colleague.id)))
        session.get_one(Course, world.room.course.id).people_revision += 1
    world.reconcile()
    assert world.leads == world.group == {"teacher"}
    assert "colleague" not in world.hub.people


def test_the_group_is_in_step_again_after_the_provider_was_down(world: World) -> None:
    anna = world.room.person("anna")
    world.provider.down = True
    world.room.join(anna)
    tries = 0
    for _ in range(60):
        before = world.room.now().people_tries
        assert world.reconcile() == 0
        tries += world.room.now().people_tries - before
        world.room.clock.move(seconds=10)
    course = world.room.now()
    assert 5 < tries < 15  # pauses grow
    assert course.people_applied < course.people_revision
    assert "does not answer" in course.people_failure
    world.provider.down = False
    world.room.clock.move(minutes=5)
    assert world.reconcile() == 1
    assert world.group == {"teacher", "anna"}
    course = world.room.now()
    assert (course.people_tries, course.people_failure, course.people_applied) == (0, "", course.people_revision)


def test_a_change_while_the_provider_is_down_does_not_wait_for_the_pause_of_an_older_one(world: World) -> None:
    world.provider.down = True
    world.room.join(world.room.person("anna"))
    for _ in range(20):
        world.reconcile()
        world.room.clock.move(minutes=5)
    world.reconcile()
    world.provider.down = False
    world.room.join(world.room.person("ben"))
    assert world.reconcile() == 1


def test_a_hub_that_is_down_keeps_nobody_in_the_group(world: World) -> None:
    anna = world.room.person("anna")
    world.room.join(anna)
    world.reconcile()
    world.hub.down = True
    world.room.settle(anna, Deed.REMOVE)
    assert world.reconcile() == 0
    assert world.group == {"teacher"}
    assert not world.room.row(anna).access_ended


def test_one_course_that_fails_stops_no_other(world: World, classroom: Classroom) -> None:
    from tests.portal.makers import make_course

    with transaction(classroom.sessions) as session:
        lead = session.get_one(Course, classroom.course.id).leads[0].user
        other = make_course(session, classroom.clock, lead, status=Status.ACTIVE, people_revision=1)
    broken = CourseNames(other.slug).group

    class Half(FakeProvider):
        def ensure_group(self, name: str, members: Iterable[str]) -> str:
            if name == broken:
                raise IdentityError("no")
            return super().ensure_group(name, members)

    world.provider = Half()
    assert world.reconcile() == 1
    assert world.group == {"teacher"}


def test_an_account_that_is_gone_at_the_provider_keeps_nobody_else_out(world: World) -> None:
    for login in ("anna", "ben"):
        world.room.join(world.room.person(login))
    world.provider.accounts = frozenset({"teacher", "ben"})
    assert world.reconcile() == 1
    assert world.group == {"teacher", "ben"}
    assert "no account for anna" in world.room.now().people_failure


def test_hubs_that_write_names_in_small_letters_lose_nobody(world: World) -> None:
    world.room.join(world.room.person("Anna"))
    world.hub.people |= {"anna", "teacher"}
    world.reconcile()
    assert "anna" in world.hub.people


def test_before_a_course_is_active_its_groups_are_the_stacks_alone(world: World) -> None:
    anna = world.room.person("anna")
    for status in (Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED):
        world.room.set(status=status)
        if status is Status.APPROVED:
            world.room.join(anna)
        world.reconcile()
    assert world.provider.groups == {}


def test_group_provider_down_at_approval_is_no_matter(world: World) -> None:
    world.provider.down = True
    world.room.set(status=Status.APPROVED, people_revision=3)
    world.reconcile()
    assert world.room.now().people_failure == ""


def test_a_course_that_is_removed_has_its_groups_emptied_and_none_made(world: World) -> None:
    world.room.set(status=Status.REMOVING, people_access="leads")
    world.reconcile()
    assert world.provider.groups == {}
    world.provider.groups = {world.names.group: frozenset({"teacher"}), world.names.lead_group: frozenset({"teacher"})}
    world.room.set(people_access="leads")
    world.reconcile()
    assert (world.group, world.leads) == (frozenset(), frozenset())


def test_while_a_hub_is_destroyed_its_groups_are_left_to_the_stack(world: World) -> None:
    world.room.set(status=Status.REMOVING, people_access="leads")
    world.provider.groups = {world.names.group: frozenset({"teacher"})}
    with world.attempt("destroy"):
        assert world.reconcile() == 0
    assert world.group == {"teacher"}
    assert world.provider.writes == 0


def test_slug_reused_next_term_an_archived_course_touches_no_group(world: World) -> None:
    world.room.set(status=Status.ARCHIVED, people_access="leads", people_revision=7)
    world.provider.groups = {world.names.group: frozenset({"somebody-of-next-term"})}
    assert world.reconcile() == 1
    assert world.group == {"somebody-of-next-term"}


def test_an_update_that_writes_older_people_over_ours_has_not_the_last_word(world: World) -> None:
    anna = world.room.person("anna")
    world.room.join(anna)
    world.reconcile()
    with world.attempt("update"):
        world.room.settle(anna, Deed.REMOVE)
        world.reconcile()
        assert world.group == {"teacher"}  # cut at once all the same
        world.provider.groups[world.names.group] = frozenset({"teacher", "anna"})  # the stack's older list
    world.room.clock.move(minutes=1)
    assert world.reconcile() == 1
    assert world.group == {"teacher"}
    assert world.room.row(anna).access_ended


def test_a_change_that_comes_while_an_older_one_is_applied_is_applied_after_it(world: World) -> None:
    anna, ben = world.room.person("anna"), world.room.person("ben")
    world.room.join(anna)
    joined = False

    def meanwhile() -> None:
        nonlocal joined
        if not joined:
            joined = True
            world.room.join(ben)  # the course's row is free while the provider is asked

    world.provider.before_write = meanwhile
    world.reconcile()
    course = world.room.now()
    assert course.people_applied == course.people_revision - 1
    assert world.reconcile() == 1
    assert world.group == {"teacher", "anna", "ben"}


def test_who_comes_back_and_goes_again_meanwhile_is_not_taken_for_ended(world: World) -> None:
    anna = world.room.person("anna")
    world.room.join(anna)
    world.reconcile()
    world.room.leave(anna)

    def meanwhile() -> None:
        world.provider.before_write = lambda: None
        world.room.clock.move(seconds=1)
        world.room.join(anna)
        world.room.clock.move(seconds=1)
        world.room.leave(anna)

    world.provider.before_write = meanwhile
    world.reconcile()
    assert not world.room.row(anna).access_ended
    world.reconcile()
    assert world.room.row(anna).access_ended


def test_several_reconcilers_at_once_do_a_course_once(world: World, database_url: str) -> None:
    world.room.join(world.room.person("anna"))
    engine = connect(database_url)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        world.provider.before_write = lambda: None
        entered.set()
        assert leave.wait(60)

    world.provider.before_write = hold

    def reconcile() -> int:
        return reconcile_due(
            sessions(engine),
            world.room.clock,
            world.settings,
            world.target_of,
            connect=world.provider,
            call=world.hub,  # type: ignore[arg-type]
        )

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(reconcile)
        assert entered.wait(60)
        assert reconcile() == 0
        leave.set()
        assert first.result() == 1
    engine.dispose()
    assert world.provider.writes == 2  # one for each group


def test_everybody_who_ever_had_access_and_has_none_is_verified_after_a_term_of_comings_and_goings(
    world: World,
) -> None:
    people = [world.room.person(f"p{number}") for number in range(6)]
    world.room.set(seats=6)
    for turn, person in enumerate(people):
        world.room.join(person)
        world.hub.people.add(person.subject)
        world.provider.down = turn % 2 == 0
        world.reconcile()
        if turn % 3 == 0:
            world.room.leave(person)
        elif turn % 3 == 1:
            world.room.settle(person, Deed.REMOVE)
        world.reconcile()
    world.provider.down = False
    world.room.clock.move(minutes=10)
    world.reconcile()
    expected = {"teacher", "p2", "p5"}
    assert world.group == expected
    assert world.hub.people - {"jhaas-check"} <= expected
    with world.room.sessions() as session:
        pending = session.scalar(
            select(func.count()).where(Participation.status != "accepted", Participation.access_ended.is_(False))
        )
    assert pending == 0
