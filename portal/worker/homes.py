"""Whose each home of a course is, noted while the course runs: a home that is gone at the end is missed then."""

from __future__ import annotations

from automation.events import Warned
from portal.archives import records
from portal.archives.places import storage_of
from portal.archives.storage import StorageFailed
from portal.worker.run import Run


def note_homes(run: Run) -> int:
    """Store the homes that the storage has now; how many were new. A storage that cannot be read is told, and stops
    nothing: the end of the course asks again."""
    if run.target.home is None and run.target.cluster is None:
        return 0
    try:
        found = storage_of(run.target, run.slug).homes()
    except StorageFailed as error:
        run.tell(Warned(str(error)))
        return 0
    with run.transaction() as session:
        return records.remember_homes(session, run.course(session), found, run.clock.now())
