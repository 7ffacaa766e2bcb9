"""Who is signed in: sessions of our own, of which the browser holds a random token and the database its hash."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session, joinedload

from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions
from portal.identity.oidc import Logout, Tokens
from portal.models import User, WebSession
from portal.sealing import Sealer

_TOKEN_BYTES = 32
_NOTED = timedelta(minutes=1)
"""Use is noted once in this time, not at each request."""


def digest(token: str) -> bytes:
    """What the database knows of a token. It is random and long: a plain hash tells nothing."""
    return sha256(token.encode()).digest()


def begin(
    session: Session,
    clock: SiteClock,
    settings: PortalSettings,
    sealer: Sealer,
    actor: Actor,
    user: User,
    tokens: Tokens,
    *,
    browser: str = "",
    before: str | None = None,
) -> str:
    """Sign a person in and return the token for the cookie. `before` is the token that the browser had: it ends."""
    if before is not None:
        session.execute(delete(WebSession).where(WebSession.token_hash == digest(before)))
    now = clock.wall()
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    provider_session = tokens.claims.get("sid")
    made = WebSession(
        token_hash=digest(token),
        id=uuid.uuid4(),
        user_id=user.id,
        created_at=now,
        seen_at=now,
        expires_at=now + timedelta(hours=settings.session_hours),
        provider_session=provider_session[:200] if isinstance(provider_session, str) else None,
        refresh_token=sealer.seal(tokens.refresh) if tokens.refresh else None,
        id_token=sealer.seal(tokens.id) if tokens.id else None,
        address=actor.address,
        browser=browser[:300] or None,
    )
    session.add(made)
    user.seen_at = now
    audit.record(session, clock, Actor(user, actor.address, actor.request_id), "session.begin", subject=made.id)
    _forget_expired(session, clock)
    return token


def find(session: Session, clock: SiteClock, settings: PortalSettings, token: str) -> WebSession | None:
    """The session of a token, with its person; None for one that is unknown, too old, or was not used for too long."""
    now = clock.wall()
    return session.scalar(
        select(WebSession)
        .where(
            WebSession.token_hash == digest(token),
            WebSession.expires_at > now,
            WebSession.seen_at > now - timedelta(hours=settings.session_idle_hours),
        )
        .options(joinedload(WebSession.user))
        .execution_options(populate_existing=True)
    )


def note_use(make: Sessions, clock: SiteClock, found: WebSession) -> None:
    """Remember that the session was used; written at most once a minute, in a transaction of its own."""
    now = clock.wall()
    if now - found.seen_at < _NOTED:
        return
    with make() as session, session.begin():
        session.execute(update(WebSession).where(WebSession.token_hash == found.token_hash).values(seen_at=now))
        session.execute(update(User).where(User.id == found.user_id).values(seen_at=now))


def mine(session: Session, clock: SiteClock, settings: PortalSettings, user: User) -> list[WebSession]:
    """The person's sessions that can still be used, the latest first."""
    now = clock.wall()
    return list(
        session.scalars(
            select(WebSession)
            .where(
                WebSession.user_id == user.id,
                WebSession.expires_at > now,
                WebSession.seen_at > now - timedelta(hours=settings.session_idle_hours),
            )
            .order_by(WebSession.seen_at.desc())
        )
    )


def end(session: Session, clock: SiteClock, actor: Actor, session_id: uuid.UUID) -> bool:
    """End one of the actor's own sessions; whether there was one."""
    return _end(session, clock, actor, WebSession.id == session_id)


def end_others(session: Session, clock: SiteClock, actor: Actor, keep: uuid.UUID) -> bool:
    """End all sessions of the actor but one; whether there were any."""
    return _end(session, clock, actor, WebSession.id != keep)


def end_by_provider(session: Session, clock: SiteClock, issuer: str, logout: Logout) -> int:
    """End what the identity provider ended; how many sessions that were."""
    people = select(User.id).where(User.issuer == issuer)
    named = []
    if logout.session:
        named.append(WebSession.provider_session == logout.session)
    elif logout.subject:
        named.append(WebSession.user_id.in_(people.where(User.subject == logout.subject)))
    ended = session.execute(
        delete(WebSession).where(WebSession.user_id.in_(people), or_(*named)).returning(WebSession.id)
    )
    ids = list(ended.scalars())
    for one in ids:
        audit.record(session, clock, Actor(None), "session.end", subject=one, after={"by": "identity provider"})
    return len(ids)


def _end(session: Session, clock: SiteClock, actor: Actor, which: object) -> bool:
    ended = session.execute(
        delete(WebSession).where(WebSession.user_id == actor.id, which).returning(WebSession.id)  # type: ignore[arg-type]
    )
    ids = list(ended.scalars())
    for one in ids:
        audit.record(session, clock, actor, "session.end", subject=one)
    return bool(ids)


def _forget_expired(session: Session, clock: SiteClock) -> None:
    session.execute(delete(WebSession).where(WebSession.expires_at < clock.wall()))
