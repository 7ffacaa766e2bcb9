"""`jhaas course`: one course's stack, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from portal.cli.screen import Operation, err, moment, out
from portal.cli.stacks import (
    TargetName,
    course_stacks,
    read_spec,
    reality,
    stacks_on,
    stacks_with,
    target_file,
    target_with,
)

if TYPE_CHECKING:
    from automation.stacks import CourseStacks, Result
    from course_stack.target import Target

app = typer.Typer(help="One course's hub: deploy, look, destroy.", no_args_is_help=True)

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The course spec, a YAML or JSON file.")]
Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The course's short name.")]


@app.command()
def deploy(spec_file: SpecFile, target: TargetName = None) -> None:
    """Create the course's hub, or bring it to the spec. Safe to repeat, also after a crash."""
    spec = read_spec(spec_file, target)
    stacks = course_stacks(target)
    with Operation(f"Deploying {spec.slug}") as operation:
        result = stacks.deploy(spec, on_event=operation)
    out.print(f"{escape(spec.title)} runs at [bold]{result.outputs['hub_url']}[/]")
    _summary(result)


@app.command()
def preview(spec_file: SpecFile, target: TargetName = None) -> None:
    """Show what `deploy` would do; nothing is changed."""
    spec = read_spec(spec_file, target)
    with Operation(f"Comparing {spec.slug}") as operation:
        result = course_stacks(target).preview(spec, on_event=operation)
    steps = [step for step in result.steps if step.action != "same"]
    for step in steps:
        out.print(f"  {step.action:<8} {step.name} [dim]({step.resource_type})[/]")
    out.print("Nothing would change." if not steps else f"{len(steps)} resources would change. Nothing was changed.")


@app.command()
def manifests(
    spec_file: SpecFile,
    target: Annotated[str, typer.Option("--target", metavar="NAME", help="A file NAME.yaml of the targets' folder.")],
    objects: Annotated[bool, typer.Option("--objects", help="Only the objects, as kubectl takes them.")] = False,
    values: Annotated[bool, typer.Option("--values", help="Only the chart's values, as helm takes them.")] = False,
) -> None:
    """Print everything that `deploy` would make on a cluster, as YAML: objects, then the Helm release with its values.

    Nothing is touched or asked, and secrets are placeholders.
    """
    from course_stack.kubernetes.manifests import manifests as documents
    from course_stack.kubernetes.manifests import to_yaml

    if objects and values:
        raise typer.BadParameter("give one of --objects and --values, or neither for everything")
    if (found := target_file(target)) is None:
        raise typer.BadParameter("this machine has no manifests; name a cluster", param_hint="--target")
    *made, release = documents(read_spec(spec_file, target), found.target)
    shown = made if objects else [release["values"]] if values else [*made, release]
    typer.echo(to_yaml(shown), nl=False)


@app.command()
def refresh(slug: Slug, target: TargetName = None) -> None:
    """Show what differs from the last deployment; nothing is changed. Exit code 1 if anything does."""
    with Operation(f"Looking at {slug}") as operation:
        differences = stacks_with(slug, target).refresh(slug, on_event=operation)
    for one in differences:
        fields = f": {', '.join(one.fields)}" if one.fields else ""
        out.print(f"  {one.name} is {one.what}{fields} [dim]({one.resource_type})[/]")
    if differences:
        out.print(f"{len(differences)} resources differ; `jhaas course deploy` puts them right.")
        raise typer.Exit(1)
    out.print("Everything is as it was deployed.")


@app.command()
def destroy(
    slug: Slug,
    target: TargetName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the course's hub and everything that belongs to it, every home directory included."""
    place = target_with(slug, target)
    stacks = stacks_on(place)
    doomed = _belongings(stacks, place, slug)
    if not doomed:
        out.print(f"There is nothing of {slug}.")
    else:
        out.print(f"This deletes, for good, of course [bold]{slug}[/]:")
        for line in doomed:
            out.print(f"  - {escape(line)}")
    if dry_run:
        out.print("Nothing was deleted.")
        return
    if doomed and not yes and not typer.confirm("Delete all of it?"):
        out.print("Nothing was deleted.")
        raise typer.Exit(1)
    with Operation(f"Destroying {slug}") as operation:
        result = stacks.destroy(slug, on_event=operation)
    out.print(f"Nothing is left of {slug}.")
    _summary(result)


@app.command()
def show(slug: Slug, target: TargetName = None) -> None:
    """Show the course's stack, its addresses and names. Secrets are not shown; spec and target are in a checkout."""
    outputs = stacks_with(slug, target).outputs(slug)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, output in sorted(outputs.items()):
        if name in ("spec", "target"):
            continue
        value = "[dim]secret, not shown[/]" if output.secret else escape(_plain(output.value))
        table.add_row(f"[dim]{name}[/]", value)
    out.print(table)


@app.command("list")
def list_(target: TargetName = None) -> None:
    """List the course stacks of the state store, of one target or of all."""
    from automation.failures import CorruptState

    table = Table(box=None, pad_edge=False)
    for heading in ("course", "target", "last change", "resources", "address"):
        table.add_column(heading)
    for stack in course_stacks(target).list():
        if isinstance(stack, CorruptState):
            table.add_row(stack.slug, "", "", "", f"[red]{escape(stack.message)}[/]")
        elif target is None or stack.target in (None, target):
            address = str(stack.output("hub_url") or "")
            table.add_row(stack.name, stack.target or "", moment(stack.updated), str(stack.resource_count), address)
    out.print(table if table.row_count else "There are no course stacks.")


@app.command()
def logs(
    slug: Slug,
    operation: Annotated[str | None, typer.Argument(help="An operation's id; without it, the last one.")] = None,
    all_operations: Annotated[bool, typer.Option("--list", help="List the operations instead.")] = False,
) -> None:
    """Print the log of the course's last operation, or of the one named."""
    from course_stack.local.layout import Layout

    folder = Layout.of_environment().operations / "logs" / slug
    found = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    if operation is not None:
        found = [path for path in found if path.stem == operation]
    if not found:
        err.print(
            f"There is no log of {slug}{f' with the id {operation}' if operation else ''} in {folder}.", style="red"
        )
        raise typer.Exit(1)
    if all_operations:
        for path in found:
            typer.echo(path.stem)
        return
    typer.echo(found[-1].read_text(), nl=False)


@app.command()
def unlock(
    slug: Slug,
    force: Annotated[
        bool, typer.Option("--force", help="Break it although its owner may live: two writers destroy the state.")
    ] = False,
) -> None:
    """Break the lock of an operation that is proven dead. One that may live is refused, and named."""
    broken = stacks_with(slug).unlock(slug, force=force)
    for lock in broken:
        out.print(f"Broke the lock of {lock}.", markup=False)
    if not broken:
        out.print(f"{slug} is not locked.")


def _belongings(stacks: CourseStacks, place: Target, slug: str) -> list[str]:
    """What there is of the course, in words: on its target and behind it, and in the state store."""
    found = reality(place).traces(slug)
    if slug in stacks.names():
        found.append("its stack with state, backups and history")
    return found


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in sorted(value.items()))
    return str(value)


def _summary(result: Result) -> None:
    counts = ", ".join(f"{count} {action}" for action, count in sorted(result.changes.items()))
    out.print(f"[dim]{counts or 'nothing to do'} · log: jhaas course logs {result.slug} {result.operation}[/]")
