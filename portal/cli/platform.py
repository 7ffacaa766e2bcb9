"""`jhaas platform`: what the platform's stack would make, shown without a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(help="The platform: from an empty cluster to this portal.", no_args_is_help=True)

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "platform"

StackFile = Annotated[
    Path | None,
    typer.Option(help="A stack's configuration; if not given, the only Pulumi.STACK.yaml of this folder."),
]


@app.command()
def plan(stack_file: StackFile = None) -> None:
    """Show everything that `pulumi up` would make, as a tree."""
    _show("plan", str(_file(stack_file)))


@app.command()
def manifests(
    stack_file: StackFile = None,
    only: Annotated[Literal["objects", "charts"] | None, typer.Option(help="Leave the others out.")] = None,
) -> None:
    """Print every object of Kubernetes, and every chart with its values, as YAML; secrets as placeholders."""
    _show("manifests", str(_file(stack_file)), *(["--only", only] if only else []))


@app.command()
def settings() -> None:
    """Print every setting of the platform, as docs/platform-settings.md has them."""
    _show("settings")


def _file(given: Path | None) -> Path:
    if given is not None:
        return given
    found = sorted(Path.cwd().glob("Pulumi.*.yaml"))
    if len(found) == 1:
        return found[0]
    there = f"there are {len(found)}" if found else "there is none"
    raise typer.BadParameter(
        f"name one: of Pulumi.STACK.yaml {there} in this folder; examples are in {ROOT / 'examples/platform'}",
        param_hint="--stack-file",
    )


def _show(*arguments: str) -> None:
    # a process of its own: the platform's modules are top-level names
    program = FOLDER / "show.py"
    if not program.is_file():
        raise typer.BadParameter("the platform's program is part of the repository, not of the installed package")
    raise typer.Exit(subprocess.run([sys.executable, str(program), *arguments], check=False).returncode)
