"""Providers: the plugins that know how to check, compare, create, change, read and delete resources.

A plugin is a process of its own that speaks `pulumirpc.ResourceProvider`: `python -m pulumi.dynamic` for dynamic
resources, `pulumi-resource-NAME` for others. `RandomPassword` is built in (`random_password`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from automation.embedded.errors import EngineError
from automation.embedded.state import Resource
from automation.embedded.values import Properties, changed_keys, mark_secrets, plain

DYNAMIC = "pulumi-python"
REPOSITORY = Path(__file__).resolve().parents[2]
"""Where our packages lie: dynamic providers are loaded by their module's name."""


class ProviderError(Exception):
    """What a provider failed with, in its own words."""


class PartialFailure(ProviderError):
    """The object exists, but did not become ready: its state must be kept."""

    def __init__(self, reasons: list[str], made: Made) -> None:
        many = "s" if len(reasons) != 1 else ""
        text = "".join(f"\t* {reason}\n" for reason in reasons)
        super().__init__(f"{len(reasons)} error{many} occurred:\n{text}\n" if reasons else "resource init failed")
        self.reasons = reasons
        self.made = made


@dataclass(frozen=True, slots=True)
class Made:
    """What create, update and read answer. No id after a read: the object is gone."""

    id: str
    outputs: Properties
    inputs: Properties | None = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between a resource's state and what the program wants."""

    changes: bool
    replaces: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Top-level properties that differ, for people."""
    delete_before_replace: bool = False
    detailed: dict[str, dict[str, Any]] = field(default_factory=dict)


class Provider(Protocol):
    """One configured provider. Every call may raise `ProviderError`."""

    def check(
        self, resource: Resource, olds: Properties | None, news: Properties, *, preview: bool
    ) -> tuple[Properties, list[tuple[str, str]]]:
        """The inputs with defaults, and (property, reason) of what is wrong with them."""
        ...

    def diff(
        self, resource: Resource, old: Resource, news: Properties, ignore: list[str], *, preview: bool
    ) -> Diff | None:
        """None where the provider leaves it to the engine to compare inputs."""
        ...

    def create(self, resource: Resource, *, preview: bool) -> Made: ...

    def update(self, resource: Resource, old: Resource, ignore: list[str], *, preview: bool) -> Made: ...

    def read(self, resource: Resource) -> Made: ...

    def delete(self, resource: Resource) -> None: ...


class PluginProvider:
    """A provider behind gRPC. One process serves it; `configure` comes first."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._accepts_secrets = False
        self._previews = False

    def check_config(self, resource: Resource, olds: Properties, news: Properties) -> Properties:
        """The provider's own configuration with defaults; a wrong one is a `ProviderError`."""
        from pulumi.runtime.proto import provider_pb2

        from automation.embedded.wire import from_struct, to_struct

        request = provider_pb2.CheckRequest(
            urn=resource.urn, name=resource.name, type=resource.type,
            olds=to_struct(olds, secrets=False, unknowns=True), news=to_struct(news, secrets=False, unknowns=True),
        )  # fmt: skip
        try:
            with _rpc_errors():
                answer = self._stub.CheckConfig(request)
        except _Unimplemented:
            return dict(news)
        if answer.failures:
            raise ProviderError("; ".join(f"{failure.property}: {failure.reason}" for failure in answer.failures))
        inputs = from_struct(answer.inputs)
        mark_secrets(inputs, news)
        return inputs

    def diff_config(self, resource: Resource, old: Resource, news: Properties) -> Diff | None:
        from pulumi.runtime.proto import provider_pb2

        from automation.embedded.wire import to_struct

        request = provider_pb2.DiffRequest(
            urn=resource.urn, name=resource.name, type=resource.type,
            old_inputs=to_struct(old.inputs or {}, secrets=False, unknowns=True),
            olds=to_struct(old.outputs or {}, secrets=False, unknowns=True),
            news=to_struct(news, secrets=False, unknowns=True),
        )  # fmt: skip
        try:
            with _rpc_errors():
                return _diff(self._stub.DiffConfig(request))
        except _Unimplemented:
            return None

    def configure(self, resource: Resource, inputs: Properties) -> None:
        from pulumi.runtime.proto import provider_pb2

        from automation.embedded.wire import to_struct

        package = resource.type.rsplit(":", 1)[-1]
        variables = {}
        for key, value in inputs.items():
            if key != "version":
                bare = plain(value)
                variables[f"{package}:config:{key}"] = bare if isinstance(bare, str) else json.dumps(bare)
        with _rpc_errors():
            answer = self._stub.Configure(
                provider_pb2.ConfigureRequest(
                    urn=resource.urn,
                    name=resource.name,
                    type=resource.type,
                    id=resource.id,
                    variables=variables,
                    args=to_struct(inputs, secrets=True, unknowns=True),
                    acceptSecrets=True,
                    acceptResources=True,
                    sends_old_inputs=True,
                    sends_old_inputs_to_delete=True,
                )  # fmt: skip
            )
        self._accepts_secrets = bool(answer.acceptSecrets)
        self._previews = bool(answer.supportsPreview)

    def check(
        self, resource: Resource, olds: Properties | None, news: Properties, *, preview: bool
    ) -> tuple[Properties, list[tuple[str, str]]]:
        from pulumi.runtime.proto import provider_pb2

        from automation.embedded.wire import from_struct

        with _rpc_errors():
            answer = self._stub.Check(
                provider_pb2.CheckRequest(
                    urn=resource.urn,
                    name=resource.name,
                    type=resource.type,
                    olds=self._struct(olds or {}, unknowns=preview, nulls=False),
                    news=self._struct(news, unknowns=preview),
                    randomSeed=os.urandom(32),
                )  # fmt: skip
            )
        inputs = from_struct(answer.inputs)
        if not self._accepts_secrets:
            mark_secrets(inputs, news)
        return inputs, [(failure.property, failure.reason) for failure in answer.failures]

    def diff(
        self, resource: Resource, old: Resource, news: Properties, ignore: list[str], *, preview: bool
    ) -> Diff | None:
        from pulumi.runtime.proto import provider_pb2

        with _rpc_errors():
            return _diff(
                self._stub.Diff(
                    provider_pb2.DiffRequest(
                        id=old.id,
                        urn=resource.urn,
                        name=resource.name,
                        type=resource.type,
                        old_inputs=self._struct(old.inputs or {}, unknowns=preview),
                        olds=self._struct(old.outputs or {}, unknowns=preview),
                        news=self._struct(news, unknowns=preview),
                        ignoreChanges=ignore,
                    )  # fmt: skip
                )
            )

    def create(self, resource: Resource, *, preview: bool) -> Made:
        from pulumi.runtime.proto import provider_pb2

        inputs = resource.inputs or {}
        if preview and not self._previews:
            return Made("", dict(inputs))
        try:
            with _rpc_errors():
                answer = self._stub.Create(
                    provider_pb2.CreateRequest(
                        urn=resource.urn,
                        name=resource.name,
                        type=resource.type,
                        preview=preview,
                        properties=self._struct(inputs, unknowns=preview),
                        timeout=resource.custom_timeouts.get("create", 0),
                    )  # fmt: skip
                )
        except _Partial as error:
            raise error.failure(resource.id, inputs, accepts_secrets=self._accepts_secrets) from error
        if not answer.id and not preview:
            raise ProviderError(f"plugin returned empty resource.ID from create '{resource.urn}'")
        return Made(answer.id, self._outputs(answer.properties, inputs))

    def update(self, resource: Resource, old: Resource, ignore: list[str], *, preview: bool) -> Made:
        from pulumi.runtime.proto import provider_pb2

        inputs = resource.inputs or {}
        if preview and not self._previews:
            return Made(old.id, dict(inputs))
        try:
            with _rpc_errors():
                answer = self._stub.Update(
                    provider_pb2.UpdateRequest(
                        id=old.id,
                        urn=resource.urn,
                        name=resource.name,
                        type=resource.type,
                        preview=preview,
                        old_inputs=self._struct(old.inputs or {}),
                        olds=self._struct(old.outputs or {}),
                        news=self._struct(inputs, unknowns=preview),
                        ignoreChanges=ignore,
                        timeout=resource.custom_timeouts.get("update", 0),
                    )  # fmt: skip
                )
        except _Partial as error:
            raise error.failure(old.id, inputs, accepts_secrets=self._accepts_secrets) from error
        return Made(old.id, self._outputs(answer.properties, inputs))

    def read(self, resource: Resource) -> Made:
        from pulumi.runtime.proto import provider_pb2

        from automation.embedded.wire import from_struct

        try:
            with _rpc_errors():
                answer = self._stub.Read(
                    provider_pb2.ReadRequest(
                        id=resource.id,
                        urn=resource.urn,
                        name=resource.name,
                        type=resource.type,
                        inputs=self._struct(resource.inputs or {}),
                        properties=self._struct(resource.outputs or {}),
                        timeout=resource.custom_timeouts.get("read", 0),
                    )  # fmt: skip
                )
        except _Partial as error:
            raise error.failure(resource.id, resource.outputs or {}, accepts_secrets=self._accepts_secrets) from error
        inputs = None
        if answer.HasField("inputs"):
            inputs = from_struct(answer.inputs)
            if not self._accepts_secrets:
                mark_secrets(inputs, resource.inputs or {})
        return Made(answer.id, self._outputs(answer.properties, resource.outputs or {}), inputs)

    def delete(self, resource: Resource) -> None:
        from pulumi.runtime.proto import provider_pb2

        with _rpc_errors():
            self._stub.Delete(
                provider_pb2.DeleteRequest(
                    id=resource.id,
                    urn=resource.urn,
                    name=resource.name,
                    type=resource.type,
                    properties=self._struct(resource.outputs or {}),
                    old_inputs=self._struct(resource.inputs or {}),
                    timeout=resource.custom_timeouts.get("delete", 0),
                )  # fmt: skip
            )

    def _struct(self, properties: Properties, *, unknowns: bool = False, nulls: bool = True) -> Any:
        from automation.embedded.wire import to_struct

        return to_struct(properties, secrets=self._accepts_secrets, unknowns=unknowns, nulls=nulls)

    def _outputs(self, message: Any, like: Properties) -> Properties:
        from automation.embedded.wire import from_struct

        outputs = from_struct(message)
        if not self._accepts_secrets:
            mark_secrets(outputs, like)
        return outputs


