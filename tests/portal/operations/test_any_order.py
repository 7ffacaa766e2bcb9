"""Whatever happens in whatever order: people, scheduler and two workers, moved step by step on a real database.

Processes die at every write; leases run out under living workers; the clock jumps over days and changes of clocks. A
step is one thing that one of them does, so that an example that fails is a story that can be read.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, event, select, text
from sqlalchemy.orm import Session

from portal import planning
from portal.actor import Actor
from portal.archives.waiver import waive
from portal.config import PortalSettings
from portal.courses import room
from portal.courses.changes import carry_out
from portal.courses.decisions import approve
from portal.courses.ending import end_early, retry
from portal.courses.extension import extend
from portal.courses.life import lock
from portal.courses.problems import Invalid, Refused
from portal.db import Sessions, transaction
from portal.lifecycle import SLUG_IS_FREE, Status
from portal.models import Attempt, Course, Mail, Operation, Revision, TargetRecord, User
from portal.operations.attempts import Claim
from portal.operations.events import EventWriter
from portal.operations.outcomes import Outcome
from portal.worker.keeper import Keeper
from portal.worker.runner import Runner
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course, make_spec, make_target, make_user
from tests.portal.operations.conftest import Stage
from tests.portal.operations.fakes import Crash, FakeWorld

WORKERS = (0, 1)
KINDS = ("deploy", "update", "check", "close", "archive", "archive_leads", "destroy", "refresh")

_stories = itertools.count(1)

STEP: dict[str, Any] = {
    "fuse": st.none() | st.integers(0, 12),
    "pause": st.sampled_from([0, 0, 0, 1, 24 * 40]),
    "late": st.sampled_from([False, False, True]),
}
"""A worker's step: at which write it dies, after how many hours it comes, whether its lease was over by then."""


