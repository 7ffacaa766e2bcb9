"""Homes into archives: after the close for everybody, and once more before the hub is destroyed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from automation.events import Progress, Warned
from automation.failures import ObjectStoreFailed, OperationFailed
from course_stack.local.layout import Layout
from course_stack.object_store import ObjectStoreError
from portal.archives import records
from portal.archives.copy import Failure, HomeGone, HomeInUse, Order, Outcome
from portal.archives.pack import ArchiveFacts
from portal.archives.places import storage_of
from portal.archives.storage import HomeStorage, StorageFailed
from portal.archives.store import ArchiveStore
from portal.groups.reconcile import connected
from portal.hub_api import Patience
from portal.texts import N_
from portal.worker.closing import Connect, end_everything
from portal.worker.run import Run

_LOOK_EVERY = 1.0
"""Seconds between two looks at whether the work shall go on."""


class HomesNotArchived(OperationFailed):
    """Not every home has an archive that counts."""


def archive(run: Run) -> dict[str, Any]:
    """Copy every home that the storage has and that has no archive yet that counts for this closing.

    A home that cannot be copied keeps no other from being copied; raises `OperationFailed` at the end then. Homes that
    are done are not copied again by the next try.
    """
    return _archive_all(run, final=False)


def archive_leads(run: Run, *, patience: Patience | None = None, connect: Connect = connected) -> dict[str, Any]:
    """The last pass, just before the hub is destroyed: end everybody's access, leads' too, and copy what changed since.

    Afterwards `records.settled(session, course, final=True)` holds, or `OperationFailed` was raised, and nothing may be
    destroyed. Where governance did without missing archives, what cannot be copied is only told.
    """
    ended = end_everything(run, patience=patience, connect=connect)
    return {**ended, **_archive_all(run, final=True)}


def _archive_all(run: Run, *, final: bool) -> dict[str, Any]:
    storage = storage_of(run.target, run.slug)
    found = storage.homes()
    folder = None if run.target.home is None else Layout(run.target.home).credentials
    try:
        store = ArchiveStore.of(run.target, run.settings.archive_bucket, folder)
    except ObjectStoreError as error:
        raise ObjectStoreFailed(str(error)) from error
    with run.transaction() as session:
        course = run.course(session)
        if course.closing != run.closing:
            raise OperationFailed(f"The course is at its closing {course.closing}, not {run.closing}.")
        records.remember_homes(session, course, found, run.clock.now())
        session.flush()
        todo = [(home.home, home.subject) for home in records.missing(session, course, final=final)]
        waived = records.waived(course)
    failures: dict[str, str] = {}
    done: list[ArchiveFacts] = []
    for begin in range(0, len(todo), storage.at_once):
        run.check()
        batch = todo[begin : begin + storage.at_once]
        _tell_batch(run, [home for home, _ in batch], begin, len(todo))
        used = storage.in_use() - {home for home, subject in batch if not final and subject in run.spec.leads}
        unable: dict[str, Failure] = {}
        for home, _ in batch:
            if home not in found:
                unable[home] = HomeGone("The home is no longer in the storage.")
            elif home in used:
                unable[home] = HomeInUse("A notebook server still has the home open.")
        _refuse(run, store, unable)
        able = [home for home, _ in batch if home not in unable]
        for home, outcome in chain(unable.items(), _archive(run, storage, store, able)):
            if isinstance(outcome, ArchiveFacts):
                done.append(outcome)
            else:
                failures[home] = str(outcome)
                run.tell(Warned(f"{home}: {outcome}"))
            run.tell(Progress(len(done) + len(failures), len(todo)))
    if failures and not waived:
        home, why = next(iter(failures.items()))
        raise HomesNotArchived(f"{len(failures)} of {len(todo)} homes could not be archived, among them {home}: {why}")
    return {
        "archived": len(done),
        "already_archived": len(found) - len([home for home, _ in todo if home in found]),
        "files": sum(facts.files for facts in done),
        "bytes": sum(facts.size for facts in done),
        "left_out": sum(facts.skipped for facts in done),
        "failed": failures,
    }


def _tell_batch(run: Run, homes: Sequence[str], before: int, total: int) -> None:
    if len(homes) == 1:
        run.step(N_("Archiving home %(number)s of %(total)s: %(home)s"), number=before + 1, total=total, home=homes[0])
    else:
        run.step(
            N_("Archiving homes %(first)s to %(last)s of %(total)s"),
            first=before + 1,
            last=before + len(homes),
            total=total,
        )


def _refuse(run: Run, store: ArchiveStore, unable: Mapping[str, Failure]) -> None:
    """Write down why these homes are not copied now, as a try of each that failed: people see it there."""
    if not unable:
        return
    with run.transaction() as session:
        course, now = run.course(session), run.clock.now()
        for home, failure in unable.items():
            row = records.begin_archive(session, course, run.closing, home, store.bucket, now)
            records.failed(session, row.id, str(failure), type(failure).__name__)


def _archive(run: Run, storage: HomeStorage, store: ArchiveStore, homes: Sequence[str]) -> Iterator[Outcome]:
    """Archive these homes at once, each as a new try; what becomes of it is written down before it is told."""
    if not homes:
        return
    orders, numbers, old = _begin(run, store, homes)
    try:
        for former in old:
            store.delete(former)
        for home in homes:
            store.abort_uploads(run.course_id, run.closing, home)
        for home, outcome in storage.archive(orders, store, _Tick(run.check)):
            with run.transaction() as session:
                if isinstance(outcome, ArchiveFacts):
                    records.verified(session, numbers.pop(home), outcome, run.clock.now())
                else:
                    records.failed(session, numbers.pop(home), str(outcome), type(outcome).__name__)
            if isinstance(outcome, ArchiveFacts):
                for skipped in outcome.first_skipped[:3]:
                    run.tell(
                        Warned(f"{home}: {ascii(skipped.path)[:200]} is not in the archive as it was: {skipped.why}.")
                    )
            yield home, outcome
    except (ObjectStoreError, StorageFailed) as error:
        failure = error if isinstance(error, StorageFailed) else ObjectStoreFailed(str(error))
        with run.transaction() as session:
            for number in numbers.values():
                records.failed(session, number, failure.message, type(failure).__name__)
        if failure is error:
            raise
        # no other home would fare better
        raise failure from error


def _begin(run: Run, store: ArchiveStore, homes: Sequence[str]) -> tuple[list[Order], dict[str, int], list[str]]:
    """A new try for each home: the orders, the number of each home's row, and keys that former tries may have left."""
    orders: list[Order] = []
    numbers: dict[str, int] = {}
    old: list[str] = []
    with run.transaction() as session:
        course, began = run.course(session), run.clock.now()
        for home in homes:
            row = records.begin_archive(session, course, run.closing, home, store.bucket, began)
            old += records.abandoned_keys(session, course, home)
            about = {
                "course": run.slug,
                "title": run.spec.title,
                "closing": run.closing,
                "home": home,
                "issuer": row.issuer,
                "subject": row.subject,
                "began_at": began.isoformat(),
            }
            orders.append(Order(home, row.key, about))
            numbers[home] = row.id
    return orders, numbers, old


class _Tick:
    """Looks whether the work shall go on, now and then."""

    def __init__(self, look: Callable[[], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._look, self._monotonic = look, monotonic
        self._next = 0.0

    def __call__(self, _: int) -> None:
        if (now := self._monotonic()) >= self._next:
            self._next = now + _LOOK_EVERY
            self._look()
