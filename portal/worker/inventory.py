"""What really is on a target, compared with the courses of the database: stacks and things that should not exist, and
those that are missing. A worker writes it down for governance; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import select

from automation.audit import Audit
from course_stack.target import Target
from portal.clock import SiteClock
from portal.db import Sessions, transaction
from portal.lifecycle import HAS_STACK, Status
from portal.models import Course, TargetRecord
from portal.texts import N_

FINDINGS: dict[str, str] = {
    "no_course": N_("There is a stack, and no course that should have one."),
    "no_stack": N_("The course should have a stack, and there is none."),
    "part_missing": N_("The stack lacks something that it made."),
    "interrupted": N_("A run was interrupted; the next one repairs that."),
    "unreadable": N_("The stack's state cannot be read."),
    "stray": N_("It is there without a stack."),
    "leftover": N_("Something of a stack that is gone is left in the state store."),
}
"""Kinds of findings, in words (message ids)."""

MUST_HAVE = HAS_STACK - {Status.DEPLOYING, Status.DEPLOY_FAILED, Status.REMOVING, Status.REMOVAL_FAILED}
"""Statuses in which a stack exists, unless something is wrong; in the others of `HAS_STACK` it may."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str
    """A key of `FINDINGS`."""
    slug: str
    detail: str = ""


def findings(audit: Audit, courses: Mapping[str, Status]) -> list[Finding]:
    """Compare. `courses` are those of the target that hold their slug, by slug."""
    found = []
    for stack in audit.stacks:
        status = courses.get(stack.slug)
        if status is None or status not in HAS_STACK:
            found.append(Finding("no_course", stack.slug, str(status or "")))
        if stack.damage:
            found.append(Finding("unreadable", stack.slug, stack.damage))
        if stack.missing:
            names = ", ".join(f"{thing.kind} {thing.name}" for thing in stack.missing)
            found.append(Finding("part_missing", stack.slug, names))
        if stack.interrupted and not stack.locks:
            found.append(Finding("interrupted", stack.slug, ", ".join(stack.interrupted)))
    there = {stack.slug for stack in audit.stacks}
    found += [
        Finding("no_stack", slug, str(status))
        for slug, status in sorted(courses.items())
        if status in MUST_HAVE and slug not in there
    ]
    found += [Finding("stray", thing.name, thing.kind) for thing in audit.stray]
    found += [Finding("leftover", slug, ", ".join(keys)) for slug, keys in sorted(audit.leftovers.items())]
    return found


def take_inventory(sessions: Sessions, clock: SiteClock, audit_of: Callable[[Target], Audit]) -> int:
    """Look at every target and write down what was found; how many findings. One that cannot be looked at says so."""
    with sessions() as session:
        targets = {
            record.name: Target.model_validate(record.target) for record in session.scalars(select(TargetRecord))
        }
    count = 0
    for name, target in targets.items():
        try:
            audit = audit_of(target)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next target may be looked at
            _write(sessions, clock, name, (), f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}")
            continue
        # courses after the look: one that began meanwhile has no stack missing, and one that ended is gone from both
        with sessions() as session:
            rows = session.execute(select(Course.slug, Course.status).where(Course.target_name == name)).all()
        courses = {slug: Status(status) for slug, status in rows if status in HAS_STACK}
        found = findings(audit, courses)
        count += len(found)
        _write(sessions, clock, name, found, "")
    return count


def _write(sessions: Sessions, clock: SiteClock, name: str, found: Iterable[Finding], failure: str) -> None:
    with transaction(sessions) as session:
        record = session.get_one(TargetRecord, name)
        record.inventory = {"findings": [asdict(one) for one in found], "failure": failure}
        record.inventory_at = clock.now()
