"""The whole program, run without a cluster and without Pulumi's engine: what would it make, in which order, from what?

Pulumi's own mocks answer in the engine's place. What only a cluster or a provider could say (an address, a password) is
stood in for: secrets by `[secret: NAME]`, so that what is recorded can be shown.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import runpy
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pulumi.runtime
from google.protobuf import json_format
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack

import kubernetes_version
from config import OLDEST_KUBERNETES
from stack_file import PROJECT

HERE = Path(__file__).parent
SECRET_MARK = ("4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270")
"""Key and value by which Pulumi's protocol marks a secret value."""
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nrehearsal\n-----END CERTIFICATE-----\n"
"""Stands for that of an authority in the cluster."""
ADDRESS = "192.0.2.1"
"""Stands for the load balancer's address (RFC 5737)."""
Outputs = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """One resource that the program would make."""

    type: str
    name: str
    urn: str
    parent: str
    """URN; empty for the stack's own children."""
    provider: str
    inputs: dict[str, Any]
    """In plain text: nothing in a rehearsal is really secret."""
    secrets: frozenset[str]
    """Paths of the inputs that are marked secret, with dots: `stringData.password`, or `stringData` for all below."""
    after: frozenset[str]
    """URNs of what must be made before."""
    custom: bool
    is_read: bool = False
    """Looked up, not made."""
    is_kept: bool = False
    """It refuses to be deleted."""


@dataclass
class Rehearsal:
    """Everything that was recorded."""

    made: list[Made] = field(default_factory=list)
    """Each after what it needs, in the same order at every run (`in_order`)."""
    exports: dict[str, Any] = field(default_factory=dict)
    secret_exports: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    """What the program told the operator."""

    def of(self, kind: str) -> list[Made]:
        """The resources whose type ends so, for example `Release` or `core/v1:Secret`."""
        return [one for one in self.made if one.type.endswith(f":{kind}") or one.type == kind]

    def named(self, name: str) -> Made:
        """The one resource of this name."""
        (one,) = [one for one in self.made if one.name == name]
        return one

    @property
    def objects(self) -> list[Made]:
        """Objects of Kubernetes, each with its manifest as `inputs`."""
        return [one for one in self.made if "apiVersion" in one.inputs and "kind" in one.inputs and not one.is_read]

    def before(self, one: Made) -> set[str]:
        """URNs of everything that is there before this one, however far back; with a component, all that is in it."""
        by_urn = {made.urn: made for made in self.made}
        found: set[str] = set()
        ahead = set(one.after)
        while ahead:
            urn = ahead.pop()
            if urn in found:
                continue
            found.add(urn)
            if urn in by_urn:
                ahead |= by_urn[urn].after
            ahead |= {child.urn for child in self.made if child.parent == urn and not by_urn[urn].custom}
        return found


def rehearse(sections: Mapping[str, Any], program: Path = HERE / "__main__.py") -> Rehearsal:
    """Run the program with this configuration (section → mapping). Raises what the program raises."""
    record = Rehearsal()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            _run(record, sections, program)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    # a thread of its own: Pulumi's settings and event loop are the thread's
    thread = threading.Thread(target=run, name="rehearsal")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    record.made = in_order(record.made)
    return record


def in_order(made: list[Made]) -> list[Made]:
    """Each after what it needs; of what could be made at once, that of the program's earlier parts first, and then by
    name. Pulumi registers such things side by side, in another order at every run."""
    by_urn = {one.urn: one for one in made}
    waiting: dict[str, set[str]] = {}
    for one in made:
        needs = {urn for urn in {one.parent, *one.after} if urn in by_urn}
        # whoever waits for a part waits for all that is in it
        parts = {urn for urn in needs - {one.parent} if not by_urn[urn].custom}
        waiting[one.urn] = needs | {other.urn for other in made if other.parent in parts and other.parent != one.parent}
    # parts themselves wait for nothing, and are registered as the program names them
    parts_in_order = {one.urn: index for index, one in enumerate(made) if not one.custom}
    found: list[Made] = []
    while waiting:
        ready = [urn for urn, needs in waiting.items() if not needs & waiting.keys()]
        urn = min(ready, key=lambda urn: (parts_in_order.get(by_urn[urn].parent or urn, -1), urn))
        del waiting[urn]
        found.append(by_urn[urn])
    return found


def _run(record: Rehearsal, sections: Mapping[str, Any], program: Path) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # one call after the other, as the program makes them: the same order at every run
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1, thread_name_prefix="rehearsal"))
    try:
        keys = {f"{PROJECT}:{name}": section for name, section in sections.items()}
        logger = logging.Logger("rehearsal", logging.INFO)
        logger.addHandler(_Messages(record))
        set_mocks(
            _StandIns(), project=PROJECT, stack="rehearsal", preview=False, logger=logger, monitor=_Recorder(record)
        )
        pulumi.runtime.set_all_config(
            {key: section if isinstance(section, str) else json.dumps(section) for key, section in keys.items()},
            [*keys],
        )
        # outputs that somebody made outside of any run (a test, of a pure function) are waited for as well: for ever,
        # since their event loop does not run
        SETTINGS.outputs.clear()
        # the mocks make a root of their own, outside of any run: ours is the run's, whose exports are registered
        set_root_resource(None)  # type: ignore[arg-type]
        loop.run_until_complete(run_in_stack(lambda: _execute(program)))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        asyncio.set_event_loop(None)


def _execute(program: Path) -> None:
    # there is no cluster to ask
    with patch.object(kubernetes_version, "version_of", return_value=OLDEST_KUBERNETES):
        runpy.run_path(str(program), run_name="__main__")