class _Unimplemented(ProviderError):
    pass


class _Partial(Exception):  # noqa: N818 -- becomes a PartialFailure
    def __init__(self, detail: Any) -> None:
        super().__init__()
        self._detail = detail

    def failure(self, id_: str, like: Properties, *, accepts_secrets: bool) -> PartialFailure:
        from automation.embedded.wire import from_struct

        outputs = from_struct(self._detail.properties)
        inputs = from_struct(self._detail.inputs) if self._detail.HasField("inputs") else None
        if not accepts_secrets:
            mark_secrets(outputs, like)
        return PartialFailure(list(self._detail.reasons), Made(self._detail.id or id_, outputs, inputs))


@contextlib.contextmanager
def _rpc_errors() -> Iterator[None]:
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            raise _Unimplemented from error
        for detail in _details(error):
            raise _Partial(detail) from error
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            raise ProviderError("the provider's process ended while it was working on this resource") from error
        raise ProviderError(error.details() or str(error.code())) from error


def _details(error: Any) -> Iterator[Any]:
    """`ErrorResourceInitFailed` messages that came with an RPC's failure."""
    from google.rpc import status_pb2
    from pulumi.runtime.proto import provider_pb2

    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                detail = provider_pb2.ErrorResourceInitFailed()
                if packed.Unpack(detail):
                    yield detail


