"""What a course's stack holds: which resources, in which order, and what stays secret."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import dill
import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks, set_mocks

from course_stack.program import course_program
from course_stack.spec import CourseSpec, SpecError, load_spec
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target
from tests.course_stack.kubernetes.targets import cluster_target
from tests.course_stack.specs import course
from tests.support.event_loop import ensure_event_loop


class _Recorder(Mocks):
    def __init__(self) -> None:
        self.resources: dict[str, MockResourceArgs] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.resources[args.name] = args
        made = {
            "client": {"client_id": "id", "secret": "client-secret", "endpoints": {"issuer": "http://id"}},
            "key": {"key_id": "AK", "secret": "bucket-secret"},
            "hub": {"hub_url": "http://python-intro.localhost:8000/", "api_url": "http://…/hub/api/"},
        }
        result = (
            {"result": f"generated {args.name}"} if args.typ == "random:index/randomPassword:RandomPassword" else {}
        )
        return args.name, {**args.inputs, **made.get(args.name, {}), **result}

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        raise AssertionError(f"the program asked for {args.token}")


def _target(**changes: Any) -> Target:
    return Target(
        **{
            "name": "local",
            "kind": "local",
            "hub_domain": "localhost",
            "hub_scheme": "http",
            "hub_port": 8000,
            "identity": IdentityTarget(kind="canaille", url="http://id.localhost:8000"),
            "object_store": ObjectStoreTarget(kind="seaweedfs", endpoint="http://127.0.0.1:8333"),
            "home": "/srv/jhaas",
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def _event_loop() -> None:
    ensure_event_loop()


class _Stack:
    """The program, run against recorded answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, rotation: str = "1", **changes: Any) -> None:
        recorder = _Recorder()
        set_mocks(recorder)
        exports: dict[str, pulumi.Output[Any]] = {}
        monkeypatch.setattr(pulumi, "export", lambda name, value: exports.update({name: pulumi.Output.all(value)}))
        self.exports: dict[str, Any] = {}
        self.secret: set[str] = set()

        @pulumi.runtime.test
        def run() -> Any:
            course_program(load_spec(course(**changes)), _target(), rotation)()
            return asyncio.ensure_future(resolve())

        async def resolve() -> None:
            for name, output in exports.items():
                (self.exports[name],) = await output.future()
                if await output.is_secret():
                    self.secret.add(name)

        run()
        self.resources = recorder.resources

    def inputs(self, name: str) -> dict[str, Any]:
        inputs: dict[str, Any] = self.resources[name].inputs
        return inputs


def test_a_course_is_a_client_two_groups_a_bucket_a_key_three_secrets_and_a_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = _Stack(monkeypatch)
    assert {name: args.typ.rpartition(":")[2] for name, args in stack.resources.items()} == {
        "group": "Group",
        "leads": "Group",
        "client": "OidcClient",
        "bucket": "Bucket",
        "key": "BucketKey",
        "cookie-secret": "RandomPassword",
        "crypt-key": "RandomPassword",
        "api-token": "RandomPassword",
        "hub": "LocalHub",
    }


def test_leads_are_in_the_course_and_participants_are_no_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _Stack(monkeypatch, leads=["teacher"], participants=["anna", "ben"])
    assert stack.inputs("group")["members"] == ["anna", "ben", "teacher"]
    assert stack.inputs("leads")["members"] == ["teacher"]


def test_names_come_from_the_slug_alone_so_that_a_second_run_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _Stack(monkeypatch, slug="biology-2")
    assert stack.exports["names"] == {
        "client": "jhaas-biology-2",
        "group": "jhaas-biology-2",
        "lead_group": "jhaas-biology-2-leads",
        "bucket": "jhaas-biology-2",
    }
    assert stack.inputs("client")["redirect_uri"] == "http://biology-2.localhost:8000/hub/oauth_callback"


def test_token_and_bucket_secret_are_exported_as_secrets_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = _Stack(monkeypatch)
    assert stack.secret == {"api_token", "bucket_secret"}
    assert stack.exports["hub_url"] == "http://python-intro.localhost:8000/"


def test_only_the_token_depends_on_the_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _Stack(monkeypatch, rotation="1"), _Stack(monkeypatch, rotation="2")
    changed = {
        name
        for name in first.resources
        if {**first.inputs(name), "__provider": None} != {**second.inputs(name), "__provider": None}
    }
    assert changed == {"api-token"}


def test_providers_are_stored_by_name_and_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in every stack's state: a later release must still find these modules and classes."""
    stack = _Stack(monkeypatch)
    stored = {
        name: dill.loads(base64.b64decode(args.inputs["__provider"]))
        for name, args in stack.resources.items()
        if "__provider" in args.inputs
    }
    assert {name: f"{type(one).__module__}.{type(one).__qualname__}" for name, one in stored.items()} == {
        "group": "course_stack.login.GroupProvider",
        "leads": "course_stack.login.GroupProvider",
        "client": "course_stack.login.ClientProvider",
        "bucket": "course_stack.storage.BucketProvider",
        "key": "course_stack.storage.BucketKeyProvider",
        "hub": "course_stack.local.hub.LocalHubProvider",
    }
    assert all(vars(one) == {} for one in stored.values())
    assert all(len(stack.resources[name].inputs["__provider"]) < 200 for name in stored)


def test_the_spec_survives_its_way_through_the_state() -> None:
    """Pulumi hands whole numbers on as floating ones and leaves out what is None."""
    spec = load_spec(
        course(
            profiles=[{"name": "Small"}, {"name": "GPU", "default": True, "gpu": {"count": 1}}],
            git_repositories=[{"url": "https://example.org/a/b"}],
            culling={"idle_minutes": 30},
            environment={"A": ""},
            shared_volumes=[{"name": "data", "kind": "material", "mount_path": "/data", "size": 1}],
        )
    )
    through = _as_pulumi_hands_it_on(spec.model_dump(mode="json", exclude_none=True))
    assert CourseSpec.model_validate(through) == spec


def test_what_the_target_cannot_give_is_refused_before_there_is_a_program() -> None:
    volume = {"name": "data", "kind": "material", "mount_path": "/data", "size": 1}
    spec = load_spec(course(shared_volumes=[volume]))
    with pytest.raises(SpecError, match=r"shared volumes \(shared_volumes\): campus has no disks that many notebooks"):
        course_program(spec, cluster_target(shared_class=None))
    course_program(spec, cluster_target(shared_class="nfs"))


def _as_pulumi_hands_it_on(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, dict):
        return {key: _as_pulumi_hands_it_on(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_as_pulumi_hands_it_on(one) for one in value]
    return value
