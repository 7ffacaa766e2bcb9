"""A `pulumi-resource-kubernetes` without a cluster: keeps objects in a file beside the kubeconfig that it is given, and
writes down what it was asked to do. Served as the real plugin is: its port on the first line of its output."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LOG = "asked.log"
OBJECTS = "objects.json"
_SECRET = "4dabf18193072939515e22adb298388d"


def asked(folder: Path) -> list[str]:
    """`create Namespace/jhaas-x`, `update release`, `delete …`, in order."""
    path = folder / LOG
    return path.read_text().splitlines() if path.exists() else []


def objects(folder: Path) -> dict[str, Any]:
    """What is there, by name."""
    path = folder / OBJECTS
    return json.loads(path.read_text()) if path.exists() else {}


def install(folder: Path) -> None:
    """Put the plugin's program into a folder, which then belongs on PATH."""
    folder.mkdir(parents=True)
    program = folder / "pulumi-resource-kubernetes"
    repository = Path(__file__).parents[2]
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(repository)!r})\n"
        "from tests.automation.kubernetes_double import main\nmain()\n"
    )
    program.chmod(0o755)


def main() -> None:
    """Serve until killed."""
    import grpc
    from google.protobuf import empty_pb2, json_format, struct_pb2
    from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

    folder = Path(os.environ["KUBECONFIG"]).parent
    lock = threading.Lock()

    def plain(message: Any) -> Any:
        return json_format.MessageToDict(message)

    def name_of(urn: str) -> str:
        return urn.rpartition("::")[2]

    def note(what: str, urn: str, change: Callable[[dict[str, Any]], object]) -> None:
        with lock:
            with (folder / LOG).open("a") as log:
                log.write(f"{what} {name_of(urn)}\n")
            there = objects(folder)
            change(there)
            (folder / OBJECTS).write_text(json.dumps(there))

    class Kubernetes(provider_pb2_grpc.ResourceProviderServicer):
        def CheckConfig(self, request: Any, _context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def DiffConfig(self, request: Any, _context: Any) -> Any:
            return self.Diff(request, _context)

        def Configure(self, _request: Any, _context: Any) -> Any:
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

        def Check(self, request: Any, _context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def Diff(self, request: Any, _context: Any) -> Any:
            changed = plain(request.old_inputs) != plain(request.news)
            kind = provider_pb2.DiffResponse
            return kind(changes=kind.DIFF_SOME if changed else kind.DIFF_NONE)

        def Create(self, request: Any, _context: Any) -> Any:
            if request.preview:
                return provider_pb2.CreateResponse(properties=request.properties)
            inputs = plain(request.properties)
            note("create", request.urn, lambda there: there.update({name_of(request.urn): inputs}))
            named = inputs.get("metadata", inputs)
            id_ = "/".join(filter(None, (named.get("namespace"), named["name"])))
            outputs = struct_pb2.Struct()
            outputs.CopyFrom(request.properties)
            outputs.update({"status": {"status": "deployed"}})
            return provider_pb2.CreateResponse(id=id_, properties=outputs)

        def Update(self, request: Any, _context: Any) -> Any:
            inputs = plain(request.news)
            if not request.preview:
                note("update", request.urn, lambda there: there.update({name_of(request.urn): inputs}))
            outputs = struct_pb2.Struct()
            outputs.CopyFrom(request.news)
            outputs.update({"status": {"status": "deployed"}})
            return provider_pb2.UpdateResponse(properties=outputs)

        def Read(self, request: Any, _context: Any) -> Any:
            if name_of(request.urn) not in objects(folder):
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

        def Delete(self, request: Any, _context: Any) -> Any:
            name = name_of(request.urn)
            is_namespace = name.startswith("Namespace/")
            # what lies in a namespace goes with it
            note("delete", request.urn, lambda there: there.clear() if is_namespace else there.pop(name))
            return empty_pb2.Empty()

        def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
            return plugin_pb2.PluginInfo(version="4.34.2")

        def Attach(self, _request: Any, _context: Any) -> Any:
            return empty_pb2.Empty()

        def Cancel(self, _request: Any, _context: Any) -> Any:
            return empty_pb2.Empty()

    server = grpc.server(ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Kubernetes(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def program(spec: dict[str, Any], _target: dict[str, Any], rotation: str) -> Callable[[], None]:
    """The hub's part of a course's program, with a sign-in that needs no identity provider."""
    from types import SimpleNamespace
    from typing import cast

    import pulumi

    from course_stack.hub_secrets import secrets
    from course_stack.kubernetes.hub import ClusterHub
    from course_stack.login import Login
    from course_stack.spec import CourseSpec
    from tests.course_stack.kubernetes.targets import cluster_target

    names = ("issuer", "authorize", "token", "userinfo", "end_session")

    def run() -> None:
        client = SimpleNamespace(
            client_id=pulumi.Output.from_input("an-id"),
            secret=pulumi.Output.secret("client-secret"),
            endpoints=pulumi.Output.from_input({name: f"https://id.example.org/{name}" for name in names}),
        )
        login = cast(Login, SimpleNamespace(client=client))
        hub = ClusterHub(
            "hub",
            CourseSpec.model_validate(spec),
            cluster_target(),
            login,
            secrets(rotation),
            pulumi.ResourceOptions(),
        )
        pulumi.export("hub_url", hub.hub_url)
        pulumi.export("rotation", rotation)

    return run
