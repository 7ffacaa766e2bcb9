"""The two services that a program and plugins talk to: `ResourceMonitor` and `Engine`, on one loopback port."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    language_pb2,
    language_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

from automation.embedded.deployment import Deployment, Goal, Stopped
from automation.embedded.errors import EngineError, Unsupported
from automation.embedded.events import Events, Severity
from automation.embedded.state import PROVIDER_PREFIX, Resource
from automation.embedded.values import Properties, Secret, plain
from automation.embedded.wire import from_struct, to_struct

ORGANIZATION = "organization"
_SHUT_DOWN = "resource monitor shut down"
_ENDED = "Resource monitor has terminated, shutting down"
_TURNING_AWAY = 5.0
"""Seconds; it takes some milliseconds."""
_FEATURES = {
    "secrets": resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    "deletedWith": resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
}
_SEVERITIES: tuple[Severity, ...] = ("debug", "info", "warning", "error")


class EngineService(engine_pb2_grpc.EngineServicer):
    """Where programs and plugins log, and where the program leaves its root resource."""

    def __init__(self, events: Events, ready: Future[Deployment] | None = None) -> None:
        self._events = events
        self._ready = ready
        self._root = ""

    def Log(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 -- names of the protocol
        severity = _SEVERITIES[request.severity]
        if _ENDED in request.message and self._stopping:
            severity = "debug"  # the program's echo of what ended it
        self._events.diagnostic(severity, request.message, request.urn, ephemeral=request.ephemeral)
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return engine_pb2.GetRootResourceResponse(urn=self._root)

    def SetRootResource(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._root = request.urn
        return engine_pb2.SetRootResourceResponse()

    def StartDebugging(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return empty_pb2.Empty()

    @property
    def _stopping(self) -> bool:
        ready = self._ready
        return ready is not None and ready.done() and (ready.cancelled() or ready.result().stopping)


class MonitorService(resource_pb2_grpc.ResourceMonitorServicer):
    """Takes the program's registrations. What it does not do, it refuses by name and ends the operation.

    `ready` gives the deployment, or is cancelled where there is none to be. A program's runtime asks for the
    deployment's information before it runs a line of the program: until `ready` is, it waits there.
    """

    def __init__(self, ready: Future[Deployment], info: Any, root: str) -> None:
        self._ready = ready
        self._info = info
        self._root = root
        self._component_providers: dict[str, dict[str, str]] = {}

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        try:
            self._ready.result()
        except CancelledError:
            context.abort(grpc.StatusCode.UNAVAILABLE, _SHUT_DOWN)
        return self._info

    def SupportsFeature(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in _FEATURES)

    def RegisterResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            refuse_unsupported(request)
            goal = goal_of(request, self._root)
            if goal.custom and not goal.provider and not goal.type.startswith(PROVIDER_PREFIX):
                package = goal.type.partition(":")[0]
                goal.provider = request.providers.get(package) or self._inherited(goal.parent, package)
            resource = self._deployment.register(goal)
        except EngineError as error:
            self._refuse(context, error)
        except Stopped:
            context.abort(grpc.StatusCode.UNAVAILABLE, _SHUT_DOWN)
        if not goal.custom:
            self._component_providers[resource.urn] = {
                **self._component_providers.get(goal.parent, {}),
                **request.providers,
            }
        return _answer(request, goal, resource)

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:  # noqa: N802
        try:
            self._deployment.register_outputs(request.urn, from_struct(request.outputs))
        except EngineError as error:
            self._refuse(context, error)
        except Stopped:
            context.abort(grpc.StatusCode.UNAVAILABLE, _SHUT_DOWN)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        # Programs wait here so that their hooks can still be called. There are none: they may go.
        return empty_pb2.Empty()

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, Unsupported(f"reading existing resources ({request.type} {request.name!r})"))

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, Unsupported(f"invokes ({request.tok})"))

    def Call(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, Unsupported(f"method calls ({request.tok})"))

    def RegisterStackTransform(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._refuse(context, Unsupported("transforms"))

    def RegisterStackInvokeTransform(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._refuse(context, Unsupported("transforms"))

    def RegisterResourceHook(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._refuse(context, Unsupported("resource hooks"))

    def RegisterErrorHook(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._refuse(context, Unsupported("resource hooks"))

    def RegisterPackage(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._refuse(context, Unsupported(f"parameterized packages ({request.name})"))

    @property
    def _deployment(self) -> Deployment:
        return self._ready.result()

    def _inherited(self, parent: str, package: str) -> str:
        return self._component_providers.get(parent, {}).get(package, "")

    def _refuse(self, context: Any, error: EngineError) -> NoReturn:
        if not self._deployment.stopping:
            self._deployment.fail(str(error))
        context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        raise error


def refuse_unsupported(request: Any) -> None:
    """Options that this engine would not carry out are an `Unsupported`, never silently left out."""
    refused = {
        "import": request.importId,
        "aliases": request.aliases or request.aliasURNs,
        "transforms": request.transforms,
        "hooks": request.HasField("hooks") and request.hooks.ByteSize(),
        "replace_with": request.replace_with,
        "replacement_trigger": request.HasField("replacement_trigger")
        and request.replacement_trigger.WhichOneof("kind"),
        "hide_diffs": request.hideDiffs,
        "state migrations": request.state_migrations,
        "remote components": request.remote,
        "plugin download addresses": request.pluginDownloadURL,
        "environment variable mappings": request.envVarMappings,
    }
    for option, given in refused.items():
        if given:
            raise Unsupported(f"the resource option {option} ({request.type} {request.name!r})")


def goal_of(request: Any, root: str) -> Goal:
    """The goal of a registration; `root` is the project's folder, to which source positions are relative."""
    inputs = from_struct(request.object)
    depends = sorted(set(request.dependencies))
    by_property = {key: sorted(set(value.urns)) for key, value in request.propertyDependencies.items()}
    if not by_property:
        by_property = dict.fromkeys(inputs, depends)
    for key in inputs:
        by_property.setdefault(key, [])
    if request.type.startswith(PROVIDER_PREFIX) and request.version:
        inputs |= {"version": request.version, "__internal": {}}
    goal = Goal(
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=inputs,
        parent=request.parent,
        provider=request.provider,
        version=request.version,
        protect=request.protect,
        dependencies=depends,
        property_dependencies=by_property,
        ignore_changes=list(request.ignoreChanges),
        replace_on_changes=list(request.replaceOnChanges),
        additional_secret_outputs=list(request.additionalSecretOutputs),
        custom_timeouts={
            name: _seconds(text)
            for name in ("create", "update", "delete", "read")
            if (text := getattr(request.customTimeouts, name))
        },
        retain_on_delete=request.retainOnDelete,
        deleted_with=request.deletedWith,
        source_position=_position(request.sourcePosition, root) if request.HasField("sourcePosition") else "",
        stack_trace=[_position(frame.pc, root) for frame in request.stackTrace.frames],
    )
    if request.deleteBeforeReplaceDefined or request.deleteBeforeReplace:
        goal.delete_before_replace = request.deleteBeforeReplace
    return goal


