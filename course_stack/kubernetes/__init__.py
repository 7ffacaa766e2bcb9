"""Hubs on a Kubernetes cluster: Zero to JupyterHub in a namespace for each course."""

from __future__ import annotations

from typing import NoReturn

from course_stack.spec import CourseSpec
from course_stack.target import Target


def kubernetes_hub(spec: CourseSpec, target: Target) -> NoReturn:
    """The course's hub as a Helm release. Not there yet."""
    raise NotImplementedError(
        f"{spec.slug} cannot be deployed on {target.name}: hubs on clusters come with the Kubernetes target; "
        "use a target of kind local."
    )
