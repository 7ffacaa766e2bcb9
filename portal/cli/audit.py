"""`jhaas audit`: what `pulumi stack ls` shows, held against what really runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from portal.cli.screen import moment, out
from portal.cli.stacks import TargetName, course_stacks, reality, target_of

if TYPE_CHECKING:
    from automation.audit import StackAudit


def audit(target: TargetName = None) -> None:
    """Compare the course stacks with what really is there. Changes nothing; exit code 1 if they differ."""
    with out.status("Asking state store, identity provider, object store and hubs"):
        found = course_stacks(target).audit(reality(target_of(target)))
    table = Table(box=None, pad_edge=False)
    for heading in ("course", "last change", "resources", "condition"):
        table.add_column(heading)
    for stack in found.stacks:
        colour = "green" if stack.in_order else "red"
        table.add_row(
            stack.slug, moment(stack.updated), str(stack.resources), f"[{colour}]{escape(_condition(stack))}[/]"
        )
    out.print(table if found.stacks else "There are no course stacks.")
    for thing in found.stray:
        out.print(f"[red]without a stack:[/] {thing.kind} {escape(thing.name)}")
    for slug, keys in found.leftovers.items():
        out.print(f"[red]left of the stack {slug}:[/] {len(keys)} objects in the state store")
    if not found.in_order:
        out.print("`jhaas course deploy` repairs a stack; `jhaas course destroy` removes what is left of one.")
        raise typer.Exit(1)


def _condition(stack: StackAudit) -> str:
    parts = []
    if stack.damage:
        parts.append(stack.damage)
    parts += [f"interrupted while {step}" for step in stack.interrupted]
    parts += [f"locked by {lock}" for lock in stack.locks]
    parts += [f"missing: {thing.kind} {thing.name}" for thing in stack.missing]
    return "; ".join(parts) or "in order"
