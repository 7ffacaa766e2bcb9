"""How often something may be tried: counted in the database, for all processes together."""

from __future__ import annotations

import hmac
from hashlib import sha256

from flask import g
from sqlalchemy import text
from werkzeug.exceptions import TooManyRequests

from portal.sealing import derived
from portal.web.context import portal

_COUNT = text(
    """
    INSERT INTO rate_limits AS known (name, key, tries, ends_at)
    VALUES (:name, :key, 1, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (name, key) DO UPDATE SET
        tries = CASE WHEN known.ends_at <= clock_timestamp() THEN 1 ELSE known.tries + 1 END,
        ends_at = CASE WHEN known.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE known.ends_at END
    RETURNING tries, ceil(extract(epoch FROM ends_at - clock_timestamp()))::int
    """
)
_FORGET = text("DELETE FROM rate_limits WHERE ends_at < clock_timestamp() - interval '1 hour'")


def limit(name: str, key: object, times: int, seconds: float) -> None:
    """Count one try of `name` by `key` (a person's id, an address); raise 429 where it is more than `times` within
    `seconds`. The count stays whatever becomes of the request; keys are stored as hashes."""
    parts = portal()
    secret = derived(parts.settings.secret_key.get_secret_value(), "limits")
    digest = hmac.new(secret, f"{name}\0{key}".encode(), sha256).digest()
    with parts.engine.begin() as connection:
        tries, left = connection.execute(_COUNT, {"name": name, "key": digest, "seconds": seconds}).one()
        if tries == 1:
            connection.execute(_FORGET)
    if tries > times:
        raise TooManyRequests(retry_after=max(1, left))


def by_person_or_address() -> str:
    """Who tries: the person, or the address where nobody is signed in."""
    return str(g.actor.id or g.actor.address or "")
