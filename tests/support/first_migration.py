"""`python -m tests.support.first_migration`: write migration 0001 anew from the models.

Only until the first release: from then on a change of the models is a migration of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from portal.migrations import FOLDER
from portal.models import Base
from tests.support.database import database_server

_FILE = FOLDER / "versions" / "0001_tables.py"
_TEXT = '''"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {down}
'''


def main() -> None:
    """See the module."""
    with database_server() as server:
        server.postgres.ensure_database("empty")
        engine = create_engine(server.url("empty").replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            script = produce_migrations(MigrationContext.configure(connection), Base.metadata)
        engine.dispose()
    assert script.upgrade_ops is not None and script.downgrade_ops is not None
    code = _TEXT.format(
        up=render_python_code(script.upgrade_ops).strip(), down=render_python_code(script.downgrade_ops).strip()
    )
    code = code.replace("astext_type=Text()", "")
    code = "\n".join(line for line in code.splitlines() if "### " not in line) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / _FILE.name
        draft.write_text(code)
        subprocess.run([sys.executable, "-m", "ruff", "format", "--line-length=120", "--quiet", draft], check=True)
        _FILE.write_text(draft.read_text())


if __name__ == "__main__":
    main()
