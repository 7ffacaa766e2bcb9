"""The right to work on a course as the engine's side asks for it (`automation.lease`), on the attempt's row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from automation.events import OperationKind
from automation.failures import LeaseLost
from automation.lease import Busy, Holder
from automation.processes import ProcessMark, account
from portal.db import Sessions, transaction
from portal.operations.attempts import Claim, predecessors, release
from portal.worker.run import AttemptLost

CHILD_SHARE = 0.4
"""What the operation's process is told as the lease's lifetime, as a share of it: it ends itself when it was not
renewed for four fifths of that."""

TRUST_SHARE = 0.6
"""How old, as a share of the lease's lifetime, the last renewal in the database may be for the process to be told that
the lease holds. Both together stay below one: when the row says that the lease is over, the process has ended. Without
the database an operation goes on for this long."""


def engine_id(slug: str, kind: str, attempt_id: int) -> str:
    """The name of an attempt's processes, folder and log."""
    return f"{slug}-{kind}-{attempt_id}"


class AttemptLeases:
    """See `automation.lease.Leases`: there is one lease, that of the attempt that this worker has claimed."""

    def __init__(
        self,
        sessions: Sessions,
        mine: Claim,
        slug: str,
        lifetime: float,
        renewed_at: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`renewed_at` gives the monotonic time before the last successful renewal in the database; it raises
        `AttemptLost` once the attempt is known to be lost."""
        self._sessions = sessions
        self._mine = mine
        self._slug = slug
        self._lifetime = lifetime
        self._renewed_at = renewed_at
        self._clock = clock
        self._held: AttemptLease | None = None

    def acquire(self, slug: str, kind: OperationKind, operation: str) -> AttemptLease:
        if slug != self._slug or self._held is not None:
            raise Busy(slug, self.holder(slug))
        mark = ProcessMark.of(os.getpid())
        assert mark is not None, "this process lives"
        with transaction(self._sessions) as session:
            before = predecessors(session, self._mine)
        holder = Holder(operation, kind, slug, datetime.now(UTC), account(), mark)
        self._held = AttemptLease(self, holder, tuple((engine_id(slug, *one), one[1]) for one in before))
        self._held.renew()
        return self._held

    def holder(self, slug: str) -> Holder | None:
        return self._held.holder if self._held is not None and slug == self._slug else None

    @property
    def lifetime(self) -> float:
        """Seconds that the engine's side is told."""
        return self._lifetime * CHILD_SHARE

    def renew(self) -> None:
        """Raises `LeaseLost` when the attempt is lost, or when the database has not confirmed it for too long."""
        try:
            age = self._clock() - self._renewed_at()
        except AttemptLost:
            raise LeaseLost("Another worker was given the right to work on the course.") from None
        if age > self._lifetime * TRUST_SHARE:
            raise LeaseLost("The database could not be reached for too long to keep the right to work on the course.")

    def settle(self, attempts: list[int]) -> None:
        with transaction(self._sessions) as session:
            release(session, attempts)

    def release(self) -> None:
        self._held = None


class AttemptLease:
    """See `automation.lease.Lease`. The attempt's own end is written with its result."""

    def __init__(self, leases: AttemptLeases, holder: Holder, before: tuple[tuple[str, int], ...]) -> None:
        self._leases = leases
        self._before = before
        self.holder = holder

    @property
    def lifetime(self) -> float:
        return self._leases.lifetime

    @property
    def predecessors(self) -> tuple[str, ...]:
        return tuple(operation for operation, _ in self._before)

    def settle(self) -> None:
        if self._before:
            self._leases.settle([attempt for _, attempt in self._before])
        self._before = ()

    def renew(self) -> None:
        self._leases.renew()

    def release(self) -> None:
        self._leases.release()
