"""One command line that the engine carries out: where it runs, what it is given, where its output goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from automation.embedded.arguments import Arguments
from automation.embedded.backend import Backend, Stack
from automation.embedded.errors import EngineError
from automation.embedded.secrets import Keys, PassphraseSecrets, passphrase
from automation.embedded.settings import Project, StackSettings
from automation.embedded.state import salt_of
from automation.embedded.store import Store, open_store

OnLine = Callable[[str], Any]


class Lines:
    """Output, line by line, to a callback and for the result."""

    def __init__(self, callback: OnLine | None) -> None:
        self._callback = callback
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._error: Exception | None = None

    def __call__(self, text: str) -> None:
        with self._lock:
            for line in text.split("\n"):
                stripped = line.rstrip()
                self._lines.append(stripped)
                if self._callback is not None and self._error is None:
                    try:
                        self._callback(stripped)
                    except Exception as error:  # noqa: BLE001 -- a caller's error must not end the operation half-way
                        self._error = error

    def raise_callback_error(self) -> None:
        if self._error is not None:
            raise self._error

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


@dataclass(slots=True)
class Call:
    """One command: where it runs, its settings, and where its output goes."""

    cwd: str
    env: dict[str, str]
    out: Lines
    err: Lines
    keys: Keys
    selected: dict[str, str]
    operation: Callable[[Call, Arguments, str], None]
    _store: Store | None = field(default=None, init=False)
    _project: Project | None = field(default=None, init=False)

    @property
    def project(self) -> Project:
        if self._project is None:
            self._project = Project(self.cwd)
        return self._project

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = open_store(self.env)
        return self._store

    @property
    def backend(self) -> Backend:
        return Backend(self.store, self.project.name)

    def stack(self, arguments: Arguments) -> Stack:
        name = arguments.options.get("stack") or self.selected.get(self.cwd)
        if not name:
            raise EngineError(
                "no stack selected; please use `pulumi stack select` or `pulumi stack init` to choose one"
            )
        return self.backend.stack(name)

    def settings(self, stack: Stack) -> StackSettings:
        return StackSettings(self.project, stack.name)

    def secrets(self, settings: StackSettings, deployment: Mapping[str, Any]) -> PassphraseSecrets:
        """The secrets of a stack: by the salt of its settings, of its state, or a new one."""
        return PassphraseSecrets(self.keys, passphrase(self.env), settings.salt or salt_of(deployment))
