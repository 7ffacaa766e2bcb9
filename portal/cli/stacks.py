"""The course stacks that this command line works on: this machine's, or those of a target that has a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automation.stacks import CourseStacks
from course_stack.local.layout import Layout

if TYPE_CHECKING:
    from automation.reality import Look
    from course_stack.spec import CourseSpec
    from course_stack.target import Target
    from course_stack.targets import TargetFile

TargetName = Annotated[
    str | None,
    typer.Option("--target", metavar="NAME", help="Where hubs run: a file NAME.yaml of the targets' folder, or local."),
]


def course_stacks(target: str | None = None) -> CourseStacks:
    """The stacks of a target (None: this machine), with the settings in force: state store and engine from the
    environment, else this machine's own. Raises `TargetError`, `SettingsError`, `MachineError`."""
    _ensure_engine()
    return stacks_on(target_of(target))


def stacks_with(slug: str, target: str | None = None) -> CourseStacks:
    """The stacks among which a course is: of the target named, else of the one that its state tells."""
    _ensure_engine()
    return stacks_on(target_with(slug, target))


def _ensure_engine() -> None:
    """A wrong setting is told before a target is sought."""
    from automation.engine import engine_choice

    engine_choice()


def target_with(slug: str, target: str | None = None) -> Target:
    """The target named, else the one on which the course's state says that it is, else this machine.

    Its file tells what the target is now; where there is none any more, the state tells what it was.
    """
    from automation.settings import StateSettings
    from automation.state import StateStore
    from course_stack.program import PROJECT
    from course_stack.target import Target
    from course_stack.targets import LOCAL, folder_of_targets, target_names

    if target is None:
        layout = Layout.of_environment()
        stack = StateStore.of(StateSettings.load(layout), PROJECT).stack(slug)
        if stack is not None and stack.target not in (None, LOCAL):
            if stack.target not in target_names(folder_of_targets(layout.home)):
                return Target.model_validate_json(str(stack.output("target")))
            target = stack.target
    return target_of(target)


def target_of(name: str | None) -> Target:
    """The target of this name; None and `local` are this machine. Raises `TargetError` and `CredentialsError`."""
    from course_stack.local.machine import local_target

    found = target_file(name)
    return local_target(Layout.of_environment()) if found is None else believing(found)


def target_file(name: str | None) -> TargetFile | None:
    """The file of a target; None for this machine, which has none. Raises `TargetError`."""
    from course_stack.targets import LOCAL, find_target, folder_of_targets

    if name is None or name == LOCAL:
        return None
    return find_target(name, folder_of_targets(Layout.of_environment().home))


def believing(found: TargetFile) -> Target:
    """The target of a file, whose authority is believed from now on. Raises `CredentialsError`."""
    from automation.engine import credentials_folder
    from course_stack.trust import environment

    layout = Layout.of_environment()
    os.environ.update(environment(found.target, layout, credentials_folder(found.target, layout)))
    return found.target


def read_spec(path: Path, target: str | None) -> CourseSpec:
    """The spec of a file, with the target's defaults for what it leaves out. Raises `SpecError`, also for what the
    target cannot give."""
    from course_stack.fit import ensure_fits
    from course_stack.spec import load_spec

    found = target_file(target)
    if found is None:
        return load_spec(path)
    spec = load_spec(path, found.defaults)
    ensure_fits(spec, found.target)
    return spec


def reality(target: Target) -> Look:
    """What there really is of our courses on a target."""
    from automation.reality import reality_of

    return reality_of(target, Layout.of_environment())


def stacks_on(target: Target) -> CourseStacks:
    """The stacks of this target, with the settings in force."""
    from automation.engine import engine_choice
    from automation.settings import StateSettings

    engine = engine_choice()
    layout = Layout.of_environment()
    return CourseStacks(StateSettings.load(layout), target, layout, engine=engine)
