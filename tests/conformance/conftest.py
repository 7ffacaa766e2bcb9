"""Stacks on a file store, on the engine that `JHAAS_PULUMI` names (`embedded`, the default, or `cli`)."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest

from automation.embedded import EmbeddedPulumi
from tests.conformance import programs

RECORDED = Path(__file__).parent / "recorded"
REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = "jhaas-course"
PASSPHRASE = "correct horse"
ENGINE = os.environ.get("JHAAS_PULUMI", "embedded")
CLI = bool(
    shutil.which("pulumi") and shutil.which("pulumi-resource-pulumi-python") and shutil.which("pulumi-resource-random")
)


def pytest_configure(config: pytest.Config) -> None:
    """The CLI ends without waiting for a program that failed; what the SDK then leaves open is no fault of ours."""
    if ENGINE == "cli":
        for kind in (ResourceWarning, pytest.PytestUnraisableExceptionWarning):
            module = "pytest." if kind.__name__.startswith("Pytest") else ""
            config.addinivalue_line("filterwarnings", f"ignore::{module}{kind.__name__}")  # during tests
            warnings.simplefilter("ignore", kind)  # and when the session ends


def command(engine: str) -> auto.PulumiCommand:
    return auto.PulumiCommand() if engine == "cli" else EmbeddedPulumi()


@dataclass
class Course:
    """One stack, its store and its work folder."""

    folder: Path
    engine: str = ENGINE
    name: str = "course-one"
    program: Callable[[], None] = programs.room
    passphrase: str = PASSPHRASE
    env: dict[str, str] = field(default_factory=dict)
    work: str = "work"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def state(self) -> Path:
        return self.store / ".pulumi" / "stacks" / PROJECT / f"{self.name}.json"

    def workspace(self) -> auto.LocalWorkspace:
        work = self.folder / self.work
        for folder in (self.store, work):
            folder.mkdir(exist_ok=True)
        env = {
            "PULUMI_BACKEND_URL": f"file://{self.store}",
            "PULUMI_CONFIG_PASSPHRASE": self.passphrase,
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
            # the CLI's wrapper of dynamic providers takes the first python3, and it must find these programs
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": str(REPOSITORY),
            **self.env,
        }
        return auto.LocalWorkspace(
            work_dir=str(work),
            env_vars=env,
            program=self.program,
            pulumi_command=command(self.engine),
            project_settings=auto.ProjectSettings(name=PROJECT, runtime="python", main=str(work)),
        )

    def create(self, **config: str) -> auto.Stack:
        """A new stack with this configuration; `token` is a secret."""
        stack = auto.Stack.create(self.name, self.workspace())
        self.configure(stack, **config)
        return stack

    def select(self) -> auto.Stack:
        return auto.Stack.select(self.name, self.workspace())

    def configure(self, stack: auto.Stack, **config: str) -> None:
        for key, value in config.items():
            stack.set_config(key, auto.ConfigValue(value, secret=key == "token"))

    def run(self, *args: str) -> auto.CommandResult:
        """One command line, without the Automation API's own."""
        workspace = self.workspace()
        return workspace.pulumi_command.run(list(args), workspace.work_dir, workspace.env_vars)


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Collect what the SDK leaves open while the CLI's filters above are in force."""
    yield
    if ENGINE == "cli":
        gc.collect()


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course(tmp_path)


@pytest.fixture
def other_engine(course: Course) -> Course:
    """The same stack on the other engine; skipped where the CLI is not installed."""
    if not CLI:
        pytest.skip("needs pulumi, pulumi-resource-pulumi-python and pulumi-resource-random on PATH")
    return Course(course.folder, engine="embedded" if course.engine == "cli" else "cli")


def recorded_store(name: str, course: Course) -> None:
    """Give the course a copy of a recorded store."""
    shutil.copytree(RECORDED / name / "dot-pulumi", course.store / ".pulumi")


def files(folder: Path) -> dict[str, Path]:
    """The store's objects by key; the CLI's `.attrs` notes are none."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".attrs")
    return {path.relative_to(folder).as_posix(): path for path in found}


def logged(folder: Path) -> list[str]:
    """What the files' provider did there."""
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def summary(result: Any) -> dict[str, int]:
    """What an operation changed."""
    return dict(result.summary.resource_changes or {})
