"""What pages show of a course's homes and their archives."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.archives.records import missing_among
from portal.models import Archive, Course, Home, User

PAGE = 100


@dataclass(frozen=True, slots=True)
class HomeLine:
    """One home. `archive` is the last that was verified in the present closing, else the last that was tried."""

    home: Home
    owner: User | None
    archive: Archive | None
    counts: bool
    """Whether the home has an archive that counts."""

    @property
    def state(self) -> str:
        """verified, running, failed, or waiting (nobody has tried, or what was copied is outdated)."""
        if self.counts:
            return "verified"
        return "waiting" if self.archive is None or self.archive.status == "verified" else self.archive.status


@dataclass(frozen=True, slots=True)
class HomePage:
    """Homes in the order of their names; `following` is the name after which the next page begins."""

    lines: list[HomeLine]
    following: str | None


def homes_of(session: Session, course: Course, after: str = "") -> HomePage:
    """A page of the course's homes: three statements."""
    rows = session.execute(
        select(Home, User)
        .outerjoin(User, (User.issuer == Home.issuer) & (User.subject == Home.subject))
        .where(Home.course_id == course.id, Home.home > after)
        .order_by(Home.home)
        .limit(PAGE + 1)
    ).all()
    shown = rows[:PAGE]
    names = [home.home for home, _ in shown]
    archives: dict[str, Archive] = {}
    for archive in session.scalars(
        select(Archive)
        .where(Archive.course_id == course.id, Archive.closing == course.closing, Archive.home.in_(names))
        .order_by(Archive.number)
    ):
        before = archives.get(archive.home)
        if before is None or before.status != "verified" or archive.status == "verified":
            archives[archive.home] = archive
    missing = missing_among(session, course, names)
    lines = [HomeLine(home, owner, archives.get(home.home), home.home not in missing) for home, owner in shown]
    return HomePage(lines, names[-1] if len(rows) > PAGE else None)