class Fuse:
    """Counts writes, and ends the process that makes the n-th."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise Crash

    def of(self, engine: Engine) -> None:
        event.listen(engine, "commit", lambda _: self())

        @event.listens_for(engine, "before_cursor_execute")
        def _(_c: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
                self()


@dataclass
class Hand:
    """A worker in the middle of an attempt."""

    runner: Runner
    mine: Claim
    keeper: Keeper
    outcome: Outcome | None = None
    worked: bool = False


class AnyOrder(RuleBasedStateMachine):
    """See the module."""

    sessions: Sessions
    base: PortalSettings
    fuse: Fuse

    def __init__(self) -> None:
        super().__init__()
        self.fuse.left = None
        self.number = next(_stories)
        self.clock = MovableClock()
        self.world = FakeWorld()
        self.stage = Stage(self.sessions, self.clock, self.base, self.world)
        self.hands: dict[int, Hand | None] = dict.fromkeys(WORKERS)
        self.courses: list[uuid.UUID] = []
        self.world.before = {kind: lambda _: self.fuse() for kind in KINDS}
        self.world.after = {kind: lambda _: self.fuse() for kind in KINDS}
        self.ended: dict[object, str] = {}
        """Attempts and operations that are over, and how they ended."""
        self.broken: list[str] = []
        """What was done although it may never be."""
        self.world.before["deploy"] = self._may_be_deployed
        self.world.before["destroy"] = self._may_be_destroyed

    @initialize(begun=st.sampled_from(["approved", "deploying", "active", "active", "closing", "closed", "closed"]))
    def two_courses(self, begun: str) -> None:
        """One of them somewhere in its life."""
        with transaction(self.sessions) as session:
            needed = room.demand_of(json.dumps(make_spec(self.clock)), leads=1).compute.guarantee
            # room for two courses and a half
            make_target(session, memory_mib=needed.memory_mib * 5 // 2, cpu_millicores=needed.cpu_millicores * 3)
            number = uuid.uuid4().hex[:8]
            self.lead = make_user(session, self.clock, f"lead-{number}", teacher=True)
            self.boss = make_user(session, self.clock, f"boss-{number}", governance=True)
            self.student = make_user(session, self.clock, f"student-{number}")
        self._course(Status.APPROVED, begins=2, days=20)
        self._course(Status.APPROVED, begins=16, days=3)
        course = self.stage.look(self.courses[0])
        if begun in ("deploying", "active", "closing", "closed"):
            self.clock.set(course.first_day)
            self.stage.tick()
        if begun in ("active", "closing", "closed"):
            self.stage.settle()
        if begun in ("closing", "closed"):
            with transaction(self.sessions) as session:
                end_early(session, self.clock, Actor(self.lead), course.id, reason="Everybody is ill.")
            self.stage.tick()
        if begun == "closed":
            self.stage.settle()
        assert self.stage.status(course.id) == begun

    # --- people

    @precondition(lambda self: len(self.courses) < 4)
    @rule(begins=st.integers(0, 30), days=st.integers(0, 20))
    def somebody_asks_for_a_course(self, begins: int, days: int) -> None:
        self._course(Status.REQUESTED, begins, days)

    @rule(data=st.data())
    def governance_approves(self, data: st.DataObject) -> None:
        def deed(session: Session, course: Course) -> None:
            approve(session, self.clock, self.base, Actor(self.boss), course.id, version=course.version)

        self._person(data, {Status.REQUESTED}, deed)

    @rule(data=st.data())
    def governance_changes_it(self, data: st.DataObject) -> None:
        """As an approved change request does: a new revision, carried out at once where there is a hub."""

        def deed(session: Session, course: Course) -> None:
            old = session.get_one(Revision, (course.id, course.approved_revision))
            number = course.approved_revision + 1
            session.add(Revision(course_id=course.id, number=number, spec=old.spec, created_at=self.clock.now()))
            course.approved_revision = number
            course.next_due_at = self.clock.now()
            session.flush()
            carry_out(session, self.clock, Actor(self.boss), course)

        self._person(data, {Status.APPROVED, Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE}, deed)

    @rule(data=st.data(), days=st.integers(1, 15))
    def a_lead_extends(self, data: st.DataObject, days: int) -> None:
        def deed(session: Session, course: Course) -> None:
            last = max(course.last_day, self.clock.today()) + timedelta(days=days)
            extend(session, self.clock, self.base, Actor(self.lead), course.id, last)

        self._person(data, {Status.APPROVED, Status.ACTIVE, Status.CLOSING, Status.CLOSED}, deed)

    @rule(data=st.data())
    def a_lead_ends_it_early(self, data: st.DataObject) -> None:
        def deed(session: Session, course: Course) -> None:
            end_early(session, self.clock, Actor(self.lead), course.id, reason="Everybody is ill.")

        self._person(data, {Status.DEPLOYING, Status.DEPLOY_FAILED, Status.ACTIVE}, deed)

    @rule(data=st.data())
    def governance_tries_again(self, data: st.DataObject) -> None:
        def deed(session: Session, course: Course) -> None:
            retry(session, self.clock, self.base, Actor(self.boss), course.id)

        self._person(data, {Status.DEPLOY_FAILED, Status.REMOVAL_FAILED}, deed)

    @rule(data=st.data())
    def governance_waives_archives(self, data: st.DataObject) -> None:
        def deed(session: Session, course: Course) -> None:
            waive(session, self.clock, Actor(self.boss), course, "Nobody needs them.")

        self._person(data, {Status.CLOSING, Status.CLOSED}, deed)

    @rule(data=st.data())
    def somebody_works_in_a_notebook(self, data: st.DataObject) -> None:
        """Participants while it is active, leads also while it is closed."""
        if (course_id := self._one(data, {Status.ACTIVE, Status.CLOSED})) is not None:
            self.world.unarchived.add(str(course_id))

    # --- time

    @rule(hours=st.one_of(st.floats(0.01, 1), st.floats(1, 24 * 20)))
    def time_passes(self, hours: float) -> None:
        self.clock.move(hours=round(hours, 2))

    @rule(late=st.sampled_from([0, 0, 1, 60, 3600]))
    def time_passes_until_something_is_due(self, late: int) -> None:
        now = self.clock.now()
        with self.sessions() as session:
            instants = [*session.scalars(select(Course.next_due_at).where(Course.next_due_at > now))]
            instants += session.scalars(select(Operation.not_before).where(Operation.not_before > now))
        if instants:
            self.clock.set(min(instants) + timedelta(seconds=late))

    @rule(data=st.data(), edge=st.sampled_from(["first_day", "last_day", "end", "grace"]), before=st.booleans())
    def time_jumps_to_an_edge(self, data: st.DataObject, edge: str, before: bool) -> None:
        if (course_id := self._one(data, set(Status))) is None:
            return
        course = self.stage.look(course_id)
        instant = {
            "first_day": self.clock.begin(course.first_day),
            "last_day": self.clock.begin(course.last_day),
            "end": self.clock.end(course.last_day),
            "grace": course.closed_at and planning.destroy_at(course.closed_at, self.base, self.clock),
        }[edge]
        if instant is not None and instant > self.clock.now():
            self.clock.set(instant - timedelta(seconds=before))

    # --- the scheduler

    @rule(fuse=st.none() | st.integers(0, 12))
    def the_scheduler_ticks(self, fuse: int | None) -> None:
        with self._dying(fuse):
            self.stage.tick()

    @precondition(lambda self: self.courses)
    @rule()
    def leases_run_out(self) -> None:
        """Of the living too: a worker that was stopped for a while wakes up without its attempt."""
        self.stage.end_leases()

    # --- workers

    @precondition(lambda self: self.hands[0] is not None or self.stage.unclaimed())
    @rule(data=st.data(), **STEP)
    def one_worker_goes_on(self, data: st.DataObject, fuse: int | None, pause: int, late: bool) -> None:
        self._go_on(0, data, fuse, pause, late)

    @precondition(lambda self: self.hands[1] is not None or self.stage.unclaimed())
    @rule(data=st.data(), **STEP)
    def the_other_worker_goes_on(self, data: st.DataObject, fuse: int | None, pause: int, late: bool) -> None:
        self._go_on(1, data, fuse, pause, late)

    def _go_on(self, worker: int, data: st.DataObject, fuse: int | None, pause: int, late: bool) -> None:
        """By one step: it claims an attempt, does its work, or writes its result. At once, or after a pause of so many
        hours in which the scheduler was down, or late: after its attempt was given to somebody else."""
        hand = self.hands[worker]
        if hand is not None and late:
            self.stage.end_leases()
            self.stage.tick()
        self.clock.move(hours=pause)
        with self._dying(fuse, worker):
            if hand is None:
                self._claim(worker, data)
            elif not hand.worked:
                # its thread has looked at the lease since
                hand.keeper.renew()
                hand.outcome = hand.runner.carry_out(hand.mine, hand.keeper)
                hand.worked = True
            else:
                hand.runner.finish(hand.mine, hand.outcome)
                self.hands[worker] = None

    def _claim(self, worker: int, data: st.DataObject) -> None:
        waiting = self.stage.unclaimed()
        if not waiting:
            return
        runner = self.stage.runner()
        mine = runner.claim(data.draw(st.sampled_from(waiting)))
        assert mine is not None
        self.hands[worker] = Hand(runner, mine, Keeper(self.sessions, mine, self.base.lease_seconds))

    @rule(rounds=st.integers(1, 6), fuse=st.none() | st.integers(0, 60))
    def all_goes_well_for_a_while(self, rounds: int, fuse: int | None) -> None:
        """A third worker, and the scheduler, until something dies."""
        with self._dying(fuse):
            for _ in range(rounds):
                self.stage.tick()
                if not self.stage.work():
                    break

    @precondition(lambda self: any(self.hands.values()))
    @rule(worker=st.sampled_from(WORKERS))
    def a_worker_dies(self, worker: int) -> None:
        self.hands[worker] = None

    @rule(kind=st.sampled_from(KINDS), times=st.integers(1, 5))
    def something_does_not_work(self, kind: str, times: int) -> None:
        self.world.failing[kind] = times

    # --- what always holds

    @invariant()
    def at_most_one_operation_and_one_attempt_is_live(self) -> None:
        with self.sessions() as session:
            rows = session.execute(
                select(Operation.course_id, Attempt.id)
                .outerjoin(Attempt, (Attempt.operation_id == Operation.id) & Attempt.result.is_(None))
                .where(Operation.status.in_(("waiting", "running")), Operation.course_id.in_(self.courses))
            ).all()
        assert max(Counter(row.course_id for row in rows).values(), default=0) <= 1

    @invariant()
    def an_operation_that_is_over_has_no_live_attempt(self) -> None:
        with self.sessions() as session:
            found = session.scalars(
                select(Attempt.id)
                .join(Operation)
                .where(Attempt.result.is_(None), Operation.status.not_in(("waiting", "running")))
            ).all()
        assert found == []

    @invariant()
    def nothing_was_done_that_may_never_be(self) -> None:
        assert self.broken == []

    @invariant()
    def what_has_ended_stays_as_it_ended(self) -> None:
        with self.sessions() as session:
            mine = Operation.course_id.in_(self.courses)
            attempts = session.execute(
                select(Attempt.id, Attempt.result).join(Operation).where(mine, Attempt.result.is_not(None))
            )
            over = session.execute(
                select(Operation.id, Operation.status).where(mine, Operation.status.not_in(("waiting", "running")))
            )
            for key, how in [*attempts, *over]:
                assert self.ended.setdefault(key, how) == how

    @invariant()
    def nobody_is_told_twice(self) -> None:
        with self.sessions() as session:
            rows = session.execute(select(Mail.event_key, Mail.recipient).where(Mail.course_id.in_(self.courses))).all()
        assert len(rows) == len(set(rows))
        ready = [row for row in rows if row.event_key.endswith(":course_ready")]
        assert len(ready) <= 2 * len(self.courses)

    @invariant()
    def a_course_that_is_active_has_a_stack(self) -> None:
        with self.sessions() as session:
            for course in session.scalars(select(Course).where(Course.id.in_(self.courses))):
                if course.status in (Status.ACTIVE, Status.CLOSING, Status.CLOSED):
                    assert course.slug in self.world.stacks
                if course.status in SLUG_IS_FREE:
                    assert course.slug not in self.world.stacks

    def teardown(self) -> None:
        """Then nothing fails any more: everything comes to its end by itself, and nothing is left over."""
        self.fuse.left = None
        try:
            self.world.failing.clear()
            for worker in WORKERS:
                self.hands[worker] = None
            for _ in range(400):
                self.stage.end_leases()
                self.stage.settle(60)
                self._help()
                if all(self.stage.status(one) in SLUG_IS_FREE for one in self.courses):
                    break
                self.clock.move(days=9)
            for course_id in self.courses:
                assert self.stage.status(course_id) in SLUG_IS_FREE, "it came to no end"
            assert self.world.stacks == {}
            assert self.broken == []
        finally:
            _park(self.sessions)

    # --- inside

    def _course(self, status: Status, begins: int, days: int) -> None:
        first = self.clock.today() + timedelta(days=begins)
        with transaction(self.sessions) as session:
            lead = session.get_one(User, self.lead.id)
            student = session.get_one(User, self.student.id)
            dates = {"first_day": first, "last_day": first + timedelta(days=days)}
            # in the order in which they are asked for, in each story: by it rows are locked that are due at once
            number = uuid.UUID(int=(self.number << 64) + len(self.courses))
            people = {"lead": lead, "participants": (student,)}
            course = make_course(session, self.clock, status=status, spec=dates, id=number, **people)
        self.courses.append(course.id)

    def _person(self, data: st.DataObject, statuses: set[Status], deed: Callable[[Session, Course], None]) -> None:
        if (course_id := self._one(data, statuses)) is None:
            return
        with transaction(self.sessions) as session:
            before = _overcommitted(session, self.clock, self.base)
            try:
                with session.begin_nested():
                    deed(session, lock(session, course_id))
            except (Refused, Invalid):
                return
            session.flush()
            assert _overcommitted(session, self.clock, self.base) <= before, "a person's deed raised an overcommit"

    def _one(self, data: st.DataObject, statuses: set[Status]) -> uuid.UUID | None:
        fitting = [one for one in self.courses if self.stage.status(one) in statuses]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @contextmanager
    def _dying(self, fuse: int | None, worker: int | None = None) -> Iterator[None]:
        self.fuse.left = fuse
        try:
            yield
        except Crash:
            if worker is not None:
                self.hands[worker] = None
        finally:
            self.fuse.left = None

    def _may_be_deployed(self, slug: str) -> None:
        self.fuse()
        course, now = self._of(slug), self.clock.now()
        window = planning.lead_window(course.first_day, (), self.base.lead_working_days)
        if not self.clock.begin(window[0]) <= now < self.clock.end(course.last_day):
            self.broken.append(f"{slug} was deployed at {now}, outside its window")

    def _may_be_destroyed(self, slug: str) -> None:
        self.fuse()
        course, now = self._of(slug), self.clock.now()
        if course.closing:
            if course.waived_closing != course.closing and str(course.id) in self.world.unarchived:
                self.broken.append(f"{slug} was destroyed without archives or a waiver")
            if course.closed_at is None or now < planning.destroy_at(course.closed_at, self.base, self.clock):
                self.broken.append(f"{slug} was destroyed within its days of grace")

    def _of(self, slug: str) -> Course:
        with self.sessions() as session:
            return session.scalars(select(Course).where(Course.slug == slug, Course.id.in_(self.courses))).one()

    def _help(self) -> None:
        """What people do in the end: decide, and try again what failed."""
        for course_id in self.courses:
            if self.stage.status(course_id) is Status.REMOVAL_FAILED:
                with transaction(self.sessions) as session:
                    retry(session, self.clock, self.base, Actor(self.boss), course_id)


def _overcommitted(session: Session, clock: MovableClock, base: PortalSettings) -> Counter[tuple[dt.date, str]]:
    """By how much more is held than there is, for each day and figure."""
    found = room.occupancy(session, clock, base, session.get_one(TargetRecord, "local"))
    held: Counter[tuple[dt.date, str]] = Counter()
    for one in found.held:
        for hold in one.holds:
            for n in range(90):
                day = clock.today() + timedelta(days=n)
                if hold.first <= day and (hold.last is None or day <= hold.last):
                    held.update({(day, figure): amount for figure, amount in hold.figures.items()})
    return Counter({key: n - found.capacity[key[1]] for key, n in held.items() if n > found.capacity[key[1]]})


def _park(sessions: Sessions) -> None:
    """Everything of this example is over, so that the next one finds a quiet database."""
    with transaction(sessions) as session:
        for statement in (
            "UPDATE courses SET status = 'purged', next_due_at = NULL",
            "UPDATE operations SET status = 'cancelled' WHERE status IN ('waiting', 'running')",
            "UPDATE attempts SET result = 'cancelled' WHERE result IS NULL",
            "DELETE FROM procrastinate_jobs",
        ):
            session.execute(text(statement))


def play(sessions: Sessions, engine: Engine, base: PortalSettings, monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    # An example that is played again must be the same: no thread of its own writes events, no lease ends but by the
    # story (the database's clock goes on, and a busy machine is slow), the day of a deploy follows from a course's
    # place in the story and not from its id, and the scheduler knows the site's rules from the first tick on.
    monkeypatch.setattr(EventWriter, "start", lambda self: None)
    monkeypatch.setattr(planning, "_fraction", lambda course_id: course_id.int % 2**64 % 7 / 7)
    base = base.model_copy(update={"lease_seconds": 600.0})
    Stage(sessions, MovableClock(), base).tick()
    fuse = Fuse()
    fuse.of(engine)
    machine = type("AnyOrderHere", (AnyOrder,), {"sessions": sessions, "base": base, "fuse": fuse})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=80,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


def test_any_order(
    session_factory: Sessions, engine: Engine, settings: PortalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(session_factory, engine, settings, monkeypatch, runs=15)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_any_order_for_long(
    session_factory: Sessions, engine: Engine, settings: PortalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(session_factory, engine, settings, monkeypatch, runs=200)
