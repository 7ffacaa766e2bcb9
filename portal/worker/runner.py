"""From a job of the queue to the one result of its attempt: claim, work, conclude."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from automation.failures import LeaseLost, OperationFailed
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.operations.attempts import Claim, claim
from portal.operations.causes import UNFORESEEN, kind_of
from portal.operations.events import EventWriter
from portal.operations.kinds import Kind
from portal.operations.outcomes import Failed, GivenBack, Outcome, Stopped, Succeeded, conclude
from portal.sealing import Sealer
from portal.worker.claimed import ClaimedRun, patiently
from portal.worker.keeper import Keeper
from portal.worker.kinds import Work
from portal.worker.run import AttemptLost

log = logging.getLogger(__name__)


def worker_name() -> str:
    """Host, process and a random part: no two workers ever have the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Runner:
    """Carries out attempts in threads of this process, as many at once as `places`."""

    def __init__(
        self,
        sessions: Sessions,
        clock: SiteClock,
        settings: PortalSettings,
        works: Mapping[Kind, Work],
        *,
        places: int = 4,
        name: str | None = None,
    ) -> None:
        self.name = name or worker_name()
        self._sessions = sessions
        self._clock = clock
        self._settings = settings
        self._sealer = Sealer.of(settings)
        self._works = works
        self._pool = ThreadPoolExecutor(places, thread_name_prefix="operation")
        self._running: dict[int, Keeper] = {}
        self._taken = 0
        self._idle = threading.Condition()
        self._leaving = False
        self._hurries = False

    async def run(self, operation: uuid.UUID, attempt: int) -> None:
        """What a job of the queue does. It goes on in its thread if the queue's side of it is given up."""
        log.info("operation %s was delivered, attempt %s", operation, attempt)
        await asyncio.get_running_loop().run_in_executor(self._pool, self.work, attempt)

    def work(self, attempt_id: int) -> None:
        """Claim the attempt, do its work and write its result; nothing if somebody else has it."""
        with self._idle:
            if self._leaving:
                return
            self._taken += 1
        try:
            if (mine := self.claim(attempt_id)) is not None:
                self._keep_and_finish(mine)
        finally:
            with self._idle:
                self._taken -= 1
                self._idle.notify_all()

    def _keep_and_finish(self, mine: Claim) -> None:
        keeper = Keeper(self._sessions, mine, self._settings.lease_seconds)
        with self._idle:
            self._running[mine.attempt_id] = keeper
            if self._hurries:
                keeper.leave()
        keeper.start()
        try:
            self.finish(mine, self.carry_out(mine, keeper))
        finally:
            keeper.close()
            with self._idle:
                del self._running[mine.attempt_id]

    def claim(self, attempt_id: int) -> Claim | None:
        """The attempt as ours, or None."""
        with transaction(self._sessions) as session:
            return claim(session, attempt_id, self.name, timedelta(seconds=self._settings.lease_seconds))

    def carry_out(self, mine: Claim, keeper: Keeper) -> Outcome | None:
        """Do the work; None where the attempt was lost on the way and nothing more is to be said."""
        events = EventWriter(self._sessions, mine)
        events.start()
        try:
            run = ClaimedRun(self._sessions, self._clock, self._settings, self._sealer, mine, keeper, events)
            return Succeeded(self._works[mine.kind](run))
        except AttemptLost:
            return None
        except OperationFailed as failure:
            if keeper.lost:
                return None
            if keeper.stop_asked:
                return Stopped(failure.message)
            if keeper.leaving and not isinstance(failure, LeaseLost):
                return GivenBack(failure.message)
            return Failed(failure.message, kind_of(failure))
        except Exception as error:
            log.exception("attempt %s failed in a way that nobody foresaw", mine.attempt_id)
            return Failed(
                f"Something went wrong that nobody foresaw ({type(error).__name__}); the worker's log has it.",
                UNFORESEEN,
            )
        finally:
            events.close()

    def finish(self, mine: Claim, outcome: Outcome | None) -> None:
        """Write the result, also if the database is away for a while; nothing if the attempt is no longer ours."""
        if outcome is None:
            return

        def once() -> None:
            with transaction(self._sessions) as session:
                conclude(session, self._clock, self._settings, mine, outcome)

        said = outcome.reason if isinstance(outcome, Failed | Stopped | GivenBack) else "done"
        log.info("%s, attempt %s (%s): %s", mine.kind, mine.number, mine.attempt_id, said)
        try:
            patiently(once)
        except AttemptLost:
            log.warning("attempt %s was lost; its result is not written", mine.attempt_id)

    @property
    def busy(self) -> int:
        """How many attempts are being carried out."""
        return len(self._running)

    def leave(self, patience: float, grace: float) -> bool:
        """End: take nothing more, wait `patience` seconds for what runs, then have it stop and give it back, and wait
        `grace` seconds for that. Whether nothing runs any more; what still does is lost with the process."""
        with self._idle:
            self._leaving = True
            if not self._idle.wait_for(lambda: not self._taken, patience):
                self._hurries = True
                for keeper in list(self._running.values()):
                    keeper.leave()
                self._idle.wait_for(lambda: not self._taken, grace)
            self._pool.shutdown(wait=False, cancel_futures=True)
            return not self._taken
