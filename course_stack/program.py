"""The course stack: from a course spec to a running hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pulumi

from course_stack.fit import ensure_fits
from course_stack.hub_secrets import Secrets, secrets
from course_stack.login import Login, login
from course_stack.names import CourseNames
from course_stack.spec import CourseSpec
from course_stack.storage import storage
from course_stack.target import Target

if TYPE_CHECKING:
    from course_stack.kubernetes.hub import ClusterHub
    from course_stack.local.hub import LocalHub

PROJECT = "jhaas-course"


def course_program(spec: CourseSpec, target: Target, rotation: str = "") -> Callable[[], None]:
    """The Pulumi program of one course.

    `rotation` names a generation of the hub's API token: another value makes another token, the same value changes
    nothing. Raises `SpecError` for what the target cannot give.

    Exports `hub_url`, `api_url`, `api_token` (secret), `names`, `revision` (`CourseSpec.digest`),
    `rotation`, `bucket_key_id` and `bucket_secret` (secret); and, in JSON, the `spec` and the `target` that it was made
    from: whoever has the state can run this program again (`jhaas course checkout`).
    """

    ensure_fits(spec, target)

    def program() -> None:
        people = login(spec, target)
        files = storage(spec, target)
        keys = secrets(rotation)
        place = hub(spec, target, people, keys)

        names = CourseNames(spec.slug)
        pulumi.export("hub_url", place.hub_url)
        pulumi.export("api_url", place.api_url)
        pulumi.export("api_token", pulumi.Output.secret(keys.api_token))
        pulumi.export("revision", spec.digest())
        pulumi.export("rotation", rotation)
        pulumi.export(
            "names",
            {"client": names.client, "group": names.group, "lead_group": names.lead_group, "bucket": names.bucket},
        )
        pulumi.export("spec", spec.model_dump_json())
        pulumi.export("target", target.model_dump_json())
        pulumi.export("bucket_key_id", files.key.key_id)
        pulumi.export("bucket_secret", pulumi.Output.secret(files.key.secret))

    return program


def hub(spec: CourseSpec, target: Target, login: Login, secrets: Secrets) -> ClusterHub | LocalHub:
    """The hub, where the target says. It comes up after the groups that it lets in, and goes before them."""
    opts = pulumi.ResourceOptions(depends_on=[login.group, login.leads])
    if target.kind == "kubernetes":
        from course_stack.kubernetes.hub import ClusterHub

        return ClusterHub("hub", spec, target, login, secrets, opts)
    from course_stack.local.hub import LocalHub

    return LocalHub("hub", spec, target, login, secrets, opts)
