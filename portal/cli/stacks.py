"""The course stacks that this command line works on: those of this machine."""

from __future__ import annotations

from automation.reality import LocalReality
from automation.stacks import CourseStacks
from course_stack.local.layout import Layout


def course_stacks() -> CourseStacks:
    """The stacks of the settings in force: state store and engine from the environment, else this machine's own."""
    from automation.settings import StateSettings, check_environment
    from course_stack.local.machine import local_target

    check_environment()
    layout = Layout.of_environment()
    return CourseStacks(StateSettings.load(layout), local_target(layout), layout)


def reality() -> LocalReality:
    """What this machine really holds of our courses."""
    from course_stack.local.machine import local_target

    layout = Layout.of_environment()
    return LocalReality(layout, local_target(layout))
