"""A notebook that is run at somebody's server, as a browser would run it: Jupyter Server's REST API and a kernel's
websocket."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urljoin, urlsplit

import httpx
import websocket

from automation.failures import HubFailed
from course_stack.trust import context
from portal.reach import reach

_LOOK_EVERY = 1.0
_MOST_REDIRECTS = 5


class NotebookFailed(HubFailed):
    """Server, kernel or cell did not do what they should; one sentence for teachers, with the notebook's error."""


class NotebookServer:
    """One running server; `url` is its public address with a trailing slash. `between` is called while it is waited."""

    def __init__(self, url: str, token: str, *, seconds: float = 180, between: Callable[[], None]) -> None:
        self._url = url
        self._token = token
        self._between = between
        self._deadline = time.monotonic() + seconds
        self._address = reach(url)
        self._http = httpx.Client(
            headers={"Host": self._address.host, "Authorization": f"token {token}"},
            timeout=httpx.Timeout(30, connect=5),
            verify=context(),
            trust_env=not self._address.is_local,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._http.close()

    def wait_until_reached(self) -> None:
        """Until the server answers at its public address: routes of the edge come a moment after the server."""
        while (status := self._status("api/status")) != 200:
            if time.monotonic() > self._deadline:
                raise NotebookFailed(f"The notebook server does not answer at its address, {self._url} ({status}).")
            self._between()
            time.sleep(0.2)

    def open_page(self, path: str) -> None:
        """The page that people see first. Raises `NotebookFailed` where it is none."""
        url = urljoin(self._url, path.lstrip("/"))
        for _ in range(_MOST_REDIRECTS):
            try:
                answer = self._http.get(reach(url).url)
            except httpx.HTTPError:
                raise NotebookFailed(f"The start page {path} does not answer.") from None
            if not answer.is_redirect:
                break
            url = urljoin(url, answer.headers["location"])
            if not url.startswith(self._url):
                raise NotebookFailed(f"The start page {path} leads away from the notebook server.")
        if not answer.is_success:
            raise NotebookFailed(
                f"The start page {path} answers with error {answer.status_code}: is the program that shows it in the "
                "course's image?"
            )

    def write(self, path: str, notebook: dict[str, Any]) -> None:
        """Store a notebook in the home. Raises `NotebookFailed` where it cannot be written."""
        body = {"type": "notebook", "format": "json", "content": notebook}
        answer = self._call("PUT", f"api/contents/{quote(path)}", body)
        if not answer.is_success:
            raise NotebookFailed(f"The home directory cannot be written: {_message(answer)}")

    def python_kernel(self) -> str | None:
        """Name of the kernel that runs Python, the preset one if it does; None where the image has none."""
        listed = self._content(self._call("GET", "api/kernelspecs"), "list its kernels")
        specs: dict[str, Any] = listed["kernelspecs"]
        ours = [name for name, one in specs.items() if one["spec"].get("language", "").lower() == "python"]
        preset = listed["default"]
        return preset if preset in ours else next(iter(sorted(ours)), None)

    def kernel(self, path: str, name: str | None) -> Kernel:
        """Start a kernel (None: the preset one) for the notebook at this path."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": name} if name else {}}
        session = self._content(self._call("POST", "api/sessions", body), "start a kernel")
        url = urljoin(self._address.url, f"api/kernels/{session['kernel']['id']}/channels")
        return Kernel(self._connect(url), self._between, self._deadline)

    # --- inside

    def _connect(self, url: str) -> websocket.WebSocket:
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        try:
            return websocket.create_connection(
                parts._replace(scheme=scheme).geturl(),
                host=self._address.host,
                header=[f"Authorization: token {self._token}"],
                # a browser's protection; we are none
                suppress_origin=True,
                timeout=30,
                http_no_proxy=["*"] if self._address.is_local else None,
                sslopt={"context": context()} if scheme == "wss" else None,
            )
        except (websocket.WebSocketException, OSError) as error:
            status = getattr(error, "status_code", None)
            raise NotebookFailed(
                f"The kernel cannot be reached ({status or type(error).__name__}): do websockets pass the edge?"
            ) from None

    def _status(self, path: str) -> int | str:
        try:
            return self._http.get(urljoin(self._address.url, path)).status_code
        except httpx.HTTPError as error:
            return type(error).__name__

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._http.request(method, urljoin(self._address.url, path), json=body)
        except httpx.HTTPError:
            raise NotebookFailed("The notebook server stopped answering.") from None

    def _content(self, answer: httpx.Response, what: str) -> dict[str, Any]:
        if not answer.is_success:
            raise NotebookFailed(f"The notebook server could not {what}: {_message(answer)}")
        content: dict[str, Any] = answer.json()
        return content


class Kernel:
    """One kernel, over Jupyter's messaging protocol 5.3."""

    def __init__(self, socket: websocket.WebSocket, between: Callable[[], None], deadline: float) -> None:
        self._socket = socket
        self._socket.settimeout(_LOOK_EVERY)
        self._between = between
        self._deadline = deadline
        self._session = uuid.uuid4().hex

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self._socket.close()

    def greet(self) -> None:
        """Ask what it is: a kernel that answers runs."""
        self._ask("kernel_info_request", {})

    def run(self, code: str) -> str:
        """Run a cell; what it printed. Raises `NotebookFailed` with the cell's error."""
        return self._ask(
            "execute_request", {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        )

    def _ask(self, kind: str, content: dict[str, Any]) -> str:
        message = uuid.uuid4().hex
        header = {"msg_id": message, "username": "", "session": self._session, "msg_type": kind, "version": "5.3"}
        request = {"header": {**header, "date": ""}, "parent_header": {}, "metadata": {}, "content": content}
        printed, replied, idle = "", False, False
        try:
            self._socket.send(json.dumps({**request, "channel": "shell", "buffers": []}))
            while not (replied and idle):
                answer = self._receive()
                got, told = answer["msg_type"], answer["content"]
                if got == "status" and told["execution_state"] in ("restarting", "autorestarting", "dead"):
                    raise NotebookFailed(
                        "The kernel died while it ran the notebook: the image may be damaged, or its memory too little."
                    )
                if answer["parent_header"].get("msg_id") != message:
                    continue
                if got == "stream":
                    printed += told["text"]
                elif got == "error":
                    raise NotebookFailed(f"The notebook failed: {told['ename']}: {told['evalue']}"[:500])
                replied |= got.endswith("_reply")
                idle |= got == "status" and told["execution_state"] == "idle"
        except (websocket.WebSocketException, OSError, ValueError, KeyError) as error:
            raise NotebookFailed(f"The connection to the kernel broke ({type(error).__name__}).") from None
        return printed

    def _receive(self) -> dict[str, Any]:
        while True:
            self._between()
            try:
                data = self._socket.recv()
            except websocket.WebSocketTimeoutException:
                if time.monotonic() > self._deadline:
                    raise NotebookFailed("The notebook did not come to its end in time.") from None
                continue
            if data:
                message: dict[str, Any] = json.loads(data)
                return message
            raise websocket.WebSocketConnectionClosedException("closed")


def _message(answer: httpx.Response) -> str:
    try:
        text = str(answer.json().get("message") or "")
    except (ValueError, AttributeError):
        text = ""
    return (text or f"error {answer.status_code}")[:300]
