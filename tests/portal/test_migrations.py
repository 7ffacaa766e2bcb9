"""The database's form: what migrations make is what the models say, up, down, and up again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from portal import audit, migrations
from portal.actor import SYSTEM
from portal.db import Sessions, connect, sessions, transaction
from portal.models import Base
from tests.portal.clock import MovableClock
from tests.support.database import DatabaseServer

_FORM = """
SELECT 'column', table_name || '.' || column_name,
       concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default, identity_generation)
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type', typname, '' FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'
"""


@pytest.fixture
def empty(postgres_server: DatabaseServer) -> Iterator[Engine]:
    """A database without anything in it."""
    postgres_server.postgres.ensure_database("empty")
    engine = connect(postgres_server.url("empty"))
    yield engine
    engine.dispose()
    postgres_server.postgres.execute("postgres", "DROP DATABASE empty WITH (FORCE)")


def form(engine: Engine) -> set[tuple[str, str, str]]:
    """Columns, constraints, indexes, functions and types, except those of Alembic itself."""
    with engine.connect() as connection:
        rows = connection.execute(text(_FORM)).all()
    return {(kind, name, what) for kind, name, what in rows if not name.startswith("alembic_version")}


def test_up_down_and_up_again(empty: Engine) -> None:
    migrations.upgrade(empty)
    first = form(empty)
    migrations.downgrade(empty)
    assert form(empty) == set()
    migrations.upgrade(empty)
    assert form(empty) == first


def test_the_migrations_make_what_the_models_say(empty: Engine, engine: Engine) -> None:
    Base.metadata.create_all(empty)
    beside = {"jhaas_refuse_change"}
    migrated = {one for one in form(engine) if not one[1].startswith("procrastinate_") and one[1] not in beside}
    assert migrated == form(empty), "models and migrations differ: run python -m tests.support.first_migration"


def test_alembic_sees_no_difference_and_leaves_the_queue_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, kind, _: not str(name).startswith("procrastinate_")}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_whether_the_database_is_current_is_known(empty: Engine) -> None:
    def current(connection: Connection) -> bool:
        return migrations.is_current(connection)

    with empty.connect() as connection:
        assert not current(connection)
    migrations.upgrade(empty, "0001")
    with empty.connect() as connection:
        assert not current(connection)
    migrations.upgrade(empty)
    with empty.connect() as connection:
        assert current(connection)


@pytest.mark.parametrize("deed", ["UPDATE {} SET at = now()", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", migrations.APPEND_ONLY)
def test_nobody_changes_the_audit_log_or_the_events_of_operations(engine: Engine, table: str, deed: str) -> None:
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="never changed or deleted"):
        connection.execute(text(deed.format(table)))


def test_the_portals_own_role_connects_writes_courses_and_only_adds_to_the_log(
    postgres_server: DatabaseServer, engine: Engine, database_url: str, clock: MovableClock
) -> None:
    postgres_server.postgres.ensure_database("portal_app")
    name = str(engine.url.database)
    postgres_server.postgres.execute("postgres", f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    migrations.grant(engine, "portal_app")
    app = connect(postgres_server.url(name, role="portal_app"))
    try:
        own: Sessions = sessions(app)
        with transaction(own) as session:
            audit.record(session, clock, SYSTEM, "course.approve")
            session.execute(text("INSERT INTO holidays VALUES ('2027-05-01', 'May Day')"))
            session.execute(text("DELETE FROM holidays"))
            assert session.execute(text("SELECT count(*) FROM audit_log")).scalar() == 1
        for statement in ("UPDATE audit_log SET action = 'x'", "DELETE FROM attempt_events", "DROP TABLE holidays",
                          "ALTER TABLE audit_log DISABLE TRIGGER ALL"):  # fmt: skip
            with app.connect() as connection, pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
                connection.execute(text(statement))
    finally:
        app.dispose()
