"""The course stack on a cluster: what it registers with the engine, over every position of every switch."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks

from automation.embedded.values import Secret
from automation.embedded.wire import from_struct
from course_stack.kubernetes.manifests import manifests
from course_stack.program import course_program
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import CREDENTIALS_ENV, Target
from tests.course_stack.kubernetes.targets import HELPER, cluster_target
from tests.course_stack.specs import course
from tests.support import charts, schemas
from tests.support.event_loop import ensure_event_loop
from tests.support.pairwise import pairwise

LONGEST = "a" * 20 + "-" + "b" * 19
"""A slug of 40 characters."""

PASSWORDS = ("cookie-secret", "crypt-key", "proxy-token", "api-token")
SECRETS = ("client-secret", "bucket-secret", "registry-key", *(f"generated-{name}" for name in PASSWORDS))

TARGET_SWITCHES: dict[str, list[Any]] = {
    "chart": [
        {},
        {"chart": "oci://registry.example.org/charts/jupyterhub", "repository": None, "version": "4.4.0"},
        {"chart": "/srv/charts/jupyterhub", "repository": None, "version": None},
    ],
    "edge": [
        {"kind": "ingress", "tls": "edge"},
        {"kind": "ingress", "tls": "issuer", "cluster_issuer": "letsencrypt", "ingress_class": "traefik"},
        {"kind": "ingress", "tls": "none", "annotations": {"example.org/a": "b"}, "addresses": ["192.168.0.0/24"]},
        {"kind": "gateway", "gateway": "web", "gateway_namespace": "gateways", "section": "https"},
        {"kind": "none"},
    ],
    "images": [
        {"helper": HELPER},
        {
            "helper": HELPER,
            "hub": "mirror.example.org/hub:4.4.0",
            "proxy": "mirror.example.org/proxy:5.2.0",
            "pull_policy": "Always",
            "pull_secret": True,
        },
    ],
    "storage_class": [None, "fast"],
    "core": [{}, {"node_selector": {"pool": "core"}, "tolerations": [{"key": "core"}]}],
    "notebooks": [{}, {"node_selector": {"pool": "users"}, "tolerations": [{"key": "users"}]}],
    "gpu": [{}, {"node_selector": {"pool": "gpu"}, "tolerations": [{"key": "gpu"}]}],
    "openings": [
        [],
        [
            {"name": "files", "cidr": "10.1.0.0/16", "ports": [443], "notebooks": True},
            {"name": "database", "namespace": "postgres", "ports": [5432]},
        ],
    ],
    "private_ranges": [["10.0.0.0/8"], ["0.0.0.0/0", "::/0"]],
    "context": [None, "campus"],
}
SPEC_SWITCHES: dict[str, list[Any]] = {
    "slug": ["python-intro", LONGEST],
    "profiles": [
        [],
        [
            {"name": "Small"},
            {"name": "GPU", "gpu": {"count": 2}, "image": "quay.io/jupyter/pytorch-notebook:2026-10-05"},
        ],
    ],
    "shared_volumes": [
        [],
        [
            {"name": "m" * 30, "kind": "material", "mount_path": "/mnt/material", "size": 5},
            {"name": "share", "kind": "share", "mount_path": "/mnt/share", "size": 0.25},
        ],
    ],
    "git_repositories": [[], [{"url": "https://example.org/a/b"}]],
    "start_commands": [[], ["echo hello"]],
    "culling": [{}, {"idle_minutes": 30, "max_age_hours": 8}],
    "spawning": [{}, {"active_servers": 3, "concurrent": 2}],
    "environment": [{}, {"COURSE": "one"}],
}
CASES = pairwise({**TARGET_SWITCHES, **SPEC_SWITCHES})


class _Answers(Mocks):
    def __init__(self) -> None:
        self.secret: dict[str, list[str]] = {}
        """By resource: outputs that the program calls secret, which the engine marks."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        made = {
            "client": {
                "client_id": "id",
                "secret": "client-secret",
                "endpoints": {
                    name: f"https://id.example.org/{name}"
                    for name in ("issuer", "authorize", "token", "userinfo", "end_session")
                },
            },
            "key": {"key_id": "AK", "secret": "bucket-secret"},
            "release": {"status": {"status": "deployed"}},
        }
        password = {"result": f"generated-{args.name}"} if args.typ.endswith(":RandomPassword") else {}
        outputs = {**args.inputs, **made.get(args.name, {}), **password}
        marked = {name: pulumi.Output.secret(outputs[name]) for name in self.secret[args.name] if name in outputs}
        return args.name, {**outputs, **marked}

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        raise AssertionError(f"the program asked for {args.token}")


