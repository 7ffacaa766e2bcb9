"""Runs of work on courses, their tries, and what was told while they ran."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, Key, Word
from portal.models.courses import Course


class Operation(Base):
    """One run of work on a course, written before anything happens. At most one is live for a course."""

    __tablename__ = "operations"
    __table_args__ = (
        Index(
            "uq_operations_live", "course_id", unique=True, postgresql_where=text("status IN ('waiting', 'running')")
        ),
        Index("ix_operations_waiting", "not_before", postgresql_where=text("status = 'waiting'")),
        Index(None, "course_id", "created_at"),
        CheckConstraint(
            "kind IN ('deploy', 'update', 'check', 'close', 'archive', 'destroy', 'refresh', 'purge')", "kind"
        ),
        CheckConstraint("status IN ('waiting', 'running', 'succeeded', 'failed', 'superseded', 'cancelled')", "status"),
    )

    id: Mapped[Key]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    """Counts up over all operations: their order where two were asked for at the same instant."""
    course_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("courses.id"))
    kind: Mapped[Word]
    """deploy, update, check, close, archive, destroy, refresh or purge."""
    revision: Mapped[int]
    """Of the course's spec."""
    closing: Mapped[int | None]
    """Of the course, where the work belongs to one."""
    status: Mapped[Word] = mapped_column(default="waiting")
    """waiting (for its time, or for a worker), running, succeeded, failed, superseded or cancelled."""
    not_before: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    max_tries: Mapped[int]
    cancel_asked_at: Mapped[datetime | None]
    cancel_reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]
    created_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    """Who asked for it; None is the scheduler."""
    finished_at: Mapped[datetime | None]
    failure: Mapped[str] = mapped_column(Text, default="")
    """Why it failed, in one sentence as the work told it."""
    failure_kind: Mapped[Word] = mapped_column(default="")
    """Key of `portal.operations.causes.CAUSES`."""

    course: Mapped[Course] = relationship()
    attempts: Mapped[list[Attempt]] = relationship(back_populates="operation", order_by="Attempt.number")


class Attempt(Base):
    """One try of an operation by one worker, with exactly one result."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("uq_attempts_live", "operation_id", unique=True, postgresql_where=text("result IS NULL")),
        Index("ix_attempts_lease", "lease_until", postgresql_where=text("result IS NULL")),
        UniqueConstraint("operation_id", "number"),
        CheckConstraint("result IN ('succeeded', 'failed', 'lost', 'cancelled')", "result"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    operation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("operations.id"))
    number: Mapped[int]
    queued_at: Mapped[datetime]
    worker: Mapped[str | None] = mapped_column(String(200))
    """Who claimed it: host, process and a random part; None while nobody has."""
    claimed_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """By the database's clock; renewed by the worker. Once past, the attempt may be declared lost."""
    deadline: Mapped[datetime | None]
    """By the database's clock: when the attempt is ended whatever it does."""
    finished_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    """Since when nothing of it can live any more: its worker ended it in order, or a later one proved it dead."""
    result: Mapped[str | None] = mapped_column(String(20))
    """succeeded, failed, lost (its worker is gone) or cancelled; None while it is live."""
    failure: Mapped[str] = mapped_column(Text, default="")
    failure_kind: Mapped[Word] = mapped_column(default="")
    details: Mapped[dict[str, Any] | None]
    """What the kind of operation found out: changes, differences, names of archives, …"""

    operation: Mapped[Operation] = relationship(back_populates="attempts")


class AttemptEvent(Base):
    """One line of what an attempt told (`automation.events`, without secrets): (attempt, n) counts up from 1."""

    __tablename__ = "attempt_events"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    type: Mapped[Word]
    """started, step, resource, progress, log, warning or finished."""
    content: Mapped[dict[str, Any]]
