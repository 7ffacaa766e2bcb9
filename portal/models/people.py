"""People as the identity provider knows them, and their sessions with the portal."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, Key


class User(Base):
    """A person: issuer and subject. Everything else is what the identity provider last said of them."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[Key]
    issuer: Mapped[str] = mapped_column(String(500))
    subject: Mapped[str] = mapped_column(String(128))
    login: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(320))
    locale: Mapped[str | None] = mapped_column(String(10))
    """What the person chose; None follows the browser."""
    may_request: Mapped[bool] = mapped_column(default=False)
    """Member of the identity provider's group of people who may ask for courses."""
    is_governance: Mapped[bool] = mapped_column(default=False)
    roles_checked_at: Mapped[datetime]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime | None]

    sessions: Mapped[list[WebSession]] = relationship(back_populates="user", cascade="all, delete-orphan")

    def __str__(self) -> str:
        return self.name or self.login


class WebSession(Base):
    """One browser that is signed in. The cookie holds a random token, this row its hash only."""

    __tablename__ = "web_sessions"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4, unique=True)
    """What pages name it by."""
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    """Absolute end; being used does not move it."""
    provider_session: Mapped[str | None] = mapped_column(String(200))
    """`sid` of the identity provider, for back-channel logout."""
    refresh_token: Mapped[bytes | None]
    """Sealed (`portal.sealing`)."""
    id_token: Mapped[bytes | None]
    """Sealed; the hint for signing out at the identity provider."""
    address: Mapped[str | None] = mapped_column(String(64))
    browser: Mapped[str | None] = mapped_column(String(300))

    user: Mapped[User] = relationship(back_populates="sessions")
