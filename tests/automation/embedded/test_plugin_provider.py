"""Providers over gRPC: a small one of these tests, served as plugins are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from automation.embedded.deployment import Deployment, Goal, Stopped
from automation.embedded.events import Event, Events
from automation.embedded.journal import Journal
from automation.embedded.plugin_provider import PluginProvider
from automation.embedded.providers import PartialFailure, ProviderError
from automation.embedded.state import Resource, Snapshot
from automation.embedded.values import Properties, Secret
from automation.embedded.wire import from_struct, to_struct

TYPE = "test:index:Thing"


class ThingProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Remembers what it was sent. `unready` answers that the thing exists and did not become ready."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Properties]] = []
        self.accepts_secrets = False
        self.unready = False

    def CheckConfig(self, request: Any, _context: Any) -> Any:
        news = from_struct(request.news)
        if news.get("region") == "moon":
            return provider_pb2.CheckResponse(
                failures=[provider_pb2.CheckFailure(property="region", reason="is too far away")]
            )
        return provider_pb2.CheckResponse(inputs=to_struct({"region": "here", **news}, secrets=True))

    def Configure(self, request: Any, _context: Any) -> Any:
        self.seen.append(("configure", from_struct(request.args)))
        return provider_pb2.ConfigureResponse(acceptSecrets=self.accepts_secrets)

    def Check(self, request: Any, _context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, _request: Any, _context: Any) -> Any:
        return provider_pb2.DiffResponse()

    def Create(self, request: Any, context: Any) -> Any:
        inputs = from_struct(request.properties)
        self.seen.append(("create", inputs))
        outputs = to_struct({**inputs, "made": True}, secrets=True)
        if self.unready:
            _init_failed(context, "thing-1", outputs)
        return provider_pb2.CreateResponse(id="thing-1", properties=outputs)

    def Update(self, request: Any, _context: Any) -> Any:
        self.seen.append(("update", from_struct(request.news)))
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request: Any, _context: Any) -> Any:
        self.seen.append(("delete", from_struct(request.properties)))
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:
        if self.unready:
            _init_failed(context, request.id, request.properties)
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)


def _init_failed(context: Any, id_: str, properties: Any) -> None:
    detail = any_pb2.Any()
    detail.Pack(provider_pb2.ErrorResourceInitFailed(id=id_, properties=properties, reasons=["still starting"]))
    status = status_pb2.Status(code=2, message="init failed", details=[detail])
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    context.abort(grpc.StatusCode.UNKNOWN, "init failed")


@pytest.fixture
def things() -> ThingProvider:
    return ThingProvider()


@pytest.fixture
def stub(things: ThingProvider) -> Iterator[Any]:
    server = grpc.server(ThreadPoolExecutor(4))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(things, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(0).wait()


def thing(**inputs: Any) -> Resource:
    return Resource(urn=f"urn:pulumi:s::p::{TYPE}::thing", custom=True, type=TYPE, inputs=inputs)


def configured(stub: Any, **inputs: Any) -> PluginProvider:
    provider = PluginProvider(stub)
    provider.configure(
        Resource(urn="urn:pulumi:s::p::pulumi:providers:test::default", custom=True, type="pulumi:providers:test"),
        inputs,
    )
    return provider


def test_a_provider_without_secrets_gets_plain_values_and_its_answers_are_marked_again(
    stub: Any, things: ThingProvider
) -> None:
    provider = configured(stub)

    made = provider.create(thing(password=Secret("hush"), size=1), preview=False)

    assert things.seen[-1] == ("create", {"password": "hush", "size": 1})
    assert isinstance(made.outputs["password"], Secret)
    assert (made.id, made.outputs["size"], made.outputs["made"]) == ("thing-1", 1, True)


def test_a_provider_with_secrets_gets_them_marked(stub: Any, things: ThingProvider) -> None:
    things.accepts_secrets = True
    provider = configured(stub, token=Secret("hush"))

    provider.create(thing(password=Secret("hush")), preview=False)

    (_, configuration), (_, inputs) = things.seen
    assert isinstance(configuration["token"], Secret)
    assert isinstance(inputs["password"], Secret)


def test_a_configuration_is_checked(stub: Any) -> None:
    provider = PluginProvider(stub)

    assert provider.check_config(thing(), {}, {"version": "1"}) == {"region": "here", "version": "1"}
    with pytest.raises(ProviderError, match="region: is too far away"):
        provider.check_config(thing(), {}, {"region": "moon"})


def test_what_the_provider_cannot_do_in_a_preview_is_taken_from_the_inputs(stub: Any, things: ThingProvider) -> None:
    made = configured(stub).create(thing(size=1), preview=True)

    assert (made.id, made.outputs) == ("", {"size": 1})
    assert [what for what, _ in things.seen] == ["configure"]


def test_an_object_that_did_not_become_ready_is_a_partial_failure(stub: Any, things: ThingProvider) -> None:
    things.unready = True

    with pytest.raises(PartialFailure, match="still starting") as caught:
        configured(stub).create(thing(password=Secret("hush")), preview=False)

    assert caught.value.reasons == ["still starting"]
    assert caught.value.made.id == "thing-1"
    assert isinstance(caught.value.made.outputs["password"], Secret)


class OnePlugin:
    """Gives every package the provider of these tests."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    def provider(self, _package: str, _urn: str) -> PluginProvider:
        return PluginProvider(self._stub)


