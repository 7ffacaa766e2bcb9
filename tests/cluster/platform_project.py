"""The platform's program in a folder and with a state of its own, run by the Pulumi CLI as an operator runs it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psutil
import yaml

from tests.platform_stack.conftest import ROOT, Sections
from tests.support.waiting import wait_for

UP = ("up", "--yes", "--skip-preview")
DESTROY = ("destroy", "--yes", "--skip-preview", "--ignore-protect")
"""With disk and database."""
STACK = "trial"
PULUMI = ("pulumi", "--non-interactive", "--color", "never")


class Project:
    """A copy of the program, with a stack of these sections.

    `closed`: path → value of what is secret (`identity.client_secret`), which the stack's file holds encrypted: by
    `passphrase`, as the state does. `seconds`: for each command.
    """

    def __init__(
        self, folder: Path, sections: Sections, *, closed: Mapping[str, str] | None = None, seconds: int = 300
    ) -> None:
        self.folder, self.sections = folder, sections
        self._closed, self._seconds = closed or {}, seconds
        self.passphrase = secrets.token_hex(8)
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")} | {
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        (folder / "state").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        for part in ("platform", "examples"):
            shutil.copytree(ROOT / part, folder / part, symlinks=True)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self.pulumi("stack", "init", STACK)
        self.configure()

    @classmethod
    def of(cls, file: Mapping[str, Any], folder: Path, *, seconds: int) -> Self:
        """With the stack's file that JHAAS_TEST_PLATFORM names."""
        sections = {name.removeprefix("jhaas-platform:"): keys for name, keys in file["config"].items()}
        return cls(folder, sections, closed=file.get("secrets"), seconds=seconds)

    def configure(self, **changes: dict[str, Any]) -> None:
        """Write the stack's file with these sections over what was there."""
        self.sections = {**self.sections, **changes}
        path = self.folder / f"Pulumi.{STACK}.yaml"
        content = yaml.safe_load(path.read_text())
        content["config"] = {f"jhaas-platform:{name}": keys for name, keys in self.sections.items()}
        path.write_text(yaml.safe_dump(content))
        for key, value in self._closed.items():
            self.pulumi("config", "set", "--secret", "--path", f"jhaas-platform:{key}", "--", value)

    @property
    def environ(self) -> dict[str, str]:
        """What commands in `folder` need."""
        return {**self._environ, "PULUMI_CONFIG_PASSPHRASE": self.passphrase}

    def killed(self, *arguments: str, when: Callable[[], bool], what: str) -> None:
        """Begin the command, and kill it with everything that it has started when `what` is so."""
        begun = subprocess.Popen(
            [*PULUMI, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(when, what)
        finally:
            for process in [*psutil.Process(begun.pid).children(recursive=True), begun]:
                process.kill()
            begun.wait()

    def pulumi(self, *arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        """What the command prints, both streams. Raises `AssertionError` where it does not end as expected."""
        done = subprocess.run(
            [*PULUMI, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self._seconds,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def bash(self, line: str, *, stdin: str | None = None) -> str:
        """What a line of the guide prints."""
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
