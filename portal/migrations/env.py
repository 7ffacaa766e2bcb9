"""Read by Alembic: runs migrations on the connection that it is given (`portal.migrations`)."""

from __future__ import annotations

from typing import Any

from alembic import context

from portal.models import Base


def _is_ours(name: str | None, kind: str, _: Any) -> bool:
    # the queue's tables come and go by the queue's own SQL
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_name=_is_ours,
    compare_server_default=True,
)
context.run_migrations()
