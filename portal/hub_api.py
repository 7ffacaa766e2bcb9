"""What the portal does at a course's hub, over JupyterHub's REST API.

The token may see people and servers, start and stop servers, and remove people from the hub
(`course_stack.hub_rules.portal_scopes`); files and other people's servers are closed to it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from automation.failures import HubFailed
from course_stack.hub_files.trust import distrust
from course_stack.trust import context
from portal.reach import reach
from portal.worker.run import Hub

PAGE = 100
"""People asked for at a time; hubs give 200 at most (JupyterHub's `api_page_max_limit`)."""
_AT_ONCE = 8
_SILENT = "it does not say why."
_PAGED = "application/jupyterhub-pagination+json"


class HubUnreachable(HubFailed):
    """Nobody answered at the hub's address, or somebody who is no hub."""


class HubRefused(HubFailed):
    """The hub answered and said no. `status` is HTTP's; `reason` its own words."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ServerFailed(HubFailed):
    """A server did not start, or did not stop, in its time."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, or is on its way there or back."""

    name: str
    ready: bool
    pending: str | None
    """spawn or stop."""


@dataclass(frozen=True, slots=True)
class HubUser:
    """Somebody whom the hub knows. `name` is the subject."""

    name: str
    servers: tuple[Server, ...]
    last_activity: datetime | None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, in seconds. Hubs give up starting one after two minutes or more."""

    start: float = 300
    stop: float = 120
    poll: float = 0.5


class HubApi:
    """One hub; `with HubApi(hub) as api:`. Raises `HubUnreachable` and `HubRefused`, whose texts never hold the token.

    `between` is called between two looks while something is awaited; what it raises ends the waiting.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        patience: Patience | None = None,
        between: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        timeout: float = 30,
    ) -> None:
        self._place = f"The hub at {hub.url}"
        self._patience = patience or Patience()
        self._between, self._sleep, self._monotonic = between, sleep, monotonic
        address = reach(hub.api_url)
        self._http = httpx.Client(
            base_url=address.url,
            headers={"Host": address.host, "Authorization": f"token {hub.api_token}"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5)),
            verify=context(),
            # a proxy of the environment is no way to a hub on this machine
            trust_env=not address.is_local,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    # --- looking

    def users(self) -> list[HubUser]:
        """Everybody whom the hub knows, page by page, with their servers."""
        return list({user.name: user for user in self._pages()}.values())

    def user(self, name: str) -> HubUser | None:
        """One person; None where the hub does not know them."""
        answer = self._call("GET", _path(name), "look for a person", passing={404})
        return None if answer.status_code == 404 else _user(self._content(answer))

    def running(self) -> list[HubUser]:
        """Everybody with a server that runs, starts or stops."""
        return [user for user in self.users() if user.servers]

    # --- servers

    def start(self, name: str, options: Mapping[str, Any] | None = None) -> None:
        """Start the person's server and wait until it is ready; fine where it is. Raises `ServerFailed`."""
        try:
            self._call("POST", f"{_path(name)}/server", "start a server", body=dict(options or {}), passing={400})
        except HubRefused as refused:
            if refused.status < 500:
                raise
            raise self._not_started(name, refused.reason) from None
        deadline = self._monotonic() + self._patience.start
        while not (server := self._server(name)) or not server.ready:
            if server is None or server.pending is None:
                raise self._not_started(name, self._why_not(name))
            if self._monotonic() > deadline:
                raise ServerFailed(
                    f"{self._place} did not start the server of {name} within {self._patience.start:.0f} seconds."
                )
            self._pause()

    def stop(self, name: str) -> None:
        """Stop the person's server and wait until it is gone; fine where there is none. Raises `ServerFailed`."""
        if trouble := self.stop_all([name])[name]:
            raise ServerFailed(f"{self._place} did not stop the server of {name}: {trouble}")

    def stop_all(self, names: Iterable[str]) -> dict[str, str | None]:
        """Stop these people's servers at the same time, and wait. Name → None where no server is left, else why not."""
        wanted = frozenset(names)
        waiting = self._running_of(wanted)
        troubles: dict[str, str | None] = {}
        deadline = self._monotonic() + self._patience.stop
        while waiting and self._monotonic() <= deadline:
            # asked again each time: a hub may refuse while a server is still starting
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for name, trouble in zip(waiting, pool.map(self._ask_to_stop, waiting), strict=True):
                    troubles[name] = trouble
                    self._between()
            if waiting := self._running_of(wanted):
                self._pause()
        still = f"it still runs after {self._patience.stop:.0f} seconds."
        return {name: (troubles.get(name) or still) if name in waiting else None for name in sorted(wanted)}

    # --- people

    def delete_user(self, name: str) -> None:
        """Remove a person from the hub: server, sessions and tokens end; files stay. Fine where they are unknown.

        Who is still in the course's group comes in again by signing in.
        """
        deadline = self._monotonic() + self._patience.stop
        while self.user(name) is not None:
            self.stop(name)
            try:
                self._call("DELETE", _path(name), "remove a person", passing={404})
            except HubRefused as refused:
                # somebody else may be stopping the server at the same time
                if "please wait" not in refused.reason or self._monotonic() > deadline:
                    raise
                self._pause()

    def make_user(self, name: str) -> None:
        """Make a user that nobody signs in as (the check's; the token allows no other). Fine where it exists."""
        self._call("POST", _path(name), "make a user", passing={409})

    def make_token(self, name: str, seconds: int) -> str:
        """A token of that user, for a limited time."""
        body = {"expires_in": seconds, "note": "check that a notebook runs"}
        return str(self._content(self._call("POST", f"{_path(name)}/tokens", "make a token", body=body))["token"])

    # --- inside

    def _pages(self) -> Iterator[HubUser]:
        offset: int | None = 0
        while offset is not None:
            query = {"offset": str(offset), "limit": str(PAGE)}
            answer = self._content(self._call("GET", "users", "list its people", query=query, accept=_PAGED))
            yield from map(_user, answer["items"])
            following = answer["_pagination"]["next"]
            offset = int(following["offset"]) if following and following["offset"] > offset else None

    def _server(self, name: str) -> Server | None:
        user = self.user(name)
        return next((server for server in user.servers if not server.name), None) if user else None

    def _running_of(self, names: frozenset[str]) -> list[str]:
        if len(names) == 1:
            return [user.name for user in map(self.user, names) if user and user.servers]
        return sorted(names & {user.name for user in self.running()})

    def _ask_to_stop(self, name: str) -> str | None:
        try:
            self._call("DELETE", f"{_path(name)}/server", "stop a server", passing={404})
        except HubRefused as refused:
            return refused.reason or refused.message
        return None

    def _not_started(self, name: str, reason: str) -> ServerFailed:
        return ServerFailed(f"{self._place} could not start the server of {name}: {reason or _SILENT}")

    def _why_not(self, name: str) -> str:
        """What the hub says of a start that failed."""
        try:
            answer = self._call("GET", f"{_path(name)}/server/progress", "tell how a start went", passing={400})
        except HubFailed:
            return ""
        events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
        failures = [str(event.get("message", "")) for event in events if event.get("failed")]
        return failures[-1].removeprefix("Spawn failed: ") if failures else ""

    def _pause(self) -> None:
        self._between()
        self._sleep(self._patience.poll)

    def _call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        passing: Iterable[int] = (),
    ) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body, params=query, headers={"Accept": accept})
        except httpx.HTTPError as error:
            reason = (
                "it did not answer in time." if isinstance(error, httpx.TimeoutException) else "it does not answer."
            )
            raise HubUnreachable(f"{self._place} was asked to {what}, but {distrust(error) or reason}") from None
        if answer.status_code in (502, 503, 504) or (answer.status_code == 404 and not _is_of_a_hub(answer)):
            # the edge answers in the hub's place
            raise HubUnreachable(f"{self._place} was asked to {what}, but it does not run (HTTP {answer.status_code}).")
        if not answer.is_success and answer.status_code not in passing:
            raise self._refusal(answer, what)
        if answer.status_code == 400:
            self._refuse_unless_so_already(answer, what)
        return answer

    def _refuse_unless_so_already(self, answer: httpx.Response, what: str) -> None:
        """400 is also what a hub says to who asks for what is so already."""
        if not any(sign in answer.text for sign in ("already running", "is not starting", "pending stop")):
            raise self._refusal(answer, what)

    def _refusal(self, answer: httpx.Response, what: str) -> HubRefused:
        reason = _message(answer)
        said = f": {reason}" if reason else ""
        return HubRefused(
            f"{self._place} refused to {what} (HTTP {answer.status_code}){said}",
            status=answer.status_code,
            reason=reason,
        )

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise HubUnreachable(f"{self._place} does not answer as a JupyterHub: somebody else has its address.")
        return content


def _path(name: str) -> str:
    return f"users/{quote(name, safe='')}"


def _is_of_a_hub(refusal: httpx.Response) -> bool:
    try:
        return "message" in refusal.json()
    except (ValueError, TypeError):
        return False


def _message(refusal: httpx.Response) -> str:
    return str(refusal.json()["message"]).strip()[:500] if _is_of_a_hub(refusal) else ""


def _user(content: dict[str, Any]) -> HubUser:
    seen = content.get("last_activity")
    return HubUser(
        name=content["name"],
        servers=tuple(
            Server(name, bool(one.get("ready")), one.get("pending")) for name, one in content.get("servers", {}).items()
        ),
        last_activity=datetime.fromisoformat(seen) if seen else None,
    )
