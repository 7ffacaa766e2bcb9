"""Governance does without the archives that are missing: the course may be removed all the same."""

from __future__ import annotations

from sqlalchemy.orm import Session

from course_stack.spec import Problem
from portal.actor import Actor
from portal.archives.records import missing
from portal.clock import SiteClock
from portal.courses.life import act
from portal.courses.problems import Invalid
from portal.lifecycle import Action
from portal.models import Course
from portal.texts import N_

LONGEST_REASON = 2000


def waive(session: Session, clock: SiteClock, actor: Actor, course: Course, reason: str) -> None:
    """Give up the missing archives of the present closing of a course whose row is locked. A later closing wants its
    own again.

    Raises `Refused` for anybody but governance, and `Invalid` without a reason.
    """
    reason = reason.strip()
    if not reason:
        raise Invalid([Problem("reason", N_("is needed: say why the files may be lost"))])
    if len(reason) > LONGEST_REASON:
        raise Invalid([Problem("reason", N_("is too long; at most {most} characters"), {"most": LONGEST_REASON})])
    act(
        session,
        clock,
        actor,
        course,
        Action.WAIVE_ARCHIVES,
        before={"waived_closing": course.waived_closing},
        after={
            "waived_closing": course.closing,
            "reason": reason,
            "homes": [home.home for home in missing(session, course)][:100],
        },
    )
    course.waived_closing = course.closing
    course.waived_by_id = actor.id
