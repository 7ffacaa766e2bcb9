"""The attempt's row as the lease that the engine's side asks for."""

from __future__ import annotations

import pytest

from automation.failures import LeaseLost
from automation.lease import Busy
from portal.operations.leases import CHILD_SHARE, TRUST_SHARE, AttemptLeases, engine_id
from portal.worker.run import AttemptLost
from tests.portal.operations.conftest import Stage


class Watch:
    """A clock, and when the lease was last renewed."""

    def __init__(self) -> None:
        self.now, self.renewed = 100.0, 100.0
        self.lost = False

    def __call__(self) -> float:
        return self.now

    def renewed_at(self) -> float:
        if self.lost:
            raise AttemptLost
        return self.renewed


def leases(stage: Stage, watch: Watch, lifetime: float = 30) -> AttemptLeases:
    course_id = stage.course()
    stage.clock.set(stage.look(course_id).first_day)
    stage.tick()
    _, mine, _ = stage.claim()
    return AttemptLeases(stage.sessions, mine, stage.look(course_id).slug, lifetime, watch.renewed_at, watch)


def test_when_the_row_says_that_the_lease_is_over_the_process_has_ended_itself() -> None:
    # automation.operation: a process ends itself when it was not renewed for 0.8 of what it was told
    assert TRUST_SHARE + 0.8 * CHILD_SHARE < 1


def test_a_lease_holds_for_a_while_without_the_database_and_no_longer(stage: Stage) -> None:
    watch = Watch()
    found = leases(stage, watch)
    lease = found.acquire(found._slug, "deploy", "one")
    assert lease.lifetime == pytest.approx(12)
    watch.now += 17
    lease.renew()
    watch.now += 2
    with pytest.raises(LeaseLost, match="database"):
        lease.renew()
    watch.renewed = watch.now
    lease.renew()
    watch.lost = True
    with pytest.raises(LeaseLost, match="Another worker"):
        lease.renew()


def test_an_attempt_has_one_lease_at_a_time_and_for_its_own_course_only(stage: Stage) -> None:
    found = leases(stage, Watch())
    lease = found.acquire(found._slug, "deploy", "one")
    for slug in (found._slug, "another-course"):
        with pytest.raises(Busy):
            found.acquire(slug, "deploy", "two")
    holder = found.holder(found._slug)
    assert holder is not None
    assert holder.operation == "one"
    lease.release()
    lease.release()
    found.acquire(found._slug, "deploy", "two")


def test_what_earlier_attempts_may_have_left_is_named_until_it_is_settled(stage: Stage) -> None:
    watch = Watch()
    first = leases(stage, watch)
    slug, lost = first._slug, first._mine
    stage.end_leases()
    stage.tick()
    stage.clock.move(seconds=stage.settings.retry_seconds)
    stage.tick()
    _, mine, _ = stage.claim()
    second = AttemptLeases(stage.sessions, mine, slug, 30, watch.renewed_at, watch)
    lease = second.acquire(slug, "deploy", "two")
    assert lease.predecessors == (engine_id(slug, "deploy", lost.attempt_id),)
    lease.release()
    lease = second.acquire(slug, "deploy", "three")
    assert len(lease.predecessors) == 1, "it was released without being settled"
    lease.settle()
    assert lease.predecessors == ()
    lease.release()
    assert second.acquire(slug, "deploy", "four").predecessors == ()