class _Messages(logging.Handler):
    def __init__(self, record: Rehearsal) -> None:
        super().__init__()
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        self._record.messages.append(record.getMessage())


class _StandIns(Mocks):
    """What a made resource would say of itself."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, Outputs]:
        outputs = {key: value for key, value in args.inputs.items() if value is not None}
        make = STAND_INS.get(args.typ)
        return f"{args.name}-id", {**outputs, **(make(args.name, args.inputs) if make else {})}

    def call(self, args: MockCallArgs) -> tuple[Outputs, list[tuple[str, str]] | None]:
        make = CALLS.get(args.token)
        return (make(args.args) if make else {}), None


def _release(_name: str, inputs: Outputs) -> Outputs:
    return {"status": {"status": "deployed", "name": inputs["name"], "namespace": inputs["namespace"]}}


def _service(_name: str, _inputs: Outputs) -> Outputs:
    return {"status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}}


def _secret(_name: str, inputs: Outputs) -> Outputs:
    # one that is looked up: what cert-manager would have put there
    return {} if inputs.get("stringData") else {"data": {"ca.crt": base64.b64encode(CERTIFICATE.encode()).decode()}}


STAND_INS: dict[str, Callable[[str, Outputs], Outputs]] = {
    "random:index/randomPassword:RandomPassword": lambda name, _: {"result": f"[secret: {name}]"},
    "kubernetes:helm.sh/v3:Release": _release,
    "kubernetes:core/v1:Service": _service,
    "kubernetes:core/v1:Secret": _secret,
    "aws:iam/accessKey:AccessKey": lambda name, _: {"secret": f"[secret: {name}]"},
    "aws:iam/policy:Policy": lambda name, _: {"arn": f"arn:aws:iam::123456789012:policy/{name}"},
    "aws:iam/role:Role": lambda name, _: {"arn": f"arn:aws:iam::123456789012:role/{name}"},
    "aws:kms/key:Key": lambda name, _: {"keyId": name, "arn": f"arn:aws:kms:eu-central-1:123456789012:key/{name}"},
    "aws:rds/instance:Instance": lambda name, _: {"address": f"{name}.rds.example.org"},
}
"""Resource type → what it says of itself beside its inputs; a part whose providers say more adds to it."""

CALLS: dict[str, Callable[[Outputs], Outputs]] = {}
"""Function of a provider → its answer."""


class _Recorder(MockMonitor):
    """Pulumi's mock monitor, which also writes down what it forgets: dependencies, parents, marks of secrets."""

    def __init__(self, record: Rehearsal) -> None:
        super().__init__(_StandIns())
        self._record = record

    def Invoke(self, request: Any) -> Any:  # noqa: N802 - the protocol's name, as are the others
        with _event_loop():
            return super().Invoke(request)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        with _event_loop():
            answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            self._note(request, request.object, answer.urn)
            _mark(answer.object, request.additionalSecretOutputs)
        return answer

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        with _event_loop():
            answer = super().ReadResource(request)
        self._note(request, request.properties, answer.urn, is_read=True)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if "::pulumi:pulumi:Stack::" in request.urn:
            for name, value in json_format.MessageToDict(request.outputs).items():
                plain, secrets = _opened(value)
                self._record.exports[name] = plain
                if secrets:
                    self._record.secret_exports.add(name)
        return super().RegisterResourceOutputs(request)

    def _note(self, request: Any, properties: Any, urn: str, *, is_read: bool = False) -> None:
        inputs, secrets = _opened(json_format.MessageToDict(properties))
        made = Made(
            type=request.type,
            name=request.name,
            urn=urn,
            parent=request.parent if "::pulumi:pulumi:Stack::" not in request.parent else "",
            provider=request.provider,
            inputs={key: value for key, value in inputs.items() if key != "__provider"},
            secrets=frozenset(secrets),
            after=frozenset(request.dependencies),
            custom=is_read or request.custom,
            is_read=is_read,
            is_kept=not is_read and request.protect,
        )
        self._record.made.append(made)


@contextmanager
def _event_loop() -> Iterator[None]:
    """An event loop for the thread that answers a call: the mocks would make one there, and never close it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _opened(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """A value of the protocol without the marks of secrets, and the paths where they were. Whole numbers, which the
    protocol knows as floating point alone, are whole again."""
    if isinstance(value, dict):
        if value.get(SECRET_MARK[0]) == SECRET_MARK[1]:
            plain, _ = _opened(value.get("value"), path)
            return plain, [path]
        parts = {
            key: _opened(inner, f"{path}.{key}" if path else key)
            for key, inner in sorted(value.items(), key=_reading_order)
        }
        return {key: plain for key, (plain, _) in parts.items()}, [one for _, found in parts.values() for one in found]
    if isinstance(value, list):
        items = [_opened(inner, f"{path}.{index}") for index, inner in enumerate(value)]
        return [plain for plain, _ in items], [one for _, found in items for one in found]
    if isinstance(value, float) and value.is_integer():
        return int(value), []
    return value, []


def _reading_order(entry: tuple[str, Any]) -> tuple[int, str]:
    """The protocol does not keep the order of keys: what a thing is called comes first, the rest by its name."""
    key, _ = entry
    return _FIRST.index(key) if key in _FIRST else len(_FIRST), key


_FIRST = ("apiVersion", "kind", "name", "namespace", "metadata")


def _mark(outputs: Any, names: list[str]) -> None:
    """Outputs that the program declares secret come back secret, as the engine gives them."""
    for name in names:
        if name in outputs.fields:
            inner = json_format.MessageToDict(outputs.fields[name])
            json_format.ParseDict({SECRET_MARK[0]: SECRET_MARK[1], "value": inner}, outputs.fields[name])
