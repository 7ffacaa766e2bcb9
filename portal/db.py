"""The database: one engine a process, one session a unit of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import Session, sessionmaker

Sessions = sessionmaker[Session]


def connect(url: str, *, pool: int = 5) -> Engine:
    """An engine for `postgresql://…`. Dead connections are noticed; a statement waits 10 s at most for a lock."""
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool,
        max_overflow=pool,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text goes into logs
        connect_args={
            "options": "-c lock_timeout=10s -c timezone=UTC",
            "application_name": "jhaas-portal",
            "connect_timeout": 5,
        },
    )


def sessions(engine: Engine) -> Sessions:
    """Makes sessions whose objects stay readable after a commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(make: Sessions) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back if anything is raised."""
    with make() as session, session.begin():
        yield session


def database_now(session: Session) -> datetime:
    """The database's clock, by which leases and deadlines go."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now
