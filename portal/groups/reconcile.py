"""Brings identity provider and hubs to what the database says of people, course by course.

Any number of processes may do this at once: a course is one's by a transaction-level advisory lock. (The course's row
itself stays free while provider and hub are asked: people go on joining.)
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select, update
from sqlalchemy.orm import Session

from automation.failures import HubFailed
from course_stack import identity
from course_stack.hub_rules import CHECK_USER
from course_stack.identity import IdentityError, IdentityProvider
from course_stack.names import CourseNames
from course_stack.target import Target
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.courses.specs import people_of
from portal.db import Sessions, transaction
from portal.groups.access import LEADS_ARE_IN, Access, access_of, members
from portal.hub_api import HubApi
from portal.lifecycle import Status
from portal.models import Attempt, Course, Operation, Participation
from portal.participants.access import write
from portal.sealing import Sealer
from portal.worker.run import Hub

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=5)
"""Pauses after failures double from the first to the longest: whoever was removed stays in no longer than needed."""
_AT_ONCE = 50
_LOCKS = 0x9E09  # ours, among the advisory locks of two numbers
_STILL_THERE = frozenset({Status.REMOVING, Status.REMOVAL_FAILED})
_GOING_ON = LEADS_ARE_IN | _STILL_THERE | {Status.APPROVED}
"""Where there may be something to do. (While a hub is set up its groups are the stack's own.)"""

TargetOf = Callable[[str], Target]
"""Name of a target → the target."""
Connect = Callable[[Target], AbstractContextManager[IdentityProvider]]
Call = Callable[[Hub], AbstractContextManager[HubApi]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ending:
    """Somebody who has no access any more, since when."""

    user_id: uuid.UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What shall be so at identity provider and hub."""

    slug: str
    access: Access
    everybody: frozenset[str]
    leads: frozenset[str]
    hub: Hub | None
    target: Target


@dataclass(frozen=True, slots=True)
class _Plan:
    """The same for one course of the database, read at one moment; `wanted` is None where nothing is ours to say."""

    course_id: uuid.UUID
    revision: int
    access: Access
    wanted: _Wanted | None
    endings: tuple[_Ending, ...]


@contextmanager
def connected(target: Target) -> Iterator[IdentityProvider]:
    """The target's identity provider, with the credentials of `JHAAS_CREDENTIALS_DIR`."""
    with closing(identity.connect(target)) as provider:
        yield provider


def reconcile_due(
    sessions: Sessions,
    clock: SiteClock,
    settings: PortalSettings,
    target_of: TargetOf,
    *,
    connect: Connect = connected,
    call: Call = HubApi,
) -> int:
    """Carry out what is due: people who joined or lost their access, a first or last day, a new status, what failed
    before. How many courses are in step now that were not.

    A failure is written to the course (`people_failure`), tried again with growing pauses, and stops no other course.
    """
    with sessions() as session:
        due = list(
            session.scalars(
                select(Course.id).where(_is_due(clock)).order_by(Course.people_not_before.nulls_first()).limit(_AT_ONCE)
            )
        )
    sealer = Sealer.of(settings)
    return sum(_reconcile(sessions, clock, sealer, course_id, target_of, connect, call) for course_id in due)


def nobody_is_at(session: Session, course_id: uuid.UUID) -> bool:
    """Whether nobody brings the course's people in step now, by what they read before; until the end of the session's
    transaction nobody begins to."""
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(_LOCKS, _number(course_id)))))


def _reconcile(
    sessions: Sessions,
    clock: SiteClock,
    sealer: Sealer,
    course_id: uuid.UUID,
    target_of: TargetOf,
    connect: Connect,
    call: Call,
) -> bool:
    with transaction(sessions) as session:
        if not nobody_is_at(session, course_id):
            return False
        course = session.scalar(select(Course).where(Course.id == course_id, _is_due(clock)))
        if course is None:
            return False  # somebody else did it
        working = _live_kinds(session, course)
        if "destroy" in working:
            write(session, course, people_not_before=clock.now() + FIRST_PAUSE)
            return False  # it cuts everybody off itself, and deletes what we would write
        plan = _plan(session, clock, course, sealer, target_of)
        try:
            unknown = [] if plan.wanted is None else _carry_out(plan.wanted, connect, call)
        except (IdentityError, HubFailed) as error:
            tries = course.people_tries + 1
            pause = min(FIRST_PAUSE * 2 ** min(tries - 1, 10), LONGEST_PAUSE)
            _log.warning("people are not in step", course=str(course_id), tries=tries, failure=str(error))
            write(
                session,
                course,
                people_not_before=clock.now() + pause,
                people_tries=tries,
                people_failure=str(error)[:1000],
            )
            return False
        if working:
            write(session, course, people_not_before=clock.now() + FIRST_PAUSE)
            return False  # its stack may write older people over ours: once more when it has ended
        _mark(session, course, plan, unknown)
        return True


