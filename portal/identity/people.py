"""People as the identity provider describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from portal import audit
from portal.actor import SYSTEM
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.mail.outbox import notify
from portal.models import User


def arrive(session: Session, clock: SiteClock, settings: PortalSettings, issuer: str, said: Mapping[str, Any]) -> User:
    """The person that the provider describes, made at the first sign-in and brought up to date at each.

    A person is issuer and subject: a name or an address that changes, or that somebody else had before, is no matter.
    """
    now = clock.wall()
    subject = str(said["sub"])
    # two first sign-ins at once make one person
    is_new = session.scalar(
        insert(User)
        .values(issuer=issuer, subject=subject, login=subject[:200], name="", email="", may_request=False,
                is_governance=False, roles_checked_at=now, created_at=now)
        .on_conflict_do_nothing().returning(User.id)
    )  # fmt: skip
    user = session.scalars(select(User).where(User.issuer == issuer, User.subject == subject).with_for_update()).one()
    describe(session, clock, settings, user, said)
    if is_new:
        notify(session, clock, "welcome", f"{user.id}:welcome", [user])
    return user


def describe(session: Session, clock: SiteClock, settings: PortalSettings, user: User, said: Mapping[str, Any]) -> None:
    """Bring name, address and roles up to what the provider says now. Changed roles go into the audit log."""
    user.login = (_text(said, "preferred_username") or user.subject)[:200]
    user.name = (_name(said) or user.login)[:200]
    user.email = _text(said, "email")[:320]
    before = {"may_request": user.may_request, "is_governance": user.is_governance}
    groups = groups_of(said)
    after = {
        "may_request": not settings.teachers_group or settings.teachers_group in groups,
        "is_governance": settings.governance_group in groups,
    }
    user.may_request, user.is_governance = after["may_request"], after["is_governance"]
    user.roles_checked_at = clock.wall()
    if before != after:
        audit.record(session, clock, SYSTEM, "person.roles", subject=user.id, before=before, after=after)


def groups_of(said: Mapping[str, Any]) -> frozenset[str]:
    """Names of the groups in the claim `groups`; anything but a list of texts means none."""
    groups = said.get("groups")
    return frozenset(one for one in groups if isinstance(one, str)) if isinstance(groups, list) else frozenset()


def _name(said: Mapping[str, Any]) -> str:
    return _text(said, "name") or f"{_text(said, 'given_name')} {_text(said, 'family_name')}".strip()


def _text(said: Mapping[str, Any], claim: str) -> str:
    value = said.get(claim)
    # control characters have no place in names, and would end headers of mails
    return " ".join("".join(c if c.isprintable() else " " for c in value).split()) if isinstance(value, str) else ""
