"""The database's form: Alembic migrations, and the few things that are asked of them.

The role that runs them owns the tables. Where the portal itself runs under another role, `GRANTS` gives that one what
it needs and no more: the audit log and the events of operations can be read and added to, never changed.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

FOLDER = Path(__file__).parent

APPEND_ONLY = ("attempt_events", "audit_log")
"""Tables whose rows are never changed or deleted, whoever asks (a trigger refuses)."""

GRANTS = """
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
REVOKE UPDATE, DELETE, TRUNCATE ON attempt_events, audit_log FROM {role};
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version FROM {role};
"""
"""What a role needs that runs the portal and does not own its tables; CONNECT where PUBLIC's was revoked."""

_LOCK = 0x6A68_6161
"""Key of the advisory lock under which migrations run: of several that start at once, one works and the others wait."""


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision, in one transaction: all of it, or nothing."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(configuration(connection), revision)


def downgrade(engine: Engine, revision: str = "base") -> None:
    """Take the database back to a revision; `base` removes every table of ours with its rows."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.downgrade(configuration(connection), revision)


def is_current(connection: Connection) -> bool:
    """Whether the database has the form that this version of the portal works with."""
    heads = set(ScriptDirectory(str(FOLDER)).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads


def grant(engine: Engine, role: str) -> None:
    """Let another role run the portal. Call it again after each upgrade."""
    quote = engine.dialect.identifier_preparer.quote
    with engine.begin() as connection:
        database = connection.scalar(text("SELECT current_database()"))
        names = {"role": quote(role), "database": quote(database)}
        for statement in filter(str.strip, GRANTS.split(";")):
            connection.execute(text(statement.format_map(names)))


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's settings, for work on this connection; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
