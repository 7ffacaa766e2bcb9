"""One scheduler acts at a time, however many run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

KEY = 0x6A68_6162
"""Of the advisory lock that the acting scheduler holds."""


class LeadershipLost(Exception):
    """The connection that held the lock is gone: another scheduler may act already."""


class Hands(sessionmaker[Session]):
    """Sessions on the very connection that holds the lock: who loses the lock can write nothing more, without having
    to notice first."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, expire_on_commit=False)
        self._connection = connection

    def __call__(self, **local_kw: Any) -> Session:
        # SQLAlchemy would connect anew by itself, and then without the lock
        if self._connection.invalidated or self._connection.closed:
            raise LeadershipLost
        return super().__call__(**local_kw)


@contextmanager
def leadership(engine: Engine) -> Iterator[Hands | None]:
    """The right to act, given up at the end; None where another scheduler has it."""
    connection = engine.connect()
    try:
        held = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}).scalar_one()
        connection.commit()
        yield Hands(connection) if held else None
    finally:
        with suppress(DBAPIError):
            # never back into the pool: the lock belongs to the connection, and ends with it
            connection.invalidate()
            connection.close()
