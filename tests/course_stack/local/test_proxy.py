"""Routes of one hub, as the edge reads them."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import toml
from traitlets.config import Config

from course_stack.local.proxy import CourseProxy


class _Edge(BaseHTTPRequestHandler):
    """Says that it knows every route, to whoever has the password."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Basic " + base64.b64encode(b"jhaas:word").decode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
        """Quiet."""


@pytest.fixture
def edge() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Edge)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _proxy(edge: str, file: Path, host: str) -> CourseProxy:
    settings = {
        "should_start": False,
        "enable_setup_dynamic_config": False,
        "host": host,
        "dynamic_config_file": str(file),
        "traefik_entrypoint": "edge",
        "traefik_api_url": edge,
        "traefik_api_username": "jhaas",
        "traefik_api_password": "word",
    }
    return CourseProxy(config=Config(CourseProxy=settings))


async def _add(proxy: CourseProxy) -> None:
    await proxy.add_route("/", "http://127.0.0.1:30001", {"hub": True})
    await proxy.add_route("/user/anna%40uni/", "http://127.0.0.1:40001", {"user": "anna@uni", "server_name": ""})


def test_routes_stand_below_the_courses_host_for_the_edge_and_without_it_for_the_hub(edge: str, tmp_path: Path) -> None:
    file = tmp_path / "hub-biology.toml"

    async def run() -> dict[str, Any]:
        proxy = _proxy(edge, file, "biology.localhost")
        await _add(proxy)
        found: dict[str, Any] = await proxy.get_all_routes()
        return found

    routes = asyncio.run(run())
    assert {spec: route["target"] for spec, route in routes.items()} == {
        "/": "http://127.0.0.1:30001",
        "/user/anna%40uni/": "http://127.0.0.1:40001",
    }
    rules = [router["rule"] for router in toml.loads(file.read_text())["http"]["routers"].values()]
    assert len(rules) == 2
    assert all(rule.startswith("Host(`biology.localhost`) && ") for rule in rules)
    assert any("PathPrefix(`/user/anna@uni/`)" in rule for rule in rules)


def test_a_hub_that_starts_again_finds_its_routes_and_removes_them_by_its_own_names(edge: str, tmp_path: Path) -> None:
    file = tmp_path / "hub-biology.toml"

    async def first() -> None:
        await _add(_proxy(edge, file, "biology.localhost"))

    async def second() -> tuple[dict[str, Any], dict[str, Any], Any]:
        proxy = _proxy(edge, file, "biology.localhost")
        before = await proxy.get_all_routes()
        await proxy.delete_route("/user/anna%40uni/")
        return before, await proxy.get_all_routes(), await proxy.get_route("/")

    asyncio.run(first())
    before, after, hub = asyncio.run(second())
    assert set(before) - set(after) == {"/user/anna%40uni/"}
    assert hub["target"] == "http://127.0.0.1:30001"


def test_names_of_different_courses_never_meet(edge: str, tmp_path: Path) -> None:
    async def run(slug: str) -> None:
        await _add(_proxy(edge, tmp_path / f"{slug}.toml", f"{slug}.localhost"))

    for slug in ("biology", "chemistry"):
        asyncio.run(run(slug))
    one, other = (toml.loads((tmp_path / f"{slug}.toml").read_text())["http"] for slug in ("biology", "chemistry"))
    for kind in ("routers", "services"):
        assert not set(one[kind]) & set(other[kind])
