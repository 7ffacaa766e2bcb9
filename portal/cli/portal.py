"""`jhaas portal`: the portal's processes, and its database."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from portal.cli.screen import out

app = typer.Typer(help="The portal: web pages, scheduler, workers, database.", no_args_is_help=True)


@app.command()
def web() -> None:
    """Serve the pages with gunicorn, until told to end."""
    from portal.local import settings_in_force

    settings_in_force()  # what is missing is said in one sentence, before anything starts
    command = [sys.executable, "-m", "gunicorn", "-c", "python:portal.gunicorn", "portal.gunicorn:application()"]
    os.execv(command[0], command)  # noqa: S606 - no shell, and nothing of ours is left to do


@app.command()
def worker() -> None:
    """Carry out operations, until told to end. Any number of workers may run."""
    from portal.local import settings_in_force
    from portal.worker.main import main

    main(settings_in_force())


@app.command()
def scheduler() -> None:
    """Ask for what is due, until told to end. Of several, one acts and the others wait to take over."""
    from portal.local import settings_in_force
    from portal.scheduler.main import main

    main(settings_in_force())


@app.command()
def migrate(
    grant: Annotated[
        str, typer.Option(metavar="ROLE", help="Then let this database role run the portal; it owns nothing.")
    ] = "",
) -> None:
    """Bring the database to this version's form. Safe to repeat; run it before new processes start."""
    from portal import migrations
    from portal.db import connect
    from portal.local import settings_in_force

    engine = connect(settings_in_force().database_url.get_secret_value())
    try:
        migrations.upgrade(engine)
        if grant:
            migrations.grant(engine, grant)
    finally:
        engine.dispose()
    out.print("The database has this version's form.")


@app.command()
def targets(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Make the portal know every target that has a file, and what each is now. Safe to repeat."""
    from course_stack.local.layout import Layout
    from course_stack.targets import folder_of_targets, load_target, target_names
    from portal.db import connect, sessions, transaction
    from portal.local import settings_in_force
    from portal.targets import take_over

    folder = folder_of_targets(Layout.of_environment().home)
    # all are read before the first is written: a wrong one changes nothing
    found = [load_target(folder / f"{name}.yaml") for name in target_names(folder)]
    engine = connect(settings_in_force().database_url.get_secret_value())
    try:
        with transaction(sessions(engine)) as session:
            for one in found:
                change = take_over(session, one)
                out.print(f"  {one.name}: {change}", markup=False)
            if dry_run:
                session.rollback()
    finally:
        engine.dispose()
    if not found:
        out.print(f"There is no NAME.yaml in {folder}.", markup=False)
    elif dry_run:
        out.print("Nothing was changed.")


@app.command()
def settings() -> None:
    """Print all settings as the guide shows them."""
    from portal.settings_guide import guide

    typer.echo(guide(), nl=False)
