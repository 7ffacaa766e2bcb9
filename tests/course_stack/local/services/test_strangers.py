"""What a notebook on this machine may try: every port and every file of the services, without their credentials."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from course_stack.local import services
from course_stack.local.machine import MachineSettings
from course_stack.local.services.tls import ensure_certificates
from tests.conftest import Machine

pytestmark = pytest.mark.machine

STRANGER = 234567
"""An account number without any rights, as notebook accounts are."""

PATHS = [
    "/",
    "/buckets/",
    "/buckets/jhaas-state/",
    "/dir/assign",
    "/dir/status",
    "/status",
    "/ui/index.html",
    "/metrics",
]
QUESTIONS = {
    "filer_grpc": "/filer_pb.SeaweedFiler/GetFilerConfiguration",
    "master_grpc": "/master_pb.Seaweed/GetMasterConfiguration",
    "volume_grpc": "/volume_server_pb.VolumeServer/VolumeServerStatus",
}


def listening(machine: Machine, service: str) -> set[int]:
    pid = next(one.pid for one in services.status(machine.layout) if one.name == service)
    connections = psutil.Process(pid).net_connections("tcp")
    assert {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}


def inner_ports(machine: Machine) -> set[int]:
    """Every port on which the object store listens, but for the S3 one: found by looking, not by our settings."""
    ports = listening(machine, "seaweedfs") - {MachineSettings.stored(machine.layout).ports.s3}
    assert len(ports) == 7
    return ports


def test_the_object_stores_inner_ports_answer_no_plain_http(machine: Machine) -> None:
    for port in inner_ports(machine):
        for method in ("GET", "PUT", "DELETE"):
            for path in PATHS:
                try:
                    answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", timeout=10, trust_env=False)
                except httpx.TransportError:
                    continue
                assert answer.status_code == 400, (port, method, path)
                assert "HTTP request to an HTTPS server" in answer.text


def test_the_object_stores_inner_ports_want_its_certificate(machine: Machine, tmp_path: Path) -> None:
    _, certificate, key = ensure_certificates(tmp_path / "of-another-authority")
    anonymous, forged = ssl.create_default_context(), ssl.create_default_context()
    forged.load_cert_chain(certificate, key)
    for context in (anonymous, forged):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for port in inner_ports(machine):
            for method in ("GET", "PUT", "DELETE"):
                with pytest.raises(httpx.TransportError), httpx.Client(verify=context, trust_env=False) as client:
                    client.request(method, f"https://127.0.0.1:{port}/buckets/", timeout=10)


def ask(channel: grpc.Channel, question: str) -> bytes:
    try:
        answer: bytes = channel.unary_unary(question)(b"", timeout=10)
        return answer
    finally:
        channel.close()


def test_the_object_stores_inner_ports_answer_no_stranger_over_grpc(machine: Machine, tmp_path: Path) -> None:
    tls = machine.layout.services / "seaweedfs" / "tls"
    authority = (tls / "authority.crt").read_bytes()
    _, certificate, key = ensure_certificates(tmp_path / "of-another-authority")
    without = grpc.ssl_channel_credentials(authority)
    forged = grpc.ssl_channel_credentials(authority, key.read_bytes(), certificate.read_bytes())
    for port in inner_ports(machine):
        for question in QUESTIONS.values():
            for channel in (
                grpc.insecure_channel(f"127.0.0.1:{port}"),
                grpc.secure_channel(f"127.0.0.1:{port}", without),
                grpc.secure_channel(f"127.0.0.1:{port}", forged),
            ):
                with pytest.raises(grpc.RpcError) as refused:
                    ask(channel, question)
                assert refused.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_the_questions_are_good_ones_with_the_certificate(machine: Machine) -> None:
    """Without this, a misspelt question would be a refusal too."""
    tls = machine.layout.services / "seaweedfs" / "tls"
    ours = grpc.ssl_channel_credentials(
        *((tls / name).read_bytes() for name in ("authority.crt", "node.key", "node.crt"))
    )
    ports = MachineSettings.stored(machine.layout).ports
    for name, question in QUESTIONS.items():
        ask(grpc.secure_channel(f"127.0.0.1:{getattr(ports, name)}", ours), question)


def test_the_s3_port_answers_nobody_without_a_key(machine: Machine) -> None:
    endpoint = str(machine.target.object_store.endpoint)
    requests = [
        ("GET", "/"),
        ("GET", "/jhaas-state"),
        ("GET", "/jhaas-state/.pulumi/meta.yaml"),
        ("PUT", "/jhaas-state/stranger"),
        ("PUT", "/stranger"),
        ("DELETE", "/jhaas-state/.pulumi/meta.yaml"),
        ("DELETE", "/jhaas-state"),
        ("POST", "/?Action=ListUsers&Version=2010-05-08"),
        ("POST", "/?Action=CreateUser&UserName=stranger&Version=2010-05-08"),
        ("POST", "/jhaas-state?delete"),
    ]
    with httpx.Client(base_url=endpoint, trust_env=False) as client:
        for method, path in requests:
            assert client.request(method, path).status_code in (400, 401, 403), (method, path)


def test_postgres_listens_on_no_port(machine: Machine) -> None:
    pid = next(one.pid for one in services.status(machine.layout) if one.name == "postgres")
    assert [one for one in psutil.Process(pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN] == []


def test_the_edges_own_api_asks_for_its_password(machine: Machine) -> None:
    key = json.loads((machine.layout.credentials / "traefik.json").read_text())
    with httpx.Client(base_url=key["url"], trust_env=False) as client:
        assert client.get("/api/http/routers").status_code == 401
        assert client.get("/api/http/routers", auth=(key["user"], "wrong")).status_code == 401
        answer = client.get("/api/http/routers", auth=(key["user"], key["password"]))
        assert "identity@file" in {router["name"] for router in answer.json()}
        assert client.get("/dashboard/").status_code == 404
    edge = httpx.get(f"http://127.0.0.1:{machine.target.hub_port}/api/http/routers", trust_env=False)
    assert edge.status_code == 404


def allowed_to_stranger(attempts: Mapping[str, Callable[[], object]]) -> list[str]:
    """Which of the attempts an account without rights is allowed; each other one met a `PermissionError`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            with os.fdopen(writing, "w") as pipe:
                for name, attempt in attempts.items():
                    try:
                        attempt()
                        pipe.write(f"{name}\n")
                    except PermissionError:
                        pass
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        allowed = pipe.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0
    return allowed


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another account")
def test_a_stranger_can_read_no_file_and_reach_no_socket(machine: Machine) -> None:
    layout = machine.layout
    assert allowed_to_stranger({"enter": lambda: list(layout.home.iterdir())}) == ["enter"]
    folders = [layout.credentials, layout.services, layout.routes, layout.logs, layout.supervisor, layout.operations]
    folders += [layout.services / name for name in ("postgres", "seaweedfs", "canaille", "traefik")]
    sockets = [layout.services / "postgres" / "run" / ".s.PGSQL.5432", layout.supervisor / "supervisord.sock"]
    sockets += Path("/tmp").glob(f"seaweedfs-*-{MachineSettings.stored(layout).ports.filer_grpc}.sock")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(sockets) == 3
    assert all(path.is_socket() for path in sockets)
    assert len(files) > 100
    attempts: dict[str, Callable[[], object]] = {f"list {path}": partial(os.listdir, path) for path in folders}
    attempts |= {f"open {path}": partial(os.open, path, os.O_RDONLY) for path in files}
    attempts |= {f"connect {path}": partial(connect, path) for path in sockets}
    assert allowed_to_stranger(attempts) == []


def test_no_secret_is_in_arguments_or_environment(machine: Machine) -> None:
    secrets = set()
    for path in machine.layout.credentials.iterdir():
        text = path.read_text()
        secrets |= set(json.loads(text).values()) if path.suffix == ".json" else {text.strip()}
    public = {"us-east-1", "jhaas", "administrator"}
    secrets = {value for value in secrets - public if not value.startswith(("http://", "s3://"))}
    assert len(secrets) > 12
    found = psutil.process_iter(["cmdline"])
    ours = [one for one in found if str(machine.layout.home) in " ".join(one.info["cmdline"] or [])]
    assert len(ours) >= 4
    everything = "".join(" ".join(one.info["cmdline"]) + str(one.environ()) for one in ours)
    assert [value for value in secrets if value in everything] == []
    logs = "".join(path.read_text() for path in machine.layout.logs.iterdir())
    assert [value for value in secrets if value in logs] == []
