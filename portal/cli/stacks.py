"""The course stacks that this command line works on: those of this machine."""

from __future__ import annotations

from automation.reality import LocalReality
from automation.stacks import CourseStacks
from course_stack.local.layout import Layout


def course_stacks() -> CourseStacks:
    """The stacks of the settings in force: state store and engine from the environment, else this machine's own."""
    from automation.engine import engine_choice
    from automation.settings import StateSettings
    from course_stack.local.machine import local_target

    engine = engine_choice()
    layout = Layout.of_environment()
    target = local_target(layout)
    return CourseStacks(StateSettings.load(layout), target, layout, engine=engine)


def reality() -> LocalReality:
    """What this machine really holds of our courses."""
    from course_stack.local.machine import local_target

    layout = Layout.of_environment()
    return LocalReality(layout, local_target(layout))
