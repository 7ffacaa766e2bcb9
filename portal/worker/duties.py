"""What has to be done now and then beside operations: people's groups, mails, and sweeping.

It is the workers' and not the scheduler's, since it goes over the network: a mail server that hangs must not keep
courses from being deployed, and only workers have the credentials of clusters and providers. Each duty may run in every
worker at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select, text

from course_stack.target import Target
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.models import TargetRecord
from portal.worker.inventory import take_inventory
from portal.worker.stacks import RealPlace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Duty:
    """Something to do again and again, `every` so many seconds."""

    name: str
    every: float
    do: Callable[[], object]


def duties(sessions: Sessions, clock: SiteClock, settings: PortalSettings) -> list[Duty]:
    """All of them."""
    from portal.groups.reconcile import reconcile_due
    from portal.mail.sender import send_due

    def target_of(name: str) -> Target:
        with sessions() as session:
            return Target.model_validate(session.get_one(TargetRecord, name).target)

    def sweep() -> None:
        with sessions() as session:
            targets = [Target.model_validate(found) for found in session.scalars(select(TargetRecord.target))]
        for target in targets:
            if swept := RealPlace(target).sweep():
                log.info("swept %s: %s", target.name, ", ".join(swept))

    return [
        Duty("groups", 2, lambda: reconcile_due(sessions, clock, settings, target_of)),
        Duty("mails", 1, lambda: send_due(sessions, clock, settings)),
        Duty("queue", 3600, lambda: clean_queue(sessions)),
        Duty("sweep", 3600, sweep),
        Duty("inventory", 600, lambda: take_inventory(sessions, clock, lambda target: RealPlace(target).audit())),
    ]


def clean_queue(sessions: Sessions) -> int:
    """Forget jobs whose worker died over them: their attempts have results by now. How many there were."""
    with transaction(sessions) as session:
        found = session.execute(
            text(
                """
                DELETE FROM procrastinate_jobs j
                WHERE j.status <> 'todo' AND NOT EXISTS (
                    SELECT 1 FROM attempts a WHERE a.id::text = j.args->>'attempt' AND a.result IS NULL
                )
                RETURNING j.id
                """
            )
        )
        return len(found.all())


class Duties:
    """A thread for each: one that hangs or fails keeps no other from its work."""

    def __init__(self, todo: list[Duty]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(duty,), name=f"duty {duty.name}", daemon=True) for duty in todo
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float = 10) -> None:
        """No more from now on; what hangs is left to the end of the process."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(patience)

    def _run(self, duty: Duty) -> None:
        failures = 0
        while not self._stop.wait(min(duty.every * 2**failures, max(60, duty.every))):
            try:
                duty.do()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it was, the next time may go well
                failures = min(failures + 1, 10)
                log.warning("the duty %s failed: %s: %s", duty.name, type(error).__name__, _first_line(error))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
