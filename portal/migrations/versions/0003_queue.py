"""The tables and functions of the work queue, by procrastinate's own SQL (3.10)."""

from __future__ import annotations

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # as one text, past SQLAlchemy: it has many statements, and % signs that are no placeholders
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(SchemaManager.get_schema())


def downgrade() -> None:
    """procrastinate brings no way back: whatever bears its name is dropped."""
    op.execute(
        """
        DO $$
        DECLARE one record;
        BEGIN
            FOR one IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname LIKE 'procrastinate\\_%'
            LOOP EXECUTE format('DROP TABLE %s CASCADE', one.name); END LOOP;
            FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname = current_schema() AND p.proname LIKE 'procrastinate\\_%'
            LOOP EXECUTE format('DROP FUNCTION %s CASCADE', one.name); END LOOP;
            FOR one IN SELECT t.oid::regtype AS name FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
                WHERE n.nspname = current_schema() AND t.typname LIKE 'procrastinate\\_%' AND t.typtype IN ('e', 'c')
            LOOP EXECUTE format('DROP TYPE %s CASCADE', one.name); END LOOP;
        END
        $$
        """
    )
