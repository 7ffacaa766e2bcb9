"""Keeps a claimed attempt ours while its work goes on, and notices when it should end."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from automation.failures import Cancelled, DeadlinePassed
from portal.db import Sessions, transaction
from portal.operations.attempts import Claim, Renewal, renew
from portal.worker.run import AttemptLost

log = logging.getLogger(__name__)

SHARE = 0.1
"""The lease is renewed ten times within its lifetime: it survives a database that is away for half of it."""


class Keeper:
    """Renews the lease from a thread with a database connection of its own, and looks whether somebody asked for the
    work to stop or its time is up. What stops the work is called until the work has ended."""

    def __init__(
        self, sessions: Sessions, mine: Claim, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sessions = sessions
        self._mine = mine
        self._seconds = lease_seconds
        self._clock = clock
        self._renewed_at = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease of attempt {mine.attempt_id}", daemon=True)
        self._stoppers: list[Callable[[], object]] = []
        self.lost = False
        self.stop_asked = False
        self.deadline_passed = False
        self.leaving = False

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def leave(self) -> None:
        """This worker ends: the work shall stop, and another worker takes it."""
        self.leaving = True
        self._stop_work()

    def when_stopping(self, stop: Callable[[], object]) -> None:
        """`stop` is called, from any thread and perhaps several times, once the work should end."""
        self._stoppers.append(stop)

    def renewed_at(self) -> float:
        """Monotonic time of the last renewal. Raises `AttemptLost` if there will be no other."""
        if self.lost:
            raise AttemptLost
        return self._renewed_at

    def check(self) -> None:
        """Raises what ends the work now: `AttemptLost`, `Cancelled` or `DeadlinePassed`."""
        if self._clock() - self.renewed_at() > self._seconds:
            raise AttemptLost
        if self.stop_asked:
            raise Cancelled("The operation was asked to stop.")
        if self.leaving:
            raise Cancelled("The worker that did this is being stopped; another one goes on.")
        if self.deadline_passed:
            raise DeadlinePassed("The operation did not end in its time.")

    def renew(self) -> None:
        """Renew once, and act on what the row says. A database that is away changes nothing yet."""
        before = self._clock()
        try:
            with transaction(self._sessions) as session:
                found = renew(session, self._mine, timedelta(seconds=self._seconds))
        except AttemptLost:
            self.lost = True
            self._stop_work()
            return
        except DBAPIError as error:
            log.warning("the lease of attempt %s could not be renewed: %s", self._mine.attempt_id, type(error).__name__)
            return
        self._renewed_at = before
        self._notice(found)

    def _notice(self, found: Renewal) -> None:
        self.stop_asked |= found.stop_asked
        self.deadline_passed |= found.deadline_passed
        if self.stop_asked or self.deadline_passed or self.leaving:
            self._stop_work()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds * SHARE):
            self.renew()

    def _stop_work(self) -> None:
        for stop in self._stoppers:
            with contextlib.suppress(Exception):
                stop()
