"""An HTTP proxy in front of a service, at which a test can do something when a certain request passes.

The Host header goes through as it came, so that signatures of S3 requests stay valid.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "te", "upgrade", "expect"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request on its way. `path` is decoded and has no query."""

    method: str
    path: str
    query: str
    headers: dict[str, str] = field(repr=False)
    """Names in small letters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the proxy answers in the service's place."""

    status: int
    body: bytes = b""
    content_type: str = "application/xml"


Act = Callable[[Request], Answer | None]


@dataclass(slots=True)
class Rule:
    """Do `act` once (or each time) when a request matches, before it is forwarded or after the service has done it."""

    matches: Callable[[Request], bool]
    when: Literal["before", "after"]
    act: Act
    once: bool = True
    hits: int = 0


class Proxy:
    """Listens on a free loopback port; `with Proxy("127.0.0.1", 8333) as proxy: proxy.url`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: proxy._handle(self)
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            # Clients are killed on purpose while they wait for an answer.
            def handle_error(self, *_: object) -> None:
                """Nothing."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def when(
        self,
        method: str,
        matches: Callable[[str], bool],
        act: Act,
        *,
        moment: Literal["before", "after"] = "before",
        once: bool = True,
    ) -> Rule:
        """Add a rule for requests of a method (`*`: any) whose path matches."""
        return self.when_request(
            lambda request: method in ("*", request.method) and matches(request.path), act, moment=moment, once=once
        )

    def when_request(
        self,
        matches: Callable[[Request], bool],
        act: Act,
        *,
        moment: Literal["before", "after"] = "before",
        once: bool = True,
    ) -> Rule:
        """Add a rule for requests that match."""
        rule = Rule(matches, moment, act, once)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, unquote(parts.path), parts.query, headers)
        body = self._body(handler, headers)
        with self._lock:
            self.requests.append(request)
        answer = self._act("before", request)
        if answer is None:
            status, answered, content = self._forward(handler, body)
            answer = self._act("after", request)
            if answer is None:
                self._reply(handler, status, answered, content)
                return
        self._reply(handler, answer.status, [("Content-Type", answer.content_type)], answer.body)

    def _act(self, moment: str, request: Request) -> Answer | None:
        with self._lock:
            hit = next((rule for rule in self._rules if rule.when == moment and rule.matches(request)), None)
            if hit is None:
                return None
            hit.hits += 1
            if hit.once:
                self._rules.remove(hit)
        return hit.act(request)

    def _body(self, handler: BaseHTTPRequestHandler, headers: dict[str, str]) -> bytes | None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            content = b""
            while size := int(handler.rfile.readline().split(b";")[0], 16):
                content += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
            return content
        length = int(headers.get("content-length", 0))
        return handler.rfile.read(length) if length else None

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(*self._upstream, timeout=60)
        try:
            upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length":
                    upstream.putheader(name, value)
            if body is not None or handler.command in ("PUT", "POST"):
                upstream.putheader("Content-Length", str(len(body or b"")))
            upstream.endheaders(body)
            response = upstream.getresponse()
            return response.status, response.getheaders(), response.read()
        except OSError:
            return 502, [("Content-Type", "text/plain")], b"nobody answers behind the proxy"
        finally:
            upstream.close()

    def _reply(
        self, handler: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], content: bytes
    ) -> None:
        handler.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                # The answer to HEAD tells the length of what it does not send.
                length = value if handler.command == "HEAD" else length
            elif name.lower() not in _HOP_BY_HOP:
                handler.send_header(name, value)
        if status not in (204, 304):
            handler.send_header("Content-Length", length)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)
