"""`jhaas cluster`: whether a cluster can carry courses, and what holds a namespace that does not go."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from portal.cli.screen import out
from portal.cli.stacks import believing, target_file

if TYPE_CHECKING:
    from course_stack.kubernetes.check import Finding
    from course_stack.kubernetes.repair import Diagnosis
    from course_stack.target import Target

app = typer.Typer(
    help="The Kubernetes clusters behind targets: check them, repair what is stuck.", no_args_is_help=True
)

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command()
def check(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A file TARGET.yaml of the targets' folder.")],
) -> None:
    """Show whether courses can run there: what is installed, what we may do, what a probe shows. Exit code 1 where they
    cannot. A namespace is made for a moment, and removed again."""
    from course_stack.kubernetes.api import connect
    from course_stack.kubernetes.check import checks, worst

    where = _on_a_cluster(target)
    found: list[Finding] = []
    with connect(where) as cluster:
        for one in checks(cluster, where, registry=_registry(where)):
            found.append(one)
            mark = f"[{_COLOURS[one.state]}]{one.state:<4}[/]"
            out.print(f"{mark} [bold]{escape(one.about)}[/]: {escape(one.text)}", soft_wrap=True)
            if one.advice and one.state != "ok":
                out.print(f"     [dim]→ {escape(one.advice)}[/]", soft_wrap=True)
    worst_of_all = worst(found)
    if worst_of_all == "fail":
        out.print("[red]Courses cannot run there yet.[/]")
        raise typer.Exit(1)
    out.print("Courses can run there." if worst_of_all == "ok" else "Courses can run there, with what is said above.")


@app.command()
def repair(
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="A course's namespace: jhaas-SLUG.")],
    target: Annotated[str, typer.Option("--target", metavar="NAME", help="A file NAME.yaml of the targets' folder.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Take away the finalizers that are known to be harmless, without asking.")
    ] = False,
) -> None:
    """Show what keeps a namespace from going, object by object. Only finalizers that are known to be harmless are taken
    away, and only after a yes."""
    from course_stack.kubernetes.api import connect
    from course_stack.kubernetes.repair import diagnose, release_holders

    with connect(_on_a_cluster(target)) as cluster:
        found = diagnose(cluster, namespace)
        if found is None:
            out.print(f"There is no namespace {escape(namespace)}.")
            return
        doubtful = _show(found)
        if not found.going:
            out.print(f"Nobody is deleting {escape(namespace)}: there is nothing to repair.")
            return
        if doubtful < len(found.holders) and (yes or typer.confirm("Take away the harmless ones?")):
            done = release_holders(cluster, found)
            out.print(f"Finalizers that were taken away: {len(done)}. If the namespace stays, ask once more.")
        if doubtful:
            raise typer.Exit(1)


def _show(found: Diagnosis) -> int:
    """How many of its finalizers are not known to be harmless."""
    for sentence in found.said:
        out.print(escape(sentence), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for heading in ("object", "finalizer", ""):
        table.add_column(heading)
    doubtful = 0
    for one in found.holders:
        doubtful += one.harmless is None
        colour = "green" if one.harmless else "red"
        table.add_row(escape(f"{one.kind} {one.name}"), escape(one.finalizer), f"[{colour}]{escape(one.advice)}[/]")
    out.print(table if found.holders else "No object in it has a finalizer.")
    return doubtful


def _on_a_cluster(name: str) -> Target:
    found = target_file(name)
    if found is None or found.cluster is None:
        raise typer.BadParameter(f"{name} is not on a cluster: name a target that is.")
    return believing(found)


def _registry(target: Target) -> str:
    """What is in a course's image pull secret, where the target has one."""
    from course_stack.credentials import REGISTRY, credentials

    if target.cluster is None or not target.cluster.images.pull_secret:
        return ""
    return base64.b64encode(json.dumps(credentials(REGISTRY, of=target.name)).encode()).decode()