def _answer(request: Any, goal: Goal, resource: Resource) -> Any:
    outputs = (resource.outputs or {}) if goal.custom else {}
    return resource_pb2.RegisterResourceResponse(
        urn=resource.urn,
        id=resource.id,
        object=to_struct(outputs, secrets=request.acceptSecrets, unknowns=True),
        result=resource_pb2.SUCCESS,
    )


_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str) -> float:
    """Seconds of a duration as Go writes it: `1h30m`."""
    if not re.fullmatch(f"({_DURATION.pattern})+", text):
        raise EngineError(f"unable to parse customTimeout value {text!r}: write a duration like 5m or 1h30m")
    seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    return int(seconds) if seconds.is_integer() else seconds


def _position(position: Any, root: str) -> str:
    parts = urlsplit(position.uri)
    if parts.scheme != "file":
        return ""
    path = Path(os.path.relpath(unquote(parts.path), root)).as_posix()
    column = f",{position.column}" if position.column else ""
    return f"project:///{path}#{position.line}{column}"


class EngineServer:
    """Serves the engine, and for operations that run a program also the monitor."""

    def __init__(self, engine: EngineService, address: str, threads: int) -> None:
        self.address = address
        self._server = grpc.server(ThreadPoolExecutor(threads, "engine"), options=_GRPC_CHANNEL_OPTIONS)
        engine_pb2_grpc.add_EngineServicer_to_server(engine, self._server)

    def add_monitor(self, monitor: MonitorService) -> None:
        resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, self._server)

    def start(self) -> None:
        self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        # With a grace period idle clients get an orderly goodbye; calls under way are few and end at once.
        self._server.stop(1).wait()


class Program:
    """A program that the language runtime at `client` runs, from the beginning of its start-up."""

    def __init__(self, client: str, monitor: str, info: Any, cwd: str) -> None:
        self._client = client
        self._channel = grpc.insecure_channel(client, options=_GRPC_CHANNEL_OPTIONS)
        self._answer = language_pb2_grpc.LanguageRuntimeStub(self._channel).Run.future(
            language_pb2.RunRequest(
                project=info.project,
                stack=info.stack,
                pwd=cwd,
                args=[monitor],
                config=info.config,
                dryRun=info.dryRun,
                parallel=info.parallel,
                monitor_address=monitor,
                configSecretKeys=info.configSecretKeys,
                organization=info.organization,
            )
        )

    def result(self, wait: Callable[[Any], Any]) -> str:
        """What it ended with, empty for success. `wait` takes the future of the answer and gives its result."""
        try:
            return str(wait(self._answer).error)
        except grpc.RpcError as error:
            return f"the program's runtime at {self._client} failed: {error.details()}"

    def turned_away(self) -> None:
        """Wait for its end where it got no deployment: its runtime clears up, and tells us so, before it answers."""
        with contextlib.suppress(grpc.RpcError, grpc.FutureTimeoutError):
            self._answer.result(_TURNING_AWAY)

    def close(self) -> None:
        """Hear no more of it."""
        self._answer.cancel()
        self._channel.close()


def deployment_info(project: str, stack: str, config: Properties, *, preview: bool, parallel: int) -> Any:
    """What programs may know about the operation. Only features that work are named."""
    return resource_pb2.DeploymentInfo(
        project=project,
        stack=stack,
        organization=ORGANIZATION,
        config={key: str(plain(value)) for key, value in config.items()},
        configSecretKeys=[key for key, value in config.items() if isinstance(value, Secret)],
        dryRun=preview,
        parallel=parallel,
        supportedFeatures=list(_FEATURES.values()),
    )
