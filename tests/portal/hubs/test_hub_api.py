"""The client of a hub's API against a strict double of it: paging, time-outs, refusals, waiting."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from automation.failures import HubFailed
from portal.hub_api import HubApi, HubRefused, HubUnreachable, Patience, ServerFailed
from portal.reach import reach
from portal.worker.run import Hub

TOKEN = "token-that-nobody-may-see"
MOST = 50
"""People that this hub lists at a time, whatever it is asked for: as a hub with smaller limits does."""


@dataclass
class FakeHub:
    """Refuses whatever is not as JupyterHub 5 wants it. Servers: name → how many more looks until they are gone."""

    people: list[str] = field(default_factory=list)
    running: dict[str, int | None] = field(default_factory=dict)
    """None: it runs until it is stopped."""
    stop_takes: int = 0
    answers: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(method, path) → status and text, in place of what it would do."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    port: int = 0

    @property
    def hub(self) -> Hub:
        url = f"http://course.localhost:{self.port}/"
        return Hub(url, f"{url}hub/api/", TOKEN)

    def api(self, **options: Any) -> HubApi:
        options.setdefault("patience", Patience(start=5, stop=5, poll=0.001))
        return HubApi(self.hub, **options)

    def answer(self, method: str, target: str) -> tuple[int, str, Any]:
        parts = urlsplit(target)
        assert parts.path.startswith("/hub/api/")
        path, query = parts.path.removeprefix("/hub/api/"), parse_qs(parts.query)
        self.requests.append((method, path))
        if (method, path) in self.answers:
            status, text = self.answers[method, path]
            return status, "text/plain", text
        if (method, path) == ("GET", "users"):
            offset, limit = int(query["offset"][0]), min(int(query["limit"][0]), MOST)
            page = self.people[offset : offset + limit]
            following = {"offset": offset + limit} if offset + limit < len(self.people) else None
            return 200, "", {"items": [self._user(name) for name in page], "_pagination": {"next": following}}
        name, _, rest = path.removeprefix("users/").partition("/")
        name = unquote(name)
        if name not in self.people:
            return 404, "", {"status": 404, "message": "No such user"}
        if (method, rest) == ("GET", ""):
            return 200, "", self._user(name)
        if (method, rest) == ("DELETE", "server"):
            if self.running.get(name, 0) is None:
                self.running[name] = self.stop_takes
            return (202 if name in self.running else 204), "", None
        if (method, rest) == ("DELETE", ""):
            if name in self.running:
                return 400, "", {"status": 400, "message": "its server is in the process of stopping, please wait."}
            self.people.remove(name)
            return 204, "", None
        raise AssertionError(f"unexpected: {method} {path}")

    def _user(self, name: str) -> dict[str, Any]:
        servers = {}
        if name in self.running:
            left = self.running[name]
            if left == 0:
                del self.running[name]
            else:
                self.running[name] = None if left is None else left - 1
                servers[""] = {"name": "", "ready": left is None, "pending": None if left is None else "stop"}
        return {"name": name, "servers": servers, "last_activity": "2027-03-01T12:00:00.123456Z"}


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                hub.hosts.add(self.headers["Host"])
                if self.headers["Authorization"] != f"token {TOKEN}":
                    refusal: Any = {"status": 403, "message": "Missing or invalid credentials."}
                    status, kind, content = 403, "", refusal
                else:
                    status, kind, content = hub.answer(self.command, self.path)
            body = content.encode() if kind else (b"" if content is None else json.dumps(content).encode())
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._any
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(FakeHub()) as hub:
        yield hub


def test_all_of_120_people_are_found_and_stopped(hub: FakeHub) -> None:
    hub.people = [f"person-{number}" for number in range(120)]
    hub.running = dict.fromkeys(hub.people)
    hub.stop_takes = 2
    with hub.api() as api:
        assert [user.name for user in api.users()] == hub.people
        report = api.stop_all(user.name for user in api.running())
    assert report == dict.fromkeys(hub.people)
    assert hub.running == {}


def test_only_running_servers_are_asked_to_stop(hub: FakeHub) -> None:
    hub.people, hub.running = ["anna", "ben"], {"ben": None}
    with hub.api() as api:
        assert api.stop_all(["anna", "ben", "nobody"]) == {"anna": None, "ben": None, "nobody": None}
    stopped = {path for method, path in hub.requests if method == "DELETE"}
    assert stopped == {"users/ben/server"}


def test_each_server_that_does_not_stop_is_reported_with_its_reason(hub: FakeHub) -> None:
    hub.people = ["anna", "ben", "cleo"]
    hub.running = {"anna": None, "ben": None, "cleo": None}
    hub.answers["DELETE", "users/ben/server"] = (500, json.dumps({"status": 500, "message": "it hangs"}))
    hub.answers["DELETE", "users/cleo/server"] = (202, "")
    with hub.api(patience=Patience(stop=0.2, poll=0.01)) as api:
        report = api.stop_all(["anna", "ben", "cleo"])
    assert report == {"anna": None, "ben": "it hangs", "cleo": "it still runs after 0 seconds."}


def test_stopping_means_gone_and_not_only_asked(hub: FakeHub) -> None:
    hub.people, hub.running, hub.stop_takes = ["anna"], {"anna": None}, 5
    with hub.api() as api:
        api.stop("anna")
        assert hub.running == {}


def test_whoever_waits_may_be_told_to_go(hub: FakeHub) -> None:
    hub.people, hub.running, hub.stop_takes = ["anna"], {"anna": None}, 10**6

    class Cancelled(Exception):
        pass

    looks = iter(range(1000))

    def between() -> None:
        if next(looks) == 3:
            raise Cancelled

    with hub.api(between=between) as api, pytest.raises(Cancelled):
        api.stop("anna")


def test_removing_somebody_waits_for_the_server_and_forgives_what_is_gone(hub: FakeHub) -> None:
    hub.people, hub.running, hub.stop_takes = ["anna"], {"anna": None}, 2
    with hub.api() as api:
        api.delete_user("anna")
        api.delete_user("anna")
        assert api.user("anna") is None
    assert hub.people == []


def test_names_are_quoted(hub: FakeHub) -> None:
    hub.people = ["a/b c@x#?", "üser"]
    with hub.api() as api:
        for name in list(hub.people):
            found = api.user(name)
            assert found is not None
            assert found.name == name
            api.delete_user(name)
    assert hub.people == []


def test_the_edge_in_place_of_a_hub_is_no_hub_that_knows_nobody(hub: FakeHub) -> None:
    """An edge without a route answers 404 too: nobody may be taken for stopped or removed by that."""
    hub.people = ["anna"]
    for status in (404, 502, 503, 504):
        for key in (("GET", "users"), ("GET", "users/anna")):
            hub.answers[key] = (status, "404 page not found")
        with hub.api() as api:
            for call in (lambda api=api: api.delete_user("anna"), api.running, lambda api=api: api.stop_all(["anna"])):
                with pytest.raises(HubUnreachable, match=f"does not run .HTTP {status}"):
                    call()


def test_an_answer_that_is_no_hubs_is_told(hub: FakeHub) -> None:
    hub.answers["GET", "users"] = (200, "<html>hello</html>")
    with hub.api() as api, pytest.raises(HubUnreachable, match="does not answer as a JupyterHub"):
        api.users()


def test_a_hub_that_is_not_there_is_told_without_the_token() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hub = FakeHub(port=nobody.getsockname()[1])
        with hub.api() as api, pytest.raises(HubUnreachable) as failed:
            api.users()
    assert str(failed.value) == f"The hub at {hub.hub.url} was asked to list its people, but it does not answer."
    assert TOKEN not in repr(failed.value) + repr(hub.hub)


def test_a_hub_that_hangs_is_told_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hub = FakeHub(port=silent.getsockname()[1])
        with hub.api(timeout=0.2) as api, pytest.raises(HubUnreachable, match="it did not answer in time"):
            api.users()


def test_a_refusal_says_what_was_refused_and_why(hub: FakeHub) -> None:
    hub.answers["GET", "users"] = (403, json.dumps({"status": 403, "message": "Action is not authorized"}))
    with hub.api() as api, pytest.raises(HubRefused) as refused:
        api.users()
    assert (refused.value.status, refused.value.reason) == (403, "Action is not authorized")
    assert "refused to list its people (HTTP 403): Action is not authorized" in str(refused.value)


def test_a_name_below_localhost_is_called_by_its_name_at_this_machine(hub: FakeHub) -> None:
    with hub.api() as api:
        api.users()
    assert hub.hosts == {f"course.localhost:{hub.port}"}
    found = reach("https://hub.example.org:8443/x?y")
    assert (found.url, found.host, found.is_local) == (
        "https://hub.example.org:8443/x?y",
        "hub.example.org:8443",
        False,
    )
    found = reach("http://localhost/")
    assert (found.url, found.host, found.is_local) == ("http://127.0.0.1/", "localhost", True)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, json.dumps({"status": 500, "message": "The image cannot be pulled."})), "The image cannot be pulled."),
        ((429, json.dumps({"status": 429, "message": "Active user limit exceeded."})), "Active user limit exceeded."),
        ((400, json.dumps({"status": 400, "message": "This course has no profile 'x'"})), "has no profile 'x'"),
    ],
)
def test_why_a_server_did_not_start_is_told(hub: FakeHub, answer: tuple[int, str], told: str) -> None:
    hub.people = ["anna"]
    hub.answers["POST", "users/anna/server"] = answer
    with hub.api() as api, pytest.raises(HubFailed, match=told):
        api.start("anna")


def test_what_the_hub_says_of_a_start_that_failed_later_is_told(hub: FakeHub) -> None:
    hub.people = ["anna"]
    hub.answers["POST", "users/anna/server"] = (202, "")
    hub.answers["GET", "users/anna/server/progress"] = (
        200,
        '\n\ndata: {"progress": 100, "failed": true, "message": "Spawn failed: no room on any node"}\n\n',
    )
    with hub.api() as api, pytest.raises(ServerFailed, match="could not start the server of anna: no room on any node"):
        api.start("anna")


def test_a_server_that_runs_already_is_fine(hub: FakeHub) -> None:
    hub.people, hub.running = ["anna"], {"anna": None}
    hub.answers["POST", "users/anna/server"] = (400, json.dumps({"status": 400, "message": "anna is already running"}))
    with hub.api() as api:
        api.start("anna")


def test_waiting_for_a_start_ends(hub: FakeHub) -> None:
    hub.people, hub.running = ["anna"], {"anna": 10**6}
    hub.answers["POST", "users/anna/server"] = (202, "")
    moments = iter(range(10**6))
    sleeps: list[float] = []
    with (
        hub.api(patience=Patience(start=20, poll=3), sleep=sleeps.append, monotonic=lambda: next(moments)) as api,
        pytest.raises(ServerFailed, match="did not start the server of anna within 20 seconds"),
    ):
        api.start("anna")
    assert set(sleeps) == {3}
