"""Homes that people had, and the copies of them."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, Word
from portal.models.courses import Course


class Home(Base):
    """Whose home is where: stored when the person's server first started, kept after everything else is gone."""

    __tablename__ = "homes"
    __table_args__ = (UniqueConstraint("course_id", "issuer", "subject"),)

    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    home: Mapped[str] = mapped_column(String(200), primary_key=True)
    """Its name at the storage: a folder, or a volume claim."""
    issuer: Mapped[str | None] = mapped_column(String(500))
    """Whose home it is; None for one that the storage has and nobody is known to have had."""
    subject: Mapped[str | None] = mapped_column(String(128))
    first_seen_at: Mapped[datetime]
    server_stopped_at: Mapped[datetime | None]
    """When the person's last server was verified to be stopped."""

    course: Mapped[Course] = relationship()


class Archive(Base):
    """A copy of one home, made in one closing. It counts only if it began after the person's last server stopped."""

    __tablename__ = "archives"
    __table_args__ = (
        UniqueConstraint("course_id", "closing", "home", "number"),
        Index("ix_archives_person", "issuer", "subject"),
        CheckConstraint("status IN ('running', 'verified', 'failed')", "status"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"))
    closing: Mapped[int]
    home: Mapped[str] = mapped_column(String(200))
    number: Mapped[int] = mapped_column(default=1)
    """Counts the tries, and the passes: a lead's home is archived again when their access is cut."""
    issuer: Mapped[str | None] = mapped_column(String(500))
    subject: Mapped[str | None] = mapped_column(String(128))
    """Whose home it is; None for one that the storage has and nobody is known to have had."""
    status: Mapped[Word]
    """running, verified or failed."""
    began_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    bucket: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(500))
    size: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes of the tar.zst."""
    files: Mapped[int | None]
    skipped: Mapped[int | None]
    """How many things of the home are not in it, or not as they should be; its MANIFEST names them."""
    sha256: Mapped[str | None] = mapped_column(String(64))
    failure: Mapped[str] = mapped_column(Text, default="")
    """Why it failed, in one sentence as the work told it."""
    failure_kind: Mapped[Word] = mapped_column(default="")
    """Key of `portal.archives.causes.CAUSES`."""

    course: Mapped[Course] = relationship()
