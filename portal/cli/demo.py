"""`jhaas demo`: one command from nothing to a portal with a course that runs and one that waits."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from course_stack.local.layout import Layout
from portal.cli.screen import Checklist, out
from portal.cli.services import bring_up

if TYPE_CHECKING:
    from course_stack.local.services.demo import DemoPerson
    from portal.config import PortalSettings
    from portal.db import Sessions

EXAMPLE = Path(__file__).parents[2] / "examples" / "courses" / "python-intro.yaml"

_PATIENCE = 600.0
"""Seconds for which the first course is watched; it takes half a minute on most machines."""

_TO_TRY = {
    "teacher": "asks for courses, leads this one",
    "governance": "approves: one course waits",
    "student": "a participant: opens a notebook",
    "classmate": "has an account: joins by the link below",
}


def demo() -> None:
    """Start everything on this machine, set up a course, show who can sign in, and stay until Ctrl-C."""
    from course_stack.local import services
    from course_stack.local.isolation import isolation

    layout = Layout.of_environment()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _interrupt())
    try:
        bring_up(layout)
        out.print(_begin(layout))
        if warning := isolation().warning:
            out.print(f"[yellow]{warning}[/]")
        out.print("Ctrl-C stops everything; the next start finds it again.")
        stop.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one would leave half of it running
        with out.status("Stopping portal, hubs and services"):
            services.down(layout)
        out.print(f"Stopped. The data stay in {layout.home}.")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _begin(layout: Layout) -> Panel:
    from course_stack import identity
    from course_stack.local.machine import local_target
    from course_stack.local.services.demo import ensure_demo_people
    from portal import local
    from portal.db import connect, sessions
    from portal.demo import site_clock
    from portal.demo_courses import Guest, begin, join_link

    with Checklist("Portal") as checklist:
        settings = local.up(layout, checklist.report, demo=True)
        people = ensure_demo_people(layout)
        with closing(identity.connect(local_target(layout), layout.credentials)) as provider:
            by_role = {role: [one.subject for one in people if one.role == role] for role in ("teacher", "governance")}
            local.ensure_people(provider, settings, by_role["teacher"], by_role["governance"])
        engine = connect(settings.database_url.get_secret_value())
        try:
            make = sessions(engine)
            guests = {one.role: Guest(one.role, one.subject, one.login, one.name) for one in people}
            course = begin(make, site_clock(settings, make), settings, guests)
            hub_url = _watch(make, course, checklist)
            return _welcome(settings, hub_url, join_link(make, settings, course), people)
        finally:
            engine.dispose()


def _watch(make: Sessions, course: uuid.UUID, checklist: Checklist) -> str | None:
    """Show how the course is set up, until it runs or does not; its hub's address."""
    from portal.demo_courses import RUNNING, progress
    from portal.lifecycle import STATUS_NAMES, Status

    deadline = time.monotonic() + _PATIENCE
    before = None
    while True:
        now = progress(make, course)
        if now.status not in (Status.APPROVED, Status.DEPLOYING):
            ready = now.status is Status.ACTIVE
            text = "ready" if ready else f"{STATUS_NAMES[now.status]}{f': {now.text}' if now.text else ''}"
            checklist.report(f"course {RUNNING}", text, done=ready)
            return now.hub_url
        if now != before:
            checklist.report(f"course {RUNNING}", now.text or STATUS_NAMES[now.status])
        if time.monotonic() > deadline:
            checklist.note("the course takes longer than usual; its page in the portal tells more")
            return None
        before = now
        time.sleep(0.5)


def _welcome(settings: PortalSettings, hub_url: str | None, link: str | None, people: list[DemoPerson]) -> Panel:
    table = Table(box=None, pad_edge=False)
    for heading in ("sign in as", "password", "who that is"):
        table.add_column(heading)
    for role, what in _TO_TRY.items():
        for person in people:
            if person.role == role:
                table.add_row(f"[bold]{person.login}[/]", person.password, what)
    grid = Table.grid(padding=(0, 0))
    grid.add_row(f"Portal           [bold]{settings.public_url}/[/]")
    if hub_url:
        grid.add_row(f"Notebooks        [bold]{hub_url}[/]")
    if link:
        grid.add_row(f"To join          {link}")
    grid.add_row("Open them in a browser on this machine. Mails are on the portal's page “Read the mails”.\n")
    grid.add_row(table)
    return Panel(grid, title="JupyterHub as a Service", expand=False, padding=(1, 2))
