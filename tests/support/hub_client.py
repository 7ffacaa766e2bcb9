"""What a person does with a hub: sign in, start a server, run a cell. And what the portal does with its token."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import websocket

from tests.support.browser import Browser
from tests.support.waiting import wait_for


@dataclass
class HubPerson:
    """One person at one hub. `name` is the subject, which is the name on the hub."""

    hub_url: str
    name: str
    browser: Browser = field(default_factory=Browser)

    def sign_in(self, login: str, password: str) -> requests.Response:
        """The page after signing in: the hub's own for members (200), a refusal for others (403)."""
        return self.browser.sign_in(f"{self.hub_url}hub/home", login, password)

    def api(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """The hub's API with this person's cookies."""
        return self._call(method, f"{self.hub_url}hub/api/{path}", f"{self.hub_url}hub/", **kwargs)

    def start_server(self, **options: Any) -> None:
        """Ask for the server, unless it is ready, wait until it is, and open it."""
        if self.server_ready():
            return
        answer = self.api("POST", f"users/{quote(self.name)}/server", json=options)
        assert answer.status_code in (201, 202), (answer.status_code, answer.text[:500])
        wait_for(self.server_ready, f"server of {self.name}")
        # a new server knows nothing of the cookies of the one before
        page = self.open_server()
        assert page.status_code == 200, (page.status_code, page.url)

    def stop_server(self) -> None:
        """Ask for the end of the server, if there is one, and wait until it is gone."""
        if not self.servers():
            return
        answer = self.api("DELETE", f"users/{quote(self.name)}/server")
        assert answer.status_code in (202, 204), (answer.status_code, answer.text[:500])
        wait_for(lambda: not self.servers(), f"end of the server of {self.name}")

    def servers(self) -> dict[str, Any]:
        answer = self.api("GET", f"users/{quote(self.name)}")
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])
        servers: dict[str, Any] = answer.json()["servers"]
        return servers

    def server_ready(self) -> bool:
        return bool(self.servers().get("", {}).get("ready"))

    def open_server(self, owner: str = "") -> requests.Response:
        """The start page of somebody's server, one's own by default; the way leads over the hub's consent."""
        base = self._server(owner)
        page = self.browser.get(f"{base}lab")
        for form in self.browser.forms(page):
            # the hub asks before it lets somebody into another person's server
            if "oauth2/authorize" in page.url:
                scopes = {name: value for name, value in form.fields.items() if name != "_xsrf"}
                return self.browser.submit(page, form, **scopes, _xsrf=form.fields.get("_xsrf", ""))
        return page

    def server_api(self, method: str, path: str, owner: str = "", **kwargs: Any) -> requests.Response:
        """The API of somebody's server, one's own by default."""
        base = self._server(owner)
        if not self.browser.cookie("_xsrf", base):
            self.open_server(owner)
        return self._call(method, f"{base}api/{path}", base, **kwargs)

    def run_cell(self, code: str, owner: str = "") -> str:
        """Run code in a fresh kernel of somebody's server; what it printed, or the error's text."""
        answer = self.server_api("POST", "kernels", owner, json={"name": "python3"})
        assert answer.status_code == 201, (answer.status_code, answer.text[:500])
        kernel = answer.json()["id"]
        try:
            return self._execute(kernel, code, owner)
        finally:
            self.server_api("DELETE", f"kernels/{kernel}", owner)

    def _execute(self, kernel: str, code: str, owner: str) -> str:
        url = f"{self._server(owner)}api/kernels/{kernel}/channels"
        parts = urlsplit(url)
        request = self.browser.session.prepare_request(requests.Request("GET", url))
        socket = websocket.create_connection(
            f"ws://127.0.0.1:{parts.port}{parts.path}",
            host=parts.netloc,
            origin=f"http://{parts.netloc}",
            cookie=request.headers.get("Cookie"),
            timeout=60,
        )
        try:
            message = uuid.uuid4().hex
            socket.send(json.dumps(_execute_request(message, code)))
            output = ""
            while True:
                reply = json.loads(socket.recv())
                if reply["parent_header"].get("msg_id") != message:
                    continue
                kind, content = reply["msg_type"], reply["content"]
                if kind == "stream":
                    output += content["text"]
                elif kind == "error":
                    output += f"{content['ename']}: {content['evalue']}"
                elif kind == "status" and content["execution_state"] == "idle":
                    return output
        finally:
            socket.close()

    def _server(self, owner: str) -> str:
        return f"{self.hub_url}user/{quote(owner or self.name)}/"

    def _call(self, method: str, url: str, scope: str, **kwargs: Any) -> requests.Response:
        headers = {"X-XSRFToken": self.browser.cookie("_xsrf", scope), "Referer": scope, **kwargs.pop("headers", {})}
        return self.browser.session.request(method, url, headers=headers, timeout=60, **kwargs)


@dataclass
class HubToken:
    """The hub's API, asked with a token."""

    hub_url: str
    token: str = field(repr=False)

    def api(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Authorization": f"token {self.token}"}
        browser = Browser()
        return browser.session.request(method, f"{self.hub_url}hub/api/{path}", headers=headers, timeout=60, **kwargs)


def _execute_request(message: str, code: str) -> dict[str, Any]:
    return {
        "header": {
            "msg_id": message,
            "username": "test",
            "session": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "version": "5.3",
            "date": "",
        },
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        "channel": "shell",
        "buffers": [],
    }
