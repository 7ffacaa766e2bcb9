"""A small site for tests of the automation: its own data folder, a folder as state store, and the tiny program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from automation.operation import Timing
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from automation.state import StateStore
from course_stack.local.layout import Layout
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target
from tests.automation.tiny import PROGRAM, TinySpec, journal

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
        return CourseStacks(self.settings, TARGET, self.layout, timing=timing, **{"program": PROGRAM, **options})

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
