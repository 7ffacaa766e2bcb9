"""The work of each kind of operation. Checks, closings and archives have modules of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from automation.failures import OperationFailed, StackMissing
from portal.archives import records
from portal.courses.life import is_over
from portal.courses.specs import design_of, revision_of
from portal.models import Course
from portal.operations.kinds import FITS, Kind
from portal.texts import N_
from portal.worker.claimed import ClaimedRun
from portal.worker.homes import note_homes
from portal.worker.images import fetch_images
from portal.worker.stacks import Output, Place, PlaceOf, Result, Stacks

Work = Callable[[ClaimedRun], dict[str, Any]]


def works(place_of: PlaceOf) -> Mapping[Kind, Work]:
    """What carries out each kind, on the stacks of wherever `place_of` says."""
    from portal.worker.archiving import archive, archive_leads
    from portal.worker.check import check
    from portal.worker.closing import close

    engine = EngineWork(place_of, last_archives=archive_leads)
    return {
        Kind.DEPLOY: engine.deploy,
        Kind.UPDATE: engine.update,
        Kind.REFRESH: engine.refresh,
        Kind.DESTROY: engine.destroy,
        Kind.CHECK: check,
        Kind.CLOSE: close,
        Kind.ARCHIVE: archive,
    }


class EngineWork:
    """The kinds for which Pulumi works."""

    def __init__(self, place_of: PlaceOf, *, last_archives: Work) -> None:
        self._place_of = place_of
        self._last_archives = last_archives

    def deploy(self, run: ClaimedRun) -> dict[str, Any]:
        """Create the hub, and keep where it is; then bring the images to the nodes, days before the first notebook."""
        _, stacks = self._begin(run)
        done = self._apply(run, stacks, stacks.deploy, N_("Setting up the hub"))
        fetch_images(run)
        return done

    def update(self, run: ClaimedRun) -> dict[str, Any]:
        """Bring the hub to the operation's revision. New images come to the nodes first: from the change on people
        start notebooks with them."""
        _, stacks = self._begin(run)
        if _has_new_images(run):
            fetch_images(run)
            run.check()
        return self._apply(run, stacks, stacks.update, N_("Changing the hub"))

    def refresh(self, run: ClaimedRun) -> dict[str, Any]:
        """Look at what differs from the last deployment; nothing is changed. Who is in a group is not looked at: that
        is kept in step by others (`portal.groups`)."""
        _, stacks = self._begin(run)
        note_homes(run)
        run.step(N_("Comparing what is there with what was deployed"))
        try:
            found = stacks.refresh(run.slug, on_event=run.tell)
        except StackMissing:
            return {"differences": [{"name": run.slug, "resource_type": "stack", "what": "gone", "fields": []}]}
        differences = []
        for one in found:
            fields = [name for name in one.fields if name != "members"]
            if one.what == "gone" or fields or not one.fields:
                differences.append({**dataclasses.asdict(one), "fields": fields})
        return {"differences": differences}

    def destroy(self, run: ClaimedRun) -> dict[str, Any]:
        """Copy what leads wrote since the close, remove everything, and look independently whether that is so."""
        place, stacks = self._begin(run)
        archived: dict[str, Any] = {}
        if run.closing:
            archived = self._last_archives(run)
            with run.transaction() as session:
                if not records.settled(session, run.course(session), final=True):
                    raise OperationFailed("Homes are not archived, and governance has not done without their archives.")
        run.check()
        run.step(N_("Removing the hub"))
        result = stacks.destroy(run.slug, on_event=run.tell, operation=run.engine_id)
        run.step(N_("Looking whether anything is left"))
        if left := place.traces(run.slug):
            raise OperationFailed(f"{len(left)} things of the course are still there, among them: {left[0]}.")
        return {"changes": dict(result.changes), **archived}

    def _apply(self, run: ClaimedRun, stacks: Stacks, action: Callable[..., Result], text: str) -> dict[str, Any]:
        run.step(text)
        result = action(run.spec, on_event=run.tell, operation=run.engine_id)
        outputs = stacks.outputs(run.slug)
        run.write(lambda session, course: _applied(run, session, course, outputs))
        return {"changes": dict(result.changes)}

    def _begin(self, run: ClaimedRun) -> tuple[Place, Stacks]:
        with run.transaction() as session:
            _ensure_wanted(run, run.course(session))
        place = self._place_of(run.target)
        stacks = place.stacks(run.leases)
        run.keeper.when_stopping(lambda: stacks.cancel(run.slug))
        run.check()
        return place, stacks


def _ensure_wanted(run: ClaimedRun, course: Course) -> None:
    """Much can happen between the asking and the doing, and the scheduler may be down: nothing is deployed of a course
    that is over, and nothing destroyed of one that goes on."""
    kind = run.claim.kind
    if kind not in FITS.get(course.status, frozenset()):
        raise OperationFailed(f"The course is {course.status} by now: there is nothing to {kind}.")
    if kind is Kind.DEPLOY and is_over(course, run.clock):
        raise OperationFailed("The course's last day has passed by now: it is not deployed any more.")


def _has_new_images(run: ClaimedRun) -> bool:
    """Whether notebooks may run an image that those of the applied revision could not."""
    with run.transaction() as session:
        course = run.course(session)
        applied = course.applied_revision
        known = design_of(revision_of(session, course, applied)).images if applied is not None else ()
    return not set(run.spec.images) <= set(known)


def _applied(run: ClaimedRun, _session: Session, course: Course, outputs: Mapping[str, Output]) -> None:
    course.hub_url, course.api_url = str(outputs["hub_url"].value), str(outputs["api_url"].value)
    course.api_token = run.sealer.seal(str(outputs["api_token"].value))
    course.applied_revision = run.revision
    course.stack_gone_at = None