_KINDS = ("add", "add-replace", "delete", "delete-replace", "update", "update-replace")


def _diff(answer: Any) -> Diff | None:
    if answer.changes == 0 and not answer.replaces:
        return None
    detailed = {
        path: {"diffKind": _KINDS[diff.kind], "inputDiff": bool(diff.inputDiff)}
        for path, diff in answer.detailedDiff.items()
    }
    replaces = set(answer.replaces)
    replaces |= {path for path, diff in detailed.items() if str(diff["diffKind"]).endswith("-replace")}
    keys = set(answer.diffs) | {path.partition(".")[0].partition("[")[0] for path in detailed}
    return Diff(
        changes=answer.changes == 2 or bool(replaces),
        replaces=tuple(sorted(replaces)),
        keys=tuple(sorted(keys)),
        delete_before_replace=bool(answer.deleteBeforeReplace),
        detailed=detailed,
    )


def compared(old: Properties, new: Properties) -> Diff:
    """The engine's own comparison of inputs, for providers that have none."""
    keys = changed_keys(plain(old), plain(new))
    kinds = {key: "delete" if key not in new else "add" if key not in old else "update" for key in keys}
    return Diff(
        changes=bool(keys),
        keys=tuple(keys),
        detailed={key: {"diffKind": kind, "inputDiff": True} for key, kind in kinds.items()},
    )


