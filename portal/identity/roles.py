"""Roles are asked for again while people work: whoever loses one loses it within minutes, not at the next sign-in."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from sqlalchemy import select

from portal import audit
from portal.actor import SYSTEM
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions
from portal.identity.oidc import Provider, ProviderRefused, ProviderUnreachable
from portal.identity.people import describe
from portal.models import User, WebSession
from portal.sealing import Sealer, Unsealable


class Roles(StrEnum):
    """What came of asking."""

    FRESH = "fresh"
    UNKNOWN = "unknown"
    """The provider cannot be asked: what it said last still holds for reading, and for nothing else."""
    ENDED = "ended"
    """The provider said no, or gave nothing to ask with: the session is over."""


def recheck(
    make: Sessions,
    clock: SiteClock,
    settings: PortalSettings,
    sealer: Sealer,
    provider: Provider,
    token_hash: bytes,
) -> Roles:
    """Ask the provider about the person of a session, unless somebody just did.

    The session's row is locked meanwhile: a refresh token works once, and of many requests at the same time one asks
    and the others find its answer.
    """
    with make() as session, session.begin():
        found = session.scalar(select(WebSession).where(WebSession.token_hash == token_hash).with_for_update())
        if found is None:
            return Roles.ENDED
        # by a statement of its own: one that waited for the lock sees other tables as they were before
        user = session.get_one(User, found.user_id)
        if clock.wall() - user.roles_checked_at < timedelta(minutes=settings.role_check_minutes):
            return Roles.FRESH
        try:
            if found.refresh_token is None:
                raise ProviderRefused("There is no refresh token.")
            subject = user.subject
            tokens = provider.refresh(sealer.open(found.refresh_token), subject=subject)
            # the old one is void from here on, whatever comes next
            found.refresh_token = sealer.seal(tokens.refresh) if tokens.refresh else None
            if tokens.id:
                found.id_token = sealer.seal(tokens.id)
            describe(session, clock, settings, user, provider.person(tokens, subject=subject))
        except ProviderUnreachable:
            return Roles.UNKNOWN
        except (ProviderRefused, Unsealable) as error:
            audit.record(session, clock, SYSTEM, "session.end", subject=found.id, after={"because": str(error)})
            session.delete(found)
            return Roles.ENDED
        return Roles.FRESH
