"""Who may be in a course's hub: a pure function of its status and the day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from course_stack.spec import CourseSpec
from portal.clock import SiteClock
from portal.lifecycle import Status


class Access(StrEnum):
    """Who is let in."""

    NOBODY = "nobody"
    LEADS = "leads"
    EVERYBODY = "everybody"
    """Leads and participants."""


LEADS_ARE_IN = frozenset({Status.ACTIVE, Status.CLOSING, Status.CLOSED})
"""Statuses in which leads are let in; participants only in an active course, from its first day to its last."""


def access_of(status: Status, first_day: dt.date, last_day: dt.date, today: dt.date) -> Access:
    """Who is let in on a day of the site: leads from `active` until the hub is removed, participants from 00:00 of the
    first day to 24:00 of the last."""
    if status not in LEADS_ARE_IN:
        return Access.NOBODY
    return Access.EVERYBODY if status is Status.ACTIVE and first_day <= today <= last_day else Access.LEADS


def members(access: Access, leads: Iterable[str], participants: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Subjects in the course's group, and in its group of leads."""
    if access is Access.NOBODY:
        return frozenset(), frozenset()
    leading = frozenset(leads)
    return (leading | frozenset(participants) if access is Access.EVERYBODY else leading), leading


def as_let_in(spec: CourseSpec, status: Status, today: dt.date) -> CourseSpec:
    """The spec with those people only whom the hub may let in today: what a stack is given, which makes groups of it.
    While a course is set up, or before its first day, that is leads without participants."""
    if access_of(status, spec.first_day, spec.last_day, today) is Access.EVERYBODY:
        return spec
    return spec.model_copy(update={"participants": ()})


def people_due_at(status: Status, first_day: dt.date, last_day: dt.date, clock: SiteClock) -> datetime | None:
    """When access will change by the calendar alone: participants are let in, or out again; None for never."""
    if status is not Status.ACTIVE:
        return None
    return next((at for at in (clock.begin(first_day), clock.end(last_day)) if at > clock.now()), None)
