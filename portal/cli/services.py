"""`jhaas services`: the local services behind the hubs of one machine."""

from __future__ import annotations

import typer
from rich.table import Table

from course_stack.local.layout import Layout
from portal.cli.screen import Checklist, out

app = typer.Typer(
    help="The local services of this machine: database, object store, identity provider, edge.", no_args_is_help=True
)

_COLOURS = {"ready": "green", "starting": "yellow", "stopped": "dim", "failed": "red"}


@app.command()
def up() -> None:
    """Start what does not run yet, and wait until everything answers. Hubs of earlier days come back, too."""
    bring_up(Layout.of_environment())


@app.command()
def down() -> None:
    """Stop all services and hubs of this machine. Nothing is deleted: `up` finds everything again."""
    from course_stack.local import services

    layout = Layout.of_environment()
    with out.status("Stopping hubs and services"):
        services.down(layout)
    out.print(f"Stopped. The data stay in {layout.home}.")


@app.command()
def status() -> None:
    """Show how each service is, now; exit code 1 if one is not ready."""
    from course_stack.local import services

    states = services.status(Layout.of_environment())
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "state", "address", "pid", ""):
        table.add_column(heading)
    for one in states:
        colour = _COLOURS[one.state]
        table.add_row(one.name, f"[{colour}]{one.state}[/]", one.address, str(one.pid or ""), one.detail)
    out.print(table)
    if any(one.state != "ready" for one in states):
        raise typer.Exit(1)


def bring_up(layout: Layout) -> None:
    """Start the services with a line of progress for each."""
    from course_stack.local import services

    with Checklist("Local services") as checklist:
        services.up(layout, checklist.report)