# ---- processes

_STARTER = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
{start}
"""
_RUN_MODULE = "import runpy\nrunpy.run_module('pulumi.dynamic', run_name='__main__', alter_sys=True)"
_RUN_PROGRAM = "os.execv(sys.argv[2], sys.argv[2:])"
"""The kernel kills a provider (PR_SET_PDEATHSIG) when the engine dies, however it dies: an orphaned provider would
finish its work on a stack that someone else may already be working on."""

# The kernel's promise holds for the thread that started the child: one that lives as long as this process.
_starter = ThreadPoolExecutor(1, "provider-starter")


class PluginProcess:
    """One plugin's process, started in the background; `stub()` waits until it answers."""

    def __init__(
        self, name: str, env: Mapping[str, str], cwd: str, engine: Callable[[], str], log: Callable[[str], None]
    ):
        self._name = name
        self._log = log
        self._engine = engine
        self._env = _environment(env)
        self._cwd = cwd
        self._channel: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._started: Future[None] = _starter.submit(self._start)

    def _start(self) -> None:
        if self._name == DYNAMIC:
            command = [sys.executable, "-u", "-c", _STARTER.format(start=_RUN_MODULE), str(os.getpid())]
        else:
            program = shutil.which(f"pulumi-resource-{self._name}", path=self._env["PATH"])
            if program is None:
                raise EngineError(
                    f"no resource plugin 'pulumi-resource-{self._name}' found on PATH: install it there, "
                    "the embedded engine downloads none"
                )
            start = _STARTER.format(start=_RUN_PROGRAM)
            command = [sys.executable, "-S", "-E", "-c", start, str(os.getpid()), program, self._engine()]
        self._process = subprocess.Popen(
            command, cwd=self._cwd, env=self._env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def stub(self) -> Any:
        """The plugin's gRPC stub; a plugin that does not start is an `EngineError`."""
        import grpc
        from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
        from pulumi.runtime.proto import provider_pb2_grpc

        self._started.result()
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._read(process.stderr)
        port = process.stdout.readline().strip()
        if not port.isdigit():
            process.kill()
            process.wait()
            for reader in self._readers:
                reader.join()
            raise EngineError(f"the resource plugin {self._name!r} did not start (exit code {process.returncode})")
        self._read(process.stdout)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(port)}", options=_GRPC_CHANNEL_OPTIONS)
        return provider_pb2_grpc.ResourceProviderStub(self._channel)

    def _read(self, stream: Any) -> None:
        def read() -> None:
            for line in stream:
                if text := line.decode(errors="replace").rstrip():
                    self._log(text)

        thread = threading.Thread(target=read, name=f"{self._name}-output", daemon=True)
        thread.start()
        self._readers.append(thread)

    def close(self) -> None:
        """Kill and reap: providers never end by themselves."""
        with contextlib.suppress(Exception):
            self._started.result()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for reader in self._readers:
                reader.join(1)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a provider: this interpreter is the first `python3`, and our packages are found."""
    found = dict(env)
    found["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), env.get("PATH", os.defpath)))
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), env.get("PYTHONPATH"))))
    return found
