"""Courses, the revisions of their specs, their leads and participants, and requests to change them."""

from __future__ import annotations

import datetime as dt
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.lifecycle import SLUG_IS_FREE, Status
from portal.models.base import Base, Key, Word
from portal.models.people import User

# a column of words that comes back as members of `Status`: rules compare them by identity
_STATUS = Enum(Status, native_enum=False, create_constraint=False, length=20, values_callable=list)
_FREE = ", ".join(f"'{status}'" for status in sorted(SLUG_IS_FREE))


class Course(Base):
    """What a teacher asks for. `status` is written by `portal.courses.life` only, as `portal.lifecycle` says."""

    __tablename__ = "courses"
    __table_args__ = (
        Index("uq_courses_slug_in_use", "slug", unique=True, postgresql_where=text(f"status NOT IN ({_FREE})")),
        Index("ix_courses_due", "next_due_at", postgresql_where=text("next_due_at IS NOT NULL")),
        Index(None, "status", "first_day"),
        Index(None, "requested_at", "id"),
        Index("ix_courses_let_in", "people_access", postgresql_where=text("people_access <> 'nobody'")),
        Index("ix_courses_target_period", "target_name", "first_day", "last_day"),
        CheckConstraint("first_day <= last_day", "period"),
    )

    id: Mapped[Key]
    slug: Mapped[str] = mapped_column(String(40), index=True)
    target_name: Mapped[str] = mapped_column(ForeignKey("targets.name"))
    status: Mapped[Status] = mapped_column(_STATUS)
    status_since: Mapped[datetime]
    next_due_at: Mapped[datetime | None]
    """When the scheduler has to look at the course again (`portal.scheduler.due`)."""
    version: Mapped[int] = mapped_column(default=1)
    """Counts changes of the row: of two decisions at once, the second one finds another number."""

    title: Mapped[str] = mapped_column(String(100))
    first_day: Mapped[dt.date]
    """Of the approved revision, as are `last_day`, `seats` and `title`: what lists and calendars ask for."""
    last_day: Mapped[dt.date]
    seats: Mapped[int]
    agreed_last_day: Mapped[dt.date | None]
    """The last day that governance agreed to: leads extend so many days beyond it and no further, however often."""
    approved_revision: Mapped[int]
    """The revision that is wanted; before approval the one that is asked for."""
    applied_revision: Mapped[int | None]
    """The revision that the hub was last deployed or updated with."""
    checked_revision: Mapped[int | None]
    """The revision with which a notebook was last proven to run: what a failed change goes back to."""

    requested_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    requested_at: Mapped[datetime]
    decided_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why it was rejected, withdrawn or ended early, in the words of whoever did it."""
    ended_early_at: Mapped[datetime | None]

    join_policy: Mapped[Word] = mapped_column(default="admits")
    """`admits`: the code lets in at once; `asks`: a lead consents to each person."""
    join_code_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), unique=True)
    join_code: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed, for the leads' page; None where joining by code is switched off."""
    people_revision: Mapped[int] = mapped_column(default=0)
    """Counts changes of who has access; `people_applied` is the one that the identity provider and the hub know."""
    people_applied: Mapped[int] = mapped_column(default=0)
    people_access: Mapped[Word] = mapped_column(default="nobody")
    """Who was let in when that was applied: nobody, leads or everybody (`portal.groups.access`)."""
    people_not_before: Mapped[datetime | None]
    """When applying them is tried next, after a failure; None: as soon as there is something to apply."""
    people_tries: Mapped[int] = mapped_column(default=0)
    people_failure: Mapped[str] = mapped_column(Text, default="")
    """Why they could not be applied yet, in one sentence for people."""

    hub_url: Mapped[str | None] = mapped_column(String(300))
    api_url: Mapped[str | None] = mapped_column(String(300))
    api_token: Mapped[bytes | None]
    """Sealed. Scoped to what the portal does at this hub; made anew at each deploy."""
    checked_at: Mapped[datetime | None]
    """When a notebook was last proven to run."""

    closing: Mapped[int] = mapped_column(default=0)
    """Number of the present or last closing; archives and waivers belong to one closing."""
    closing_since: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    """When the last server was verified to be stopped; the days of grace count from here."""
    waived_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    waived_closing: Mapped[int | None]
    """Closing whose missing archives governance gave up."""
    stack_gone_at: Mapped[datetime | None]
    """When an independent look found nothing of the stack."""
    archive_ready_at: Mapped[datetime | None]
    """When people were told that their archives are there; retention counts from here."""
    drift: Mapped[dict[str, Any] | None]
    """What differed from the last deployment when it was last looked at (`portal.operations.drift`)."""
    drift_checked_at: Mapped[datetime | None]

    requested_by: Mapped[User] = relationship(foreign_keys=requested_by_id)
    revisions: Mapped[list[Revision]] = relationship(back_populates="course", order_by="Revision.number")
    leads: Mapped[list[Lead]] = relationship(back_populates="course", order_by="Lead.since")
    participations: Mapped[list[Participation]] = relationship(back_populates="course")
    changes: Mapped[list[ChangeRequest]] = relationship(back_populates="course", order_by="ChangeRequest.requested_at")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's name for it


