"""What the database knows of homes and archives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from portal.archives.causes import CAUSES, INTERRUPTED
from portal.archives.pack import ArchiveFacts
from portal.archives.storage import Owner
from portal.archives.store import archive_key
from portal.models import Archive, Course, Home, Lead, User


def remember_homes(session: Session, course: Course, found: Mapping[str, Owner | None], now: datetime) -> int:
    """Store whose each home of the course is; how many were new. Homes that are gone stay known."""
    known = {home.home: home for home in session.scalars(select(Home).where(Home.course_id == course.id))}
    for name, owner in found.items():
        home = known.get(name)
        if home is None:
            home = Home(course_id=course.id, home=name, first_seen_at=now)
            session.add(home)
        if owner is not None and home.subject is None:
            home.issuer, home.subject = owner.issuer, owner.subject
    return len(found.keys() - known.keys())


def servers_stopped(session: Session, course: Course, homes: Iterable[str], now: datetime) -> None:
    """The people of these homes have no server from now on: only archives that begin after this count."""
    for home in session.scalars(select(Home).where(Home.course_id == course.id, Home.home.in_(list(homes)))):
        home.server_stopped_at = now


def with_open_end(session: Session, course: Course) -> frozenset[str]:
    """Homes whose people's servers were not seen to end in the present closing."""
    query = select(Home.home).where(Home.course_id == course.id, ~_stopped(course))
    return frozenset(session.scalars(query))


def begin_archive(session: Session, course: Course, closing: int, home: str, bucket: str, now: datetime) -> Archive:
    """A new try to archive a home, under a name of its own. A try that was running is over: its worker is gone."""
    rows = list(
        session.scalars(
            select(Archive).where(Archive.course_id == course.id, Archive.closing == closing, Archive.home == home)
        )
    )
    for row in rows:
        if row.status == "running":
            row.status, row.failure, row.failure_kind = "failed", CAUSES[INTERRUPTED], INTERRUPTED
    number = max((row.number for row in rows), default=0) + 1
    owner = session.get_one(Home, (course.id, home))
    archive = Archive(
        course_id=course.id,
        closing=closing,
        home=home,
        number=number,
        issuer=owner.issuer,
        subject=owner.subject,
        status="running",
        began_at=now,
        bucket=bucket,
        key=archive_key(course.id, closing, home, number),
    )
    session.add(archive)
    session.flush()
    return archive


def verified(session: Session, archive: int, facts: ArchiveFacts, now: datetime) -> None:
    """The archive was read back and is whole."""
    row = session.get_one(Archive, archive)
    row.status, row.verified_at = "verified", now
    row.size, row.sha256, row.files, row.skipped = facts.size, facts.sha256, facts.files, facts.skipped


def failed(session: Session, archive: int, why: str, kind: str) -> None:
    """The try came to nothing, for a reason of this kind (`portal.archives.causes`)."""
    row = session.get_one(Archive, archive)
    row.status, row.failure, row.failure_kind = "failed", why, kind


def abandoned_keys(session: Session, course: Course, home: str) -> list[str]:
    """Names under which tries that failed, were interrupted or are outdated may have left an object."""
    query = select(Archive.key).where(Archive.course_id == course.id, Archive.home == home, Archive.status == "failed")
    return list(session.scalars(query))


def missing(session: Session, course: Course, *, final: bool = False) -> list[Home]:
    """Homes without a verified archive that counts for the present closing, by name.

    An archive counts only if it began after the person's last server had stopped in this closing. Before the final
    pass any archive of this closing counts for leads, who may go on until their access is cut.
    """
    return list(session.scalars(_missing(course, final=final).order_by(Home.home)))


def missing_among(session: Session, course: Course, homes: Iterable[str]) -> frozenset[str]:
    """Those of these homes that have no archive that counts before the final pass."""
    query = _missing(course, final=False).where(Home.home.in_(list(homes)))
    return frozenset(home.home for home in session.scalars(query))


def settled(session: Session, course: Course, *, final: bool = False) -> bool:
    """Whether every home has an archive that counts, or governance has done without the missing ones.

    Without `final`: what must be so before the removal begins (`Circumstances.archives_settled`); with it, before
    anything is destroyed.
    """
    if waived(course):
        return True
    return not session.scalar(select(_missing(course, final=final).exists()))


def waived(course: Course) -> bool:
    """Whether governance has done without the missing archives of the present closing."""
    return course.waived_closing is not None and course.waived_closing == course.closing


def counts(session: Session, course: Course) -> tuple[int, int]:
    """Homes of the course, and how many of them have an archive that counts for the present closing."""
    homes = session.scalar(select(func.count()).select_from(Home).where(Home.course_id == course.id)) or 0
    without = session.scalar(select(func.count()).select_from(_missing(course, final=False).subquery())) or 0
    return homes, homes - without


def _missing(course: Course, *, final: bool) -> Select[Home]:
    good = and_(_stopped(course), Archive.began_at >= Home.server_stopped_at)
    if not final:
        of_course = (Lead.course_id == course.id, Lead.user_id == User.id, User.subject == Home.subject)
        lead = exists().where(*of_course).correlate(Home)
        good = or_(good, lead)
    counting = exists().where(
        Archive.course_id == Home.course_id,
        Archive.home == Home.home,
        Archive.closing == course.closing,
        Archive.status == "verified",
        good,
    )
    return select(Home).where(Home.course_id == course.id, ~counting)


def _stopped(course: Course) -> ColumnElement[bool]:
    """The end of a server in an earlier closing says nothing about this one."""
    seen = Home.server_stopped_at.is_not(None)
    return seen if course.closing_since is None else and_(seen, Home.server_stopped_at >= course.closing_since)
