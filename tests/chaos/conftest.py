"""Real courses on a real machine, with proxies in front of every service at which an operation can be killed."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from automation import processes
from automation.job import Timing
from automation.reality import LocalReality
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from automation.state import S3Objects, StateStore
from course_stack.identity.canaille import Canaille
from course_stack.local.machine import credential
from course_stack.local.supervisor import Supervisor
from course_stack.names import CourseNames
from course_stack.spec import CourseSpec
from course_stack.target import Target
from tests.automation.conftest import example_course
from tests.conftest import Machine
from tests.support.proxy import Proxy, Request
from tests.support.starter import Started
from tests.support.waiting import wait_for

BYSTANDER = "bystander"

Victim = Literal["tree", "child", "starter"]
"""What is killed: starter and whole tree (as when the power fails), the operation's own process, or who started it."""


@dataclass
class Arena:
    """Where operations are killed, and what is looked at afterwards."""

    machine: Machine
    target: Target
    settings: StateSettings
    direct: StateSettings
    """The state's settings without the proxy, for looking."""
    proxies: dict[str, Proxy]
    """By service: state, identity, buckets."""
    operations: list[str] = field(default_factory=list)
    _before: dict[str, bytes] = field(default_factory=dict)

    def stacks(self) -> CourseStacks:
        """As another process would have it."""
        timing = Timing(deadline=150, graceful=20, abandoned=0.5, abort=0.5)
        return CourseStacks(self.settings, self.target, self.machine.layout, timing=timing)

    def spec(self, slug: str, title: str = "Chaos") -> CourseSpec:
        """The example course under another name and title."""
        return example_course(self.machine, slug).model_copy(update={"title": title})

    def start(self, kind: str, slug: str, title: str = "Chaos") -> Started:
        """An operation in another process."""
        spec = None if kind == "destroy" else self.spec(slug, title).model_dump(mode="json")
        return Started(self.machine.layout.home, self.settings, self.target, kind, slug, spec)

    def kill(
        self,
        running: Started,
        victim: Victim,
        service: str,
        moment: Literal["before", "after"],
        at: Callable[[Request], bool],
    ) -> bool:
        """Run the operation until a request passes, kill there, and wait until nothing of it lives.

        False if the operation ended well before such a request came.
        """
        reached, struck = threading.Event(), threading.Event()

        def strike(_: Request) -> None:
            reached.set()
            if running.operation:
                self.operations.append(running.operation)
            {"tree": running.kill_everything, "child": running.kill_child, "starter": running.kill_starter}[victim]()
            struck.set()

        for name, proxy in self.proxies.items():
            if service in ("any", name):
                proxy.when_request(at, strike, moment=moment)
        told = running.wait(240)
        for proxy in self.proxies.values():
            proxy.clear()
        if not reached.is_set():
            assert "changes" in told, told
            return False
        assert struck.wait(60)
        # Who has lost its starter ends by itself.
        wait_for(lambda: not self.living(), "nothing of the operation lives")
        return True

    def living(self) -> list[int]:
        """Processes of operations that were killed."""
        return [pid for operation in self.operations for pid in processes.of_operation(operation)]

    def assert_whole(self, slug: str) -> None:
        """One of everything, in order, and told so by the state."""
        state = self.store.stack(slug)
        assert state is not None
        assert state.whole, state.interrupted
        assert self.store.locks(slug) == []
        assert self.reality.things_of(slug) <= self.reality.found()
        assert self.living() == []
        names = CourseNames(slug)
        with Canaille(self.machine.target.identity, credential(self.machine.layout, "identity.json")) as canaille:
            clients = Counter(canaille._administering("GET", "/client-names").json())
        assert clients[names.client] == 1

    def assert_gone(self, slug: str) -> None:
        """Nothing of it anywhere, but the marker that keeps a folder."""
        assert self.reality.traces(slug) == []
        left = [found.key for found in S3Objects(self.direct).list("") if f"/{slug}" in found.key]
        assert [key for key in left if "/.keep/" not in key] == []
        assert self.living() == []
        operations = self.machine.layout.operations
        assert list((operations / "leases").glob(f"{slug}.*")) == []
        assert list((operations / "work").glob(f"{slug}-*")) == []

    def remember_bystander(self) -> None:
        """Before chaos: the course that nobody may touch."""
        self._before = self._bystander()

    def assert_bystander_untouched(self) -> None:
        """Its state is the same to the byte, its hub the same process."""
        assert self._bystander() == self._before
        self.assert_whole(BYSTANDER)

    @property
    def store(self) -> StateStore:
        return StateStore.of(self.direct, "jhaas-course")

    @property
    def reality(self) -> LocalReality:
        return LocalReality(self.machine.layout, self.machine.target)

    def _bystander(self) -> dict[str, bytes]:
        objects = S3Objects(self.direct)
        found = {f.key: objects.get(f.key) or b"" for f in objects.list("") if BYSTANDER in f.key}
        hub = Supervisor(self.machine.layout).status()[f"hub-{BYSTANDER}"]
        return {**found, "hub": str(hub.pid).encode()}


@pytest.fixture(scope="package")
def arena(machine: Machine) -> Iterator[Arena]:
    """The machine behind proxies, with a bystander course that runs all the time.

    It ends with the tests of chaos: others kill every hub of the machine.
    """
    given = StateSettings.of_machine(machine.layout)
    parts = urlsplit(given.url)
    parameters = dict(parse_qsl(parts.query))
    addresses = {
        "state": parameters["endpoint"],
        "identity": machine.target.identity.internal_url,
        "buckets": machine.target.object_store.endpoint,
    }
    with ExitStack() as stack:
        proxies = {}
        for name, address in addresses.items():
            at = urlsplit(address or "")
            assert at.hostname is not None
            assert at.port is not None
            proxies[name] = stack.enter_context(Proxy(at.hostname, at.port))
        url = urlunsplit((*parts[:3], urlencode({**parameters, "endpoint": proxies["state"].url}), ""))
        target = machine.target.model_copy(
            update={
                "identity": machine.target.identity.model_copy(update={"internal_url": proxies["identity"].url}),
                "object_store": machine.target.object_store.model_copy(update={"endpoint": proxies["buckets"].url}),
            }
        )
        arena = Arena(machine, target, given.model_copy(update={"url": url}), given, proxies)
        bystander = CourseStacks(given, machine.target, machine.layout)
        bystander.deploy(arena.spec(BYSTANDER))
        arena.remember_bystander()
        try:
            yield arena
            arena.assert_bystander_untouched()
        finally:
            bystander.destroy(BYSTANDER)


@pytest.fixture(scope="session")
def slugs() -> Iterator[str]:
    """A new name for each course."""
    return (f"chaos-{number}" for number in itertools.count(1))
