"""What governance keeps: targets with their capacity, the image catalogue, the site's calendar; and the audit log."""

from __future__ import annotations

import datetime as dt
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, Key


class TargetRecord(Base):
    """Where hubs run, and how much there is. Approvals lock the row: capacity is given out one at a time."""

    __tablename__ = "targets"

    name: Mapped[str] = mapped_column(String(31), primary_key=True)
    target: Mapped[dict[str, Any]]
    """`course_stack.target.Target`: addresses and choices, no credentials."""
    memory_mib: Mapped[int] = mapped_column(BigInteger)
    """What notebooks and hubs may be guaranteed together."""
    cpu_millicores: Mapped[int] = mapped_column(BigInteger)
    storage_mib: Mapped[int] = mapped_column(BigInteger)
    gpus: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Kind of GPU → how many."""
    parallel_operations: Mapped[int] = mapped_column(default=2)
    """Deploys and the like that may run at the same time."""
    is_open: Mapped[bool] = mapped_column(default=True)
    """Whether new courses may be asked for here."""
    defaults: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Fields of a spec with which a course here begins: image, resources, culling, …"""
    inventory: Mapped[dict[str, Any] | None]
    """What a worker found that should not exist or is missing (`portal.worker.inventory`)."""
    inventory_at: Mapped[datetime | None]


class CatalogueImage(Base):
    """A notebook image that teachers choose from."""

    __tablename__ = "catalogue_images"

    id: Mapped[Key]
    title: Mapped[str] = mapped_column(String(100))
    description: Mapped[str] = mapped_column(Text, default="")
    reference: Mapped[str] = mapped_column(String(500), unique=True)
    default_url: Mapped[str] = mapped_column(String(200), default="/lab")
    position: Mapped[int] = mapped_column(default=0)
    is_offered: Mapped[bool] = mapped_column(default=True)


class Holiday(Base):
    """A day on which nobody works at this site: no working day of a lead window."""

    __tablename__ = "holidays"

    day: Mapped[dt.date] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))


class SiteState(Base):
    """The one row of facts about this site."""

    __tablename__ = "site_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    clock_offset_seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    """How far a demo's clock was moved forward; 0 everywhere else."""
    settings_digest: Mapped[str] = mapped_column(String(64), default="")
    """Of the settings that due times follow from: another one means that all are computed anew."""


class RateLimit(Base):
    """How often somebody tried something of late (`portal.web.limits`)."""

    __tablename__ = "rate_limits"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    """Hash of who tries."""
    tries: Mapped[int]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    """By the database's clock: when counting begins anew."""


class AuditEntry(Base):
    """Who did what, when, from where. Rows are inserted and read, never changed; people are named by id only."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "course_id", "id"), Index(None, "actor_id", "id"))

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    actor_id: Mapped[uuid.UUID | None]
    """None: the portal itself (scheduler or worker)."""
    action: Mapped[str] = mapped_column(String(64))
    """`course.approve`, `participation.remove`, …: thing and deed."""
    course_id: Mapped[uuid.UUID | None]
    subject_id: Mapped[str | None] = mapped_column(String(64))
    """What else it was done to: a person, an image, an operation."""
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))


class Mail(Base):
    """One mail of one event to one person: the outbox. Written with what it tells of, sent later."""

    __tablename__ = "mails"
    __table_args__ = (
        Index("uq_mails_event_recipient", "event_key", "recipient", unique=True),
        Index(None, "created_at"),
        Index("ix_mails_unsent", "not_before", postgresql_where="sent_at IS NULL AND given_up_at IS NULL"),
    )

    id: Mapped[Key]
    """Also the local part of the Message-ID: the same at every try."""
    event: Mapped[str] = mapped_column(String(64))
    """Name of the template: `course_ready`, `ending_soon`, …"""
    event_key: Mapped[str] = mapped_column(String(300))
    """Names the event itself: with the recipient it is unique, so that nobody is told twice."""
    recipient: Mapped[str] = mapped_column(String(320))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    course_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("courses.id"), index=True)
    locale: Mapped[str] = mapped_column(String(10))
    facts: Mapped[dict[str, Any]]
    """What the template is filled with; no secret."""
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    failure: Mapped[str] = mapped_column(Text, default="")