class _Monitor(MockMonitor):
    """Keeps each registration as it came over the wire, where secrets are marked one by one."""

    def __init__(self) -> None:
        self.answers = _Answers()
        super().__init__(self.answers)
        self.requests: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:
        self.requests[request.name] = request
        self.answers.secret[request.name] = list(request.additionalSecretOutputs)
        return super().RegisterResource(request)


class Stack:
    """The whole program of a course on a cluster, run against recorded answers."""

    def __init__(self, spec: CourseSpec, target: Target) -> None:
        monitor = _Monitor()
        set_mocks(monitor.answers, monitor=monitor)
        exported: dict[str, pulumi.Output[Any]] = {}
        self.exports: dict[str, Any] = {}

        @pulumi.runtime.test
        def run() -> Any:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pulumi, "export", lambda name, value: exported.update({name: pulumi.Output.all(value)}))
                course_program(spec, target, "1")()
            return asyncio.ensure_future(resolve())

        async def resolve() -> None:
            for name, output in exported.items():
                (self.exports[name],) = await output.future()

        run()
        self.requests = {name: one for name, one in monitor.requests.items() if one.type != "pulumi:pulumi:Stack"}
        self.inputs = {name: from_struct(one.object) for name, one in self.requests.items()}
        self.objects = {name: one for name, one in self.inputs.items() if self.requests[name].type.startswith(_OBJECTS)}

    def after(self, name: str) -> set[str]:
        """What is registered before it."""
        return {urn.rpartition("::")[2] for urn in self.requests[name].dependencies}


