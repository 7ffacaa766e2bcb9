"""`jhaas course checkout`: a course's stack as a folder for Pulumi's own commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portal.cli.screen import out
from portal.cli.stacks import TargetName, read_spec, target_of


def checkout(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The course's short name.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder that is not there yet; without it, ./SLUG.")
    ] = None,
    spec_file: Annotated[
        Path | None, typer.Option("--spec", metavar="SPEC", help="Another spec than that of the last deployment.")
    ] = None,
    target: TargetName = None,
) -> None:
    """Write the course's Pulumi project, so that it can be worked on with the Pulumi CLI alone.

    Spec and target are those of its last deployment, which its state tells."""
    from automation.checkout import SETTINGS, checkout_files, write_checkout
    from automation.failures import StackMissing
    from automation.settings import StateSettings
    from automation.state import StateStore
    from course_stack.local.layout import Layout
    from course_stack.program import PROJECT

    spec = None if spec_file is None else read_spec(spec_file, target).model_dump_json()
    place = None if target is None else target_of(target).model_dump_json()
    layout = Layout.of_environment()
    settings = StateSettings.load(layout)
    stack = StateStore.of(settings, PROJECT).stack(slug)
    if stack is None:
        raise StackMissing(f"There is no stack {slug}; `jhaas course list` shows those that there are.")
    where = (folder or Path(slug)).resolve()
    write_checkout(where, checkout_files(stack, settings, layout, spec=spec, target=place))
    out.print(f"{where} holds the stack. README.txt there tells the rest; begin with:", markup=False, soft_wrap=True)
    out.print(f"  cd {where} && . ./{SETTINGS} && pulumi preview", markup=False, soft_wrap=True)
