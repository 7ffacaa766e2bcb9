"""The edge: one port for all host names, routes taken from files within moments."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from course_stack.local.files import write_file
from tests.conftest import Machine
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine


class Echo(BaseHTTPRequestHandler):
    """Answers with what arrived."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": {key.lower(): value for key, value in self.headers.items()}})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def route(machine: Machine) -> Iterator[str]:
    """Host of a route to an echo, through the edge."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    content = {
        "http": {
            "routers": {"echo": {"entryPoints": ["edge"], "rule": "Host(`echo.localhost`)", "service": "echo"}},
            "services": {"echo": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{server.server_port}"}]}}},
        }
    }
    file = machine.layout.routes / "echo.yml"
    try:
        write_file(file, json.dumps(content))
        wait_for(lambda: ask(machine, "echo.localhost").status_code == 200, "the route works")
        yield "echo.localhost"
    finally:
        file.unlink()
        wait_for(lambda: ask(machine, "echo.localhost").status_code == 404, "the route is gone")
        server.shutdown()
        thread.join()
        server.server_close()


def ask(machine: Machine, host: str, path: str = "/", **headers: str) -> httpx.Response:
    sent = {"Host": f"{host}:{machine.target.hub_port}", **headers}
    return httpx.get(f"http://127.0.0.1:{machine.target.hub_port}{path}", headers=sent, timeout=30, trust_env=False)


def test_an_unknown_host_is_not_found(machine: Machine) -> None:
    assert ask(machine, "nobody.localhost").status_code == 404


def test_a_route_is_its_hosts_alone(machine: Machine, route: str) -> None:
    assert ask(machine, route).status_code == 200
    assert ask(machine, "other.localhost").status_code == 404
    identity = ask(machine, "id.localhost", "/.well-known/openid-configuration")
    assert identity.json()["issuer"] == machine.target.identity.url


def test_encoded_paths_arrive_as_they_were_sent(machine: Machine, route: str) -> None:
    """JupyterLab asks for files by encoded paths."""
    for path in ("/api/contents/a%2Fb%20c", "/user/x%40y/lab", "/a%5Cb", "/%25", "/a%3Bb%23c"):
        assert ask(machine, route, path).json()["path"] == path


def test_nobody_can_pretend_to_be_the_edge(machine: Machine, route: str) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X_Forwarded_Host": "evil.example", "X-Forwarded-For": "192.0.2.1"}
    arrived = ask(machine, route, **headers).json()["headers"]
    assert arrived["x-forwarded-host"] == f"{route}:{machine.target.hub_port}"
    assert arrived["x-forwarded-for"] == "127.0.0.1"
    assert "x_forwarded_host" not in arrived
    assert arrived["host"] == f"{route}:{machine.target.hub_port}"