def deployment(stub: Any, base: Snapshot, events: list[Event]) -> tuple[Deployment, Journal]:
    journal = Journal(base, None)
    made = Deployment(
        stack="s", project="p", kind="update", preview=False, base=base, config={}, journal=journal,
        events=Events([events.append]), plugins=OnePlugin(stub), parallel=4, cancelled=threading.Event(),  # type: ignore[arg-type]
    )  # fmt: skip
    return made, journal


def test_what_did_not_become_ready_is_kept_with_its_errors_and_updated_next_time(
    stub: Any, things: ThingProvider
) -> None:
    events: list[Event] = []
    things.unready = True
    first, journal = deployment(stub, Snapshot(), events)
    goal = Goal(TYPE, "thing", custom=True, inputs={"size": 1})
    with pytest.raises(Stopped):
        first.register(goal)

    state = journal.snapshot()
    (kept,) = [resource for resource in state.resources if not resource.is_provider]
    assert (kept.id, kept.init_errors, first.failed) == ("thing-1", ["still starting"], True)
    assert state.pending == []

    things.unready = False
    second, journal = deployment(stub, state, events)
    second.register(Goal(TYPE, "thing", custom=True, inputs={"size": 1}))

    (kept,) = [resource for resource in journal.snapshot().resources if not resource.is_provider]
    assert kept.init_errors == []
    assert second.changes == {"update": 1}
    assert things.seen[-1] == ("update", {"size": 1})


def test_a_refresh_of_what_is_not_ready_warns_and_goes_on(stub: Any, things: ThingProvider) -> None:
    events: list[Event] = []
    first, journal = deployment(stub, Snapshot(), events)
    first.register(Goal(TYPE, "thing", custom=True, inputs={"size": 1}))
    things.unready = True
    second, journal = deployment(stub, journal.snapshot(), events)

    second.refresh()

    (kept,) = [resource for resource in journal.snapshot().resources if not resource.is_provider]
    assert kept.init_errors == ["still starting"]
    assert not second.failed
    assert any(
        "unhealthy state:\n* still starting" in str(event) or "unhealthy state" in str(event) for event in events
    )


def test_nothing_new_is_begun_after_a_failure(stub: Any, things: ThingProvider) -> None:
    made, _ = deployment(stub, Snapshot(), [])
    made.fail("something else went wrong")

    with pytest.raises(Stopped):
        made.register(Goal(TYPE, "thing", custom=True, inputs={}))
    assert things.seen == []
