"""A course's hub on this machine, as a resource of the course stack."""

from __future__ import annotations

from typing import Any, cast

import pulumi
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from course_stack.hub_secrets import Secrets
from course_stack.local import hub_process
from course_stack.local.hub_config import HubConfig, layout_of
from course_stack.login import Login
from course_stack.resources import Properties, Provider, target_inputs, target_of
from course_stack.spec import CourseSpec
from course_stack.target import Target

_SETTINGS = ("client_id", "client_secret", "endpoints", "cookie_secret", "crypt_key", "api_token")


class LocalHubProvider(Provider):
    """The hub of one course, by slug."""

    identity = ("slug",)

    def create(self, props: Properties) -> CreateResult:
        """Put the hub in place, adopting whatever an interrupted run left; done when its public address answers."""
        return CreateResult(props["slug"], {**props, **_put(props)})

    def read(self, id_: str, props: Properties) -> ReadResult:
        """`condition` says how the hub is found; no id where there is none."""
        condition = hub_process.condition(layout_of(target_of(props)), id_, props.get("digest", ""))
        return ReadResult("", {}) if condition is None else ReadResult(id_, {**props, "condition": condition})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Bring the hub to the wanted form. Notebook servers run on."""
        return UpdateResult({**news, **_put(news)})

    def delete(self, id_: str, props: Properties) -> None:
        """End the hub and all its notebook servers, and remove everything that is theirs."""
        hub_process.remove(layout_of(target_of(props)), id_)

    def drifted(self, olds: Properties) -> bool:
        """A hub that was found other than running is put right."""
        return bool(olds.get("condition", "running") != "running")


class LocalHub(Resource, module="jhaas", name="LocalHub"):
    """A JupyterHub on this machine. Outputs: `hub_url`, `api_url`."""

    hub_url: pulumi.Output[str]
    api_url: pulumi.Output[str]

    def __init__(
        self, name: str, spec: CourseSpec, target: Target, login: Login, secrets: Secrets, opts: pulumi.ResourceOptions
    ) -> None:
        props: dict[str, Any] = {
            "slug": spec.slug,
            "course": spec.model_dump(mode="json", exclude_none=True),
            **target_inputs(target),
            "client_id": login.client.client_id,
            "client_secret": login.client.secret,
            "endpoints": login.client.endpoints,
            "cookie_secret": secrets.cookie_secret,
            "crypt_key": secrets.crypt_key,
            "api_token": secrets.api_token,
            "hub_url": None,
            "api_url": None,
        }
        super().__init__(LocalHubProvider(), name, props, opts)


def _put(props: Properties) -> Properties:
    target = target_of(props)
    layout = layout_of(target)
    spec = CourseSpec.model_validate(props["course"])
    config = HubConfig(
        spec=spec,
        target=target,
        port=hub_process.reserve_port(layout, spec.slug),
        **cast(dict[str, Any], {name: props[name] for name in _SETTINGS}),
    )
    hub_process.put(layout, config)
    url = target.hub_url(spec.slug)
    return {
        "hub_url": url,
        "api_url": f"{url}hub/api/",
        "digest": hub_process.digest(hub_process.serialized(config)),
        "condition": "running",
    }
