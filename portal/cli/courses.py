"""`jhaas courses`: all running courses of a target at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from portal.cli.screen import FAILED, Checklist, out
from portal.cli.stacks import course_stacks, stacks_on

if TYPE_CHECKING:
    from course_stack.spec import CourseSpec
    from course_stack.target import Target
    from portal.fleet.of_stacks import Result
    from portal.fleet.rollout import Fleet, Outcome, Plan

app = typer.Typer(help="All running courses of a target.", no_args_is_help=True)

_LOOKS_AT_ONCE = 4
_PAUSE = 1.0
"""Seconds between two looks at how the portal's operations go."""


@app.callback()
def courses() -> None:
    """All running courses of a target."""


@app.command()
def upgrade(
    target: Annotated[str, typer.Option("--target", metavar="NAME", help="The target whose courses are meant.")] = (
        "local"
    ),
    canary: Annotated[
        str | None, typer.Option("--canary", metavar="SLUG", help="The course that goes first, alone.")
    ] = None,
    wave: Annotated[int, typer.Option("--wave", min=1, help="Courses that are updated at the same time.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring the running courses to what this version and the target's settings make of them: one first, then waves.

    After a course that failed no further wave begins. Safe to repeat: what is up to date is left alone. Where there is
    a portal, its workers do it, and check that a notebook still runs; without one, this command does it.
    """
    from portal.fleet.rollout import Outcome, waves

    with _fleet(target) as fleet:
        members = fleet.members()
        if canary is not None and canary not in {one.slug for one in members}:
            raise typer.BadParameter(f"{canary} is no running course of {target}.", param_hint="--canary")
        plans = _plans(fleet, [one.slug for one in members])
        changed = [one for one in members if plans[one.slug].changes]
        order = waves(changed, canary, wave)
        _show(plans, order)
        unknown = {slug: Outcome("failed", plan.problem) for slug, plan in plans.items() if plan.problem}
        if canary in unknown:
            out.print(f"Nothing was begun: nobody knows what would become of {canary}, which was to go first.")
            raise typer.Exit(FAILED)
        if dry_run or not changed:
            out.print("Nothing was changed." if dry_run or unknown else "Every running course is up to date.")
            raise typer.Exit(FAILED if unknown else 0)
        if not yes and not typer.confirm(f"Update {len(changed)} courses in {len(order)} waves?"):
            out.print("Nothing was changed.")
            raise typer.Exit(FAILED)
        found = {**_followed(fleet, order), **unknown}
    _report(found)
    if any(one.state in ("failed", "waiting") for one in found.values()):
        raise typer.Exit(FAILED)


@contextmanager
def _fleet(target: str) -> Iterator[Fleet]:
    """The portal's, where this machine or the environment has one; else the stacks themselves."""
    from portal.local import has_portal

    if has_portal():
        with _fleet_of_portal(target) as fleet:
            yield fleet
    else:
        from portal.fleet.of_stacks import FleetOfStacks

        yield FleetOfStacks(course_stacks(target), target)


@contextmanager
def _fleet_of_portal(target: str) -> Iterator[Fleet]:
    from sqlalchemy import select

    from portal.db import connect, sessions
    from portal.demo import site_clock
    from portal.fleet.of_portal import FleetOfPortal
    from portal.local import settings_in_force
    from portal.models import TargetRecord

    settings = settings_in_force()
    engine = connect(settings.database_url.get_secret_value())
    try:
        make = sessions(engine)
        with make() as session:
            there = session.scalars(select(TargetRecord.name).order_by(TargetRecord.name)).all()
        if target not in there:
            raise typer.BadParameter(
                f"The portal knows no target {target}; it knows {', '.join(there) or 'none'}.", param_hint="--target"
            )
        yield FleetOfPortal(make, site_clock(settings, make), settings, target, _preview, lambda: time.sleep(_PAUSE))
    except KeyboardInterrupt:
        out.print("What was asked for goes on in the portal. Run this again to go on with the rest.")
        raise
    finally:
        engine.dispose()


def _preview(target: Target, spec: CourseSpec) -> Result:
    from portal.fleet.of_stacks import with_people_of

    stacks = stacks_on(target)
    return stacks.preview(with_people_of(spec, stacks.state(spec.slug)))


def _plans(fleet: Fleet, slugs: Sequence[str]) -> dict[str, Plan]:
    """What would become of each course, looked up a few at a time."""
    with out.status(f"Looking what would change in {len(slugs)} courses"), ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:
        return dict(zip(slugs, pool.map(fleet.plan, slugs), strict=True))


def _show(plans: Mapping[str, Plan], order: Sequence[Sequence[str]]) -> None:
    """Each course with its wave and what would change; those that are up to date by their number alone."""
    from portal.fleet.of_stacks import in_words

    table = Table(box=None, pad_edge=False)
    for heading in ("wave", "course", "would change"):
        table.add_column(heading)
    for number, slugs in enumerate(order, 1):
        for slug in slugs:
            table.add_row(str(number), slug, in_words(plans[slug].changes))
    for slug, plan in plans.items():
        if plan.problem:
            table.add_row("", slug, f"[red]nobody knows: {escape(plan.problem)}[/]")
    if table.row_count:
        out.print(table)
    out.print(f"{sum(plan.same for plan in plans.values())} of {len(plans)} courses are up to date.")


def _followed(fleet: Fleet, order: Sequence[Sequence[str]]) -> dict[str, Outcome]:
    """Carry it out, with a line for each course."""
    from portal.fleet.rollout import roll_out

    with Checklist("Updating") as checklist:
        for slug in (slug for wave in order for slug in wave):
            checklist.report(slug, "waiting", done=False)
        return roll_out(
            fleet, order, lambda slug, one: checklist.report(slug, f"{one.state}: {one.text}", done=True)
        )  # fmt: skip


def _report(found: Mapping[str, Outcome]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("course", "outcome", ""):
        table.add_column(heading)
    for slug, one in found.items():
        colour = {"failed": "red", "updated": "green"}.get(one.state, "yellow")
        text = "not begun, because a course before it failed" if one.state == "waiting" else one.text
        table.add_row(slug, f"[{colour}]{one.state}[/]", escape(text))
    out.print(table)
