"""`jhaas demo`: one command from nothing to a hub with people in it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from course_stack.local.layout import Layout
from portal.cli.screen import Operation, out
from portal.cli.services import bring_up
from portal.cli.stacks import course_stacks

if TYPE_CHECKING:
    from course_stack.local.services.demo import DemoPerson

EXAMPLE = Path(__file__).parents[2] / "examples" / "courses" / "python-intro.yaml"

_TO_TRY = {
    "student": "a participant: gets a notebook",
    "teacher": "the lead: may open the student's notebook (File → Hub Control Panel → Admin)",
    "stranger": "has an account, is in no course: is turned away",
}


def demo() -> None:
    """Start the local services, deploy the example course, show who can sign in, and stay until Ctrl-C."""
    from course_stack.local import services
    from course_stack.local.isolation import isolation
    from course_stack.local.services.demo import ensure_demo_people
    from course_stack.spec import load_spec

    layout = Layout.of_environment()
    spec = load_spec(EXAMPLE)
    stop = threading.Event()
    try:
        bring_up(layout)
        people = ensure_demo_people(layout)
        with Operation(f"Deploying {spec.slug}") as operation:
            result = course_stacks().deploy(spec, on_event=operation)
        out.print(_welcome(result.outputs["hub_url"], people))
        if warning := isolation().warning:
            out.print(f"[yellow]{warning}[/]")
        out.print("Ctrl-C stops everything; the next start finds it again.")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        stop.wait()
    except KeyboardInterrupt:
        pass
    finally:
        with out.status("Stopping hubs and services"):
            services.down(layout)
        out.print(f"Stopped. The data stay in {layout.home}.")


def _welcome(hub_url: str, people: list[DemoPerson]) -> Panel:
    table = Table(box=None, pad_edge=False)
    for heading in ("sign in as", "password", "who that is"):
        table.add_column(heading)
    for person in people:
        if person.role in _TO_TRY:
            table.add_row(f"[bold]{person.login}[/]", person.password, _TO_TRY[person.role])
    grid = Table.grid(padding=(0, 0))
    grid.add_row(f"Open [bold]{hub_url}[/] in a browser on this machine.\n")
    grid.add_row(table)
    return Panel(grid, title="A course is running", expand=False, padding=(1, 2))
