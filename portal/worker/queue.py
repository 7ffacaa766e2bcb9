"""The work queue: procrastinate delivers (operation, attempt) to a worker, and does nothing else.

Its retries, locks and care for stalled jobs stay unused: what was claimed, by whom and how it ended stands in the
attempt's row, so that a job may come twice, or late, or be lost and delivered again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from procrastinate import App, JobContext, PsycopgConnector
from sqlalchemy import text
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from portal.worker.runner import Runner

QUEUE = "operations"
RUNNER = "runner"
"""Under which name the worker's runner is in a job's context."""


def queue_app(**connection: Any) -> App:
    """The queue. `connection` goes to psycopg's pool; whoever only delivers on a transaction of its own gives none."""
    app = App(connector=PsycopgConnector(**connection))

    @app.task(name="run_attempt", queue=QUEUE, pass_context=True)
    async def run_attempt(context: JobContext, operation: str, attempt: int) -> None:
        runner = cast("Runner", context.additional_context[RUNNER])
        await runner.run(UUID(operation), attempt)

    return app


_delivering = queue_app()


def deliver(session: Session, operation: UUID, attempt: int) -> None:
    """Put an attempt into the queue, as part of the session's transaction."""
    connection = session.connection().connection.driver_connection
    _delivering.configure_task("run_attempt", queue=QUEUE, connection=connection).defer(
        operation=str(operation), attempt=attempt
    )


def is_queued(session: Session, attempt: int) -> bool:
    """Whether a job that nobody has fetched yet carries this attempt."""
    found = session.execute(
        text(
            "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND (args->>'attempt')::bigint = :attempt LIMIT 1"
        ),
        {"attempt": str(attempt)},
    )
    return found.first() is not None