_OBJECTS = ("kubernetes:core/", "kubernetes:networking.k8s.io/")


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of the target, and an event loop for Pulumi's mocks, which keep the thread's own."""
    folder = tmp_path / "campus"
    folder.mkdir()
    (folder / "registry.json").write_text(json.dumps({"auths": {"registry.example.org": {"auth": "registry-key"}}}))
    monkeypatch.setenv(CREDENTIALS_ENV, str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "/somewhere/kubeconfig")
    ensure_event_loop()


def described(case: dict[str, Any]) -> tuple[CourseSpec, Target]:
    target = cluster_target(**{name: case[name] for name in TARGET_SWITCHES})
    return load_spec(course(**{name: case[name] for name in SPEC_SWITCHES})), target


@pytest.mark.parametrize("case", CASES, ids=[str(number) for number in range(len(CASES))])
def test_every_switch_makes_valid_objects_in_bounds_with_secrets_marked(case: dict[str, Any]) -> None:
    spec, target = described(case)
    stack = Stack(spec, target)

    namespace = f"jhaas-{spec.slug}"
    for name, made in stack.objects.items():
        manifest = _plain(made)
        assert schemas.problems(manifest) == []
        metadata = manifest["metadata"]
        assert metadata["labels"]["jhaas.io/course"] == spec.slug
        assert name == f"{manifest['kind']}/{metadata['name']}"
        assert manifest["kind"] == "Namespace" or metadata["namespace"] == namespace
        assert len(metadata["name"]) <= 63

    release = stack.inputs["release"]
    assert (release["name"], release["namespace"]) == (namespace, namespace)
    assert len(release["name"]) <= 53
    assert charts.problems("jupyterhub-4.4.0", _plain(release["values"])) == []

    open_text = json.dumps({name: _shown(made) for name, made in stack.inputs.items()})
    assert [secret for secret in SECRETS if secret in open_text] == []
    for name in PASSWORDS[:3]:
        assert _hex_of(f"generated-{name}") not in open_text

    # the same as people are shown by `jhaas course manifests`
    *objects, _ = manifests(spec, target)
    assert {f"{one['kind']}/{one['metadata']['name']}" for one in objects} == set(stack.objects)


def test_the_keys_of_the_hub_are_32_bytes_in_hex_and_stay_from_run_to_run() -> None:
    values = _plain(Stack(load_spec(course()), cluster_target()).inputs["release"]["values"])
    assert values["proxy"]["secretToken"] == _hex_of("generated-proxy-token")
    assert values["hub"]["cookieSecret"] == _hex_of("generated-cookie-secret")
    assert values["hub"]["config"]["CryptKeeper"]["keys"] == [_hex_of("generated-crypt-key")]
    assert values == _plain(Stack(load_spec(course()), cluster_target()).inputs["release"]["values"])


def test_the_release_comes_after_everything_in_its_namespace_and_the_hub_after_its_groups() -> None:
    stack = Stack(load_spec(course()), cluster_target())
    assert stack.after("release") >= set(stack.objects)
    for name in set(stack.objects) - {"Namespace/jhaas-python-intro"}:
        assert stack.after(name) == {"Namespace/jhaas-python-intro"}
    assert stack.after("hub") == {"group", "leads"}


def test_removing_a_course_is_removing_its_namespace_and_may_take_a_while() -> None:
    stack = Stack(load_spec(course()), cluster_target())
    namespace = stack.requests["Namespace/jhaas-python-intro"]
    assert namespace.customTimeouts.delete == "15m"
    assert not namespace.deletedWith
    inside = {"release", *stack.objects} - {"Namespace/jhaas-python-intro"}
    assert {stack.requests[name].deletedWith.rpartition("::")[2] for name in inside} == {"Namespace/jhaas-python-intro"}
    # nothing is left, since the chart makes nothing that belongs to the whole cluster
    scheduling = stack.inputs["release"]["values"]["scheduling"]
    assert scheduling["userScheduler"]["enabled"] is False
    assert scheduling["podPriority"]["enabled"] is False


def test_the_way_to_the_cluster_is_no_part_of_the_stack() -> None:
    """Neither the kubeconfig nor its path: another one, on another worker, changes nothing."""
    provider = Stack(load_spec(course()), cluster_target(context="campus")).inputs["cluster"]
    assert provider == {
        "kubeconfig": "",
        "context": "campus",
        "clusterIdentifier": "campus",
        "enableServerSideApply": "true",
        "upsertExistingObjects": "true",
        "enablePatchForce": "true",
        **{name: provider[name] for name in ("version", "__internal") if name in provider},
    }


def test_everything_on_the_cluster_goes_through_the_target_s_provider() -> None:
    stack = Stack(load_spec(course()), cluster_target())
    on_clusters = {name: one for name, one in stack.requests.items() if one.type.startswith("kubernetes:")}
    assert {"release", *stack.objects} <= on_clusters.keys()
    used = {one.provider.rpartition("::")[0] for one in on_clusters.values()}
    assert {one.rpartition("::")[2] for one in used} == {"cluster"}


def test_a_release_that_failed_is_kept_small_and_bounded() -> None:
    release = Stack(load_spec(course()), cluster_target(release_timeout=600)).inputs["release"]
    assert release["timeout"] == 600
    assert release["maxHistory"] == 3
    assert release["cleanupOnFail"] is True
    assert "atomic" not in release
    assert "skipAwait" not in release


REPOSITORY = {"repo": "https://hub.jupyter.org/helm-chart/"}
MIRROR = {"repo": "https://mirror.example.org/charts"}
OCI = "oci://registry.example.org/jupyterhub"


@pytest.mark.parametrize(
    ("chart", "expected"),
    [
        ({}, ("jupyterhub", "4.4.0", REPOSITORY)),
        ({"repository": MIRROR["repo"]}, ("jupyterhub", "4.4.0", MIRROR)),
        ({"chart": OCI, "repository": None}, (OCI, "4.4.0", None)),
        ({"chart": "/srv/jupyterhub", "repository": None, "version": None}, ("/srv/jupyterhub", None, None)),
    ],
)
def test_the_chart_comes_from_where_the_target_says(chart: dict[str, Any], expected: tuple[Any, ...]) -> None:
    release = Stack(load_spec(course()), cluster_target(chart=chart)).inputs["release"]
    assert (release["chart"], release.get("version"), release.get("repositoryOpts")) == expected


def test_the_pull_secret_holds_the_registry_s_keys_as_docker_writes_them() -> None:
    target = cluster_target(images={"helper": HELPER, "pull_secret": True})
    secret = Stack(load_spec(course()), target).inputs["Secret/registry"]
    assert isinstance(secret["data"][".dockerconfigjson"], Secret)
    content = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"].value))
    assert content == {"auths": {"registry.example.org": {"auth": "registry-key"}}}


def test_addresses_are_those_that_browsers_and_the_portal_s_workers_use() -> None:
    stack = Stack(load_spec(course()), cluster_target())
    assert stack.exports["hub_url"] == "https://python-intro.hubs.example.org/"
    assert stack.exports["api_url"] == "https://python-intro.hubs.example.org/hub/api/"


def test_the_referee_refuses_what_kubernetes_does_not_know() -> None:
    namespace, quota, *_ = manifests(load_spec(course()), cluster_target())
    assert schemas.problems(namespace) == []
    assert schemas.problems({**namespace, "metadata": {**namespace["metadata"], "lables": {}}}) != []
    assert schemas.problems({**quota, "spec": {"hard": {"pods": ["1"]}}}) != []


def _hex_of(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return _mapped(value, lambda secret: _plain(secret.value))


def _shown(value: Any) -> Any:
    return _mapped(value, lambda _: "[secret]")


def _mapped(value: Any, of_secret: Any) -> Any:
    if isinstance(value, Secret):
        return of_secret(value)
    if isinstance(value, dict):
        return {key: _mapped(one, of_secret) for key, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, of_secret) for one in value]
    return value
