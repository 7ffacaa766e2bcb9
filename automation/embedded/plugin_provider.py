"""A provider behind gRPC, as every Pulumi plugin serves it (`pulumirpc.ResourceProvider`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2

from automation.embedded.providers import Diff, Made, PartialFailure, ProviderError
from automation.embedded.state import Resource
from automation.embedded.values import Properties, mark_secrets, plain
from automation.embedded.wire import from_struct, to_struct


class PluginProvider:
    """A provider behind gRPC. One process serves it; `configure` comes first."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self._accepts_secrets = False
        self._previews = False

    def check_config(self, resource: Resource, olds: Properties, news: Properties) -> Properties:
        """The provider's own configuration with defaults; a wrong one is a `ProviderError`."""
        try:
            answer = _call(
                self._stub.CheckConfig,
                provider_pb2.CheckRequest,
                resource,
                olds=to_struct(olds, secrets=False, unknowns=True),
                news=to_struct(news, secrets=False, unknowns=True),
            )
        except _Unimplemented:
            return dict(news)
        if answer.failures:
            raise ProviderError("; ".join(f"{failure.property}: {failure.reason}" for failure in answer.failures))
        inputs = from_struct(answer.inputs)
        mark_secrets(inputs, news)
        return inputs

    def diff_config(self, resource: Resource, old: Resource, news: Properties) -> Diff | None:
        try:
            answer = _call(
                self._stub.DiffConfig,
                provider_pb2.DiffRequest,
                resource,
                old_inputs=to_struct(old.inputs or {}, secrets=False, unknowns=True),
                olds=to_struct(old.outputs or {}, secrets=False, unknowns=True),
                news=to_struct(news, secrets=False, unknowns=True),
            )
            return _diff(answer)
        except _Unimplemented:
            return None

    def configure(self, resource: Resource, inputs: Properties) -> None:
        package = resource.type.rsplit(":", 1)[-1]
        variables = {}
        for key, value in inputs.items():
            if key != "version":
                bare = plain(value)
                variables[f"{package}:config:{key}"] = bare if isinstance(bare, str) else json.dumps(bare)
        answer = _call(
            self._stub.Configure,
            provider_pb2.ConfigureRequest,
            resource,
            id=resource.id,
            variables=variables,
            args=to_struct(inputs, secrets=True, unknowns=True),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        self._accepts_secrets = bool(answer.acceptSecrets)
        self._previews = bool(answer.supportsPreview)

    def check(
        self, resource: Resource, olds: Properties | None, news: Properties, *, preview: bool
    ) -> tuple[Properties, list[tuple[str, str]]]:
        answer = _call(
            self._stub.Check,
            provider_pb2.CheckRequest,
            resource,
            olds=self._struct(olds or {}, unknowns=preview, nulls=False),
            news=self._struct(news, unknowns=preview),
            randomSeed=os.urandom(32),
        )
        inputs = from_struct(answer.inputs)
        if not self._accepts_secrets:
            mark_secrets(inputs, news)
        return inputs, [(failure.property, failure.reason) for failure in answer.failures]

    def diff(
        self, resource: Resource, old: Resource, news: Properties, ignore: list[str], *, preview: bool
    ) -> Diff | None:
        answer = _call(
            self._stub.Diff,
            provider_pb2.DiffRequest,
            resource,
            id=old.id,
            old_inputs=self._struct(old.inputs or {}, unknowns=preview),
            olds=self._struct(old.outputs or {}, unknowns=preview),
            news=self._struct(news, unknowns=preview),
            ignoreChanges=ignore,
        )
        return _diff(answer)

    def create(self, resource: Resource, *, preview: bool) -> Made:
        inputs = resource.inputs or {}
        if preview and not self._previews:
            return Made("", dict(inputs))
        try:
            answer = _call(
                self._stub.Create,
                provider_pb2.CreateRequest,
                resource,
                preview=preview,
                properties=self._struct(inputs, unknowns=preview),
                timeout=resource.custom_timeouts.get("create", 0),
            )
        except _Partial as error:
            raise error.failure(resource.id, inputs, accepts_secrets=self._accepts_secrets) from error
        if not answer.id and not preview:
            raise ProviderError(f"plugin returned empty resource.ID from create '{resource.urn}'")
        return Made(answer.id, self._outputs(answer.properties, inputs))

    def update(self, resource: Resource, old: Resource, ignore: list[str], *, preview: bool) -> Made:
        inputs = resource.inputs or {}
        if preview and not self._previews:
            return Made(old.id, dict(inputs))
        try:
            answer = _call(
                self._stub.Update,
                provider_pb2.UpdateRequest,
                resource,
                id=old.id,
                preview=preview,
                old_inputs=self._struct(old.inputs or {}),
                olds=self._struct(old.outputs or {}),
                news=self._struct(inputs, unknowns=preview),
                ignoreChanges=ignore,
                timeout=resource.custom_timeouts.get("update", 0),
            )
        except _Partial as error:
            raise error.failure(old.id, inputs, accepts_secrets=self._accepts_secrets) from error
        return Made(old.id, self._outputs(answer.properties, inputs))

    def read(self, resource: Resource) -> Made:
        try:
            answer = _call(
                self._stub.Read,
                provider_pb2.ReadRequest,
                resource,
                id=resource.id,
                inputs=self._struct(resource.inputs or {}),
                properties=self._struct(resource.outputs or {}),
                timeout=resource.custom_timeouts.get("read", 0),
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
        _call(
            self._stub.Delete,
            provider_pb2.DeleteRequest,
            resource,
            id=resource.id,
            properties=self._struct(resource.outputs or {}),
            old_inputs=self._struct(resource.inputs or {}),
            timeout=resource.custom_timeouts.get("delete", 0),
        )

    def _struct(self, properties: Properties, *, unknowns: bool = False, nulls: bool = True) -> Any:
        return to_struct(properties, secrets=self._accepts_secrets, unknowns=unknowns, nulls=nulls)

    def _outputs(self, message: Any, like: Properties) -> Properties:
        outputs = from_struct(message)
        if not self._accepts_secrets:
            mark_secrets(outputs, like)
        return outputs


class _Unimplemented(ProviderError):
    pass


class _Partial(Exception):
    def __init__(self, detail: Any) -> None:
        super().__init__()
        self._detail = detail

    def failure(self, id_: str, like: Properties, *, accepts_secrets: bool) -> PartialFailure:
        outputs = from_struct(self._detail.properties)
        inputs = from_struct(self._detail.inputs) if self._detail.HasField("inputs") else None
        if not accepts_secrets:
            mark_secrets(outputs, like)
        return PartialFailure(list(self._detail.reasons), Made(self._detail.id or id_, outputs, inputs))


def _call(method: Any, message: Any, resource: Resource, **fields: Any) -> Any:
    """Call the plugin about a resource, and give its failures their names."""
    try:
        return method(message(urn=resource.urn, name=resource.name, type=resource.type, **fields))
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            raise _Unimplemented(error.details()) from error
        for detail in _details(error):
            raise _Partial(detail) from error
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            raise ProviderError("the provider's process ended while it was working on this resource") from error
        raise ProviderError(error.details() or str(error.code())) from error


def _details(error: Any) -> Iterator[Any]:
    """`ErrorResourceInitFailed` messages that came with an RPC's failure."""
    from pulumi.runtime.proto import status_pb2

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