def _plan(session: Session, clock: SiteClock, course: Course, sealer: Sealer, target_of: TargetOf) -> _Plan:
    access = access_of(course.status, course.first_day, course.last_day, clock.today())
    wanted = None
    if course.status in LEADS_ARE_IN or course.status in _STILL_THERE:
        everybody, leads = members(
            access, people_of(session, course, leads=True), people_of(session, course, leads=False)
        )
        wanted = _Wanted(course.slug, access, everybody, leads, _hub(course, sealer), target_of(course.target_name))
    endings = session.execute(
        select(Participation.user_id, Participation.since).where(
            Participation.course_id == course.id,
            Participation.status != "accepted",
            Participation.access_ended.is_(False),
        )
    )
    return _Plan(
        course_id=course.id,
        revision=course.people_revision,
        access=access,
        wanted=wanted,
        endings=tuple(_Ending(user_id, since) for user_id, since in endings),
    )


def _carry_out(wanted: _Wanted, connect: Connect, call: Call) -> list[str]:
    """The groups first, so that nobody whom the hub forgets can come in again. Subjects without an account are left
    out and returned: one deleted account keeps nobody else out, or in."""
    names = CourseNames(wanted.slug)
    unknown: list[str] = []
    with connect(wanted.target) as provider:
        for group, subjects in ((names.group, wanted.everybody), (names.lead_group, wanted.leads)):
            if wanted.access is Access.NOBODY and not provider.group_members(group):
                continue
            unknown += _ensure(provider, group, subjects)
    if wanted.hub is not None:
        with call(wanted.hub) as api:
            _end_all_but(api, wanted.everybody, wanted.hub)
    return sorted(set(unknown))


def _ensure(provider: IdentityProvider, group: str, wanted: frozenset[str]) -> list[str]:
    unknown: list[str] = []
    while True:
        try:
            provider.ensure_group(group, wanted.difference(unknown))
        except IdentityError as error:
            if error.unknown is None or error.unknown in unknown:
                raise
            unknown.append(error.unknown)
        else:
            return unknown


def _end_all_but(api: HubApi, wanted: frozenset[str], hub: Hub) -> None:
    """Everybody whom the hub knows and who is not wanted goes: server, sessions and tokens. Their homes stay."""
    known = {subject.casefold() for subject in wanted} | {CHECK_USER}  # hubs may write names in small letters

    def others() -> list[str]:
        return [user.name for user in api.users() if user.name.casefold() not in known]

    leaving = others()
    if not leaving:
        return
    api.stop_all(leaving)  # at the same time; whoever's server did not stop, `delete_user` tells why
    for name in leaving:
        api.delete_user(name)
    if still := others():
        raise HubFailed(f"The hub at {hub.url} still knows {len(still)} of {len(leaving)} people whose access ended.")


def _mark(session: Session, course: Course, plan: _Plan, unknown: list[str]) -> None:
    for ending in plan.endings:
        session.execute(
            update(Participation)
            .where(
                Participation.course_id == plan.course_id,
                Participation.user_id == ending.user_id,
                Participation.since == ending.since,  # who came and went again meanwhile is not meant
            )
            .values(access_ended=True)
            .execution_options(synchronize_session=False)
        )
    failure = f"The identity provider has no account for {', '.join(unknown)}." if unknown else ""
    write(
        session,
        course,
        people_applied=plan.revision,
        people_access=plan.access,
        people_not_before=None,
        people_tries=0,
        people_failure=failure,
    )


def _hub(course: Course, sealer: Sealer) -> Hub | None:
    if course.hub_url is None or course.api_url is None or course.api_token is None:
        return None
    return Hub(course.hub_url, course.api_url, sealer.open(course.api_token))


def _live_kinds(session: Session, course: Course) -> frozenset[str]:
    """Kinds of operations that write groups and of which something may still live."""
    return frozenset(
        session.scalars(
            select(Operation.kind).where(
                Operation.course_id == course.id,
                Operation.kind.in_(("deploy", "update", "destroy")),
                exists().where(
                    Attempt.operation_id == Operation.id,
                    Attempt.claimed_at.is_not(None),
                    Attempt.released_at.is_(None),
                ),
            )
        )
    )


def _is_due(clock: SiteClock) -> ColumnElement[bool]:
    today = clock.today()
    wanted = case(
        (
            and_(Course.status == Status.ACTIVE, Course.first_day <= today, Course.last_day >= today),
            Access.EVERYBODY.value,
        ),
        (Course.status.in_(LEADS_ARE_IN), Access.LEADS.value),
        else_=Access.NOBODY.value,
    )
    return and_(
        or_(Course.status.in_(_GOING_ON), Course.people_access != "nobody"),  # by indexes: few of all courses
        or_(Course.people_applied != Course.people_revision, Course.people_access != wanted),
        or_(Course.people_not_before.is_(None), Course.people_not_before <= clock.now()),
    )


def _number(course_id: uuid.UUID) -> int:
    return int.from_bytes(course_id.bytes[:4], signed=True)
