"""A small site for tests of the automation: its own data folder, a folder as state store, and the tiny program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from automation.job import Timing
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from automation.state import S3Objects, StateStore
from course_stack.local.layout import Layout
from course_stack.spec import CourseSpec
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target
from tests.automation.tiny import PROGRAM, TinySpec, journal
from tests.conftest import Machine
from tests.support.examples import example
from tests.support.proxy import Proxy

TARGET = Target(
    name="trial",
    kind="local",
    hub_domain="localhost",
    identity=IdentityTarget(kind="canaille", url="http://id.localhost"),
    object_store=ObjectStoreTarget(kind="seaweedfs", endpoint="http://127.0.0.1"),
)
PASSPHRASE = "correct horse battery staple"


@dataclass
class Site:
    """Everything that a test of operations looks at."""

    home: Path
    settings: StateSettings

    @property
    def layout(self) -> Layout:
        return Layout(self.home)

    @property
    def store(self) -> StateStore:
        return StateStore.of(self.settings, "jhaas-course")

    def stacks(self, **options: Any) -> CourseStacks:
        """A fresh `CourseStacks`, as another process would have it."""
        timing = options.pop("timing", Timing(deadline=120, graceful=20, abandoned=1, abort=2))
        target = options.pop("target", TARGET)
        return CourseStacks(self.settings, target, self.layout, timing=timing, **{"program": PROGRAM, **options})

    def spec(self, slug: str = "course-one", **fields: Any) -> TinySpec:
        """A course of two files in a folder of its own."""
        folder = self.home / "things" / slug
        folder.mkdir(parents=True, exist_ok=True)
        return TinySpec(slug=slug, folder=folder, **fields)

    def files(self, slug: str = "course-one") -> dict[str, str]:
        """The course's files that are there, with their contents."""
        folder = self.home / "things" / slug
        ours = [path for path in folder.iterdir() if path.name != "journal"]
        return {path.name: path.read_text() for path in ours}

    def journal(self, slug: str = "course-one") -> list[str]:
        """What the provider did to the course's files, in order."""
        return [line for line in journal(self.home / "things" / slug) if not line.startswith("dwell")]

    def dwells(self, step: str, slug: str = "course-one") -> bool:
        """Whether a provider has done this step and not told so yet."""
        return f"dwell {step}" in journal(self.home / "things" / slug)

    def state_keys(self, slug: str = "course-one") -> list[str]:
        """Files of the state store that belong to the course, markers left out."""
        root = self.home / "state"
        keys = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return sorted(key for key in keys if slug in key and "/.keep/" not in key)

    def work_folders(self) -> list[str]:
        """Work folders of operations that are there."""
        folder = self.layout.operations / "work"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("JHAAS_HOME", str(tmp_path))
    return Site(tmp_path, StateSettings(url=f"file://{tmp_path}/state", passphrase=PASSPHRASE))


@dataclass
class S3Site(Site):
    """The same with its state in S3, behind a proxy at which tests interfere."""

    proxy: Proxy
    direct: StateSettings
    """The way around the proxy, for looking."""

    @property
    def store(self) -> StateStore:
        return StateStore.of(self.direct, "jhaas-course")

    def all_keys(self) -> list[str]:
        """Everything in the state store."""
        objects = S3Objects(self.direct)
        return [found.key for found in objects.list("")]

    def state_keys(self, slug: str = "course-one") -> list[str]:
        return [key for key in self.all_keys() if slug in key and "/.keep/" not in key]

    def contents(self) -> dict[str, bytes]:
        """All objects of the state store."""
        objects = S3Objects(self.direct)
        return {found.key: objects.get(found.key) or b"" for found in objects.list("")}


@pytest.fixture
def s3_site(machine: Machine, tmp_path: Path) -> Iterator[S3Site]:
    """A site of its own below the machine's state bucket; mark such tests `machine`."""
    given = StateSettings.of_machine(machine.layout)
    parts = urlsplit(given.url)
    parameters = dict(parse_qsl(parts.query))
    endpoint = urlsplit(parameters["endpoint"])
    prefix = f"/{tmp_path.parent.name}-{tmp_path.name}"

    def at(url: str) -> StateSettings:
        query = urlencode({**parameters, "endpoint": url})
        return given.model_copy(update={"url": urlunsplit((parts.scheme, parts.netloc, prefix, query, ""))})

    assert endpoint.hostname is not None
    assert endpoint.port is not None
    with Proxy(endpoint.hostname, endpoint.port) as proxy:
        site = S3Site(tmp_path, at(proxy.url), proxy, at(parameters["endpoint"]))
        yield site
        objects = S3Objects(site.direct)
        objects.delete([found.key for found in objects.list("")])


def example_course(machine: Machine, slug: str) -> CourseSpec:
    """The example course under another name, with people of this machine."""
    people = machine.people
    return example(slug, leads=[people["teacher"].subject], participants=[people["student"].subject])