class Revision(Base):
    """One form of a course's spec, never changed. Its people are in tables of their own."""

    __tablename__ = "course_revisions"

    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[dict[str, Any]]
    """`CourseSpec` without `leads` and `participants` (`portal.courses.specs`)."""
    author_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]

    course: Mapped[Course] = relationship(back_populates="revisions")


class Lead(Base):
    """A teacher responsible for a course."""

    __tablename__ = "course_leads"

    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    since: Mapped[datetime]
    added_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))

    course: Mapped[Course] = relationship(back_populates="leads")
    user: Mapped[User] = relationship(foreign_keys=user_id)


class Participation(Base):
    """A person's place in a course, also after they left it."""

    __tablename__ = "participations"
    __table_args__ = (
        Index(None, "course_id", "status"),
        # few among many: what a course keeps for them is counted for every course at once (`courses.room`)
        Index(
            "ix_participations_former",
            "course_id",
            "user_id",
            postgresql_where=text("status IN ('removed', 'left')"),
        ),
        CheckConstraint("status IN ('waiting', 'accepted', 'rejected', 'removed', 'left')", "status"),
    )

    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)
    status: Mapped[Word]
    """waiting, accepted, rejected, removed or left."""
    code_is_dead: Mapped[bool] = mapped_column(default=False)
    """Rejected or removed: the course's code does nothing for this person until a lead lifts that."""
    since: Mapped[datetime]
    changed_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    access_ended: Mapped[bool] = mapped_column(default=True)
    """Whether group, tokens and server are verified to be gone, where the person has no access (the reconciler's)."""

    course: Mapped[Course] = relationship(back_populates="participations")
    user: Mapped[User] = relationship(foreign_keys=user_id)


class ChangeRequest(Base):
    """Fields of the spec that shall change, and against which revision that was asked."""

    __tablename__ = "change_requests"
    __table_args__ = (
        Index("uq_change_requests_open", "course_id", unique=True, postgresql_where=text("status = 'open'")),
        CheckConstraint("status IN ('open', 'approved', 'rejected', 'withdrawn', 'void')", "status"),
    )

    id: Mapped[Key]
    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"), index=True)
    base_revision: Mapped[int]
    changes: Mapped[dict[str, Any]]
    """Field of `CourseSpec` → wanted value."""
    comment: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[Word] = mapped_column(default="open")
    """open, approved, rejected, withdrawn, or void (the course closed first)."""
    requested_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    requested_at: Mapped[datetime]
    decided_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(Text, default="")

    course: Mapped[Course] = relationship(back_populates="changes")
    requested_by: Mapped[User] = relationship(foreign_keys=requested_by_id)
