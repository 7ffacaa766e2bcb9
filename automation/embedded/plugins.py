"""The plugin processes of one operation: started as early as their use is known, killed and reaped at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from automation.embedded.providers import DYNAMIC, PluginProcess, PluginProvider


class Plugins:
    """Dynamic providers share one process (they keep configuration and cache class-wide); of any other plugin, each
    provider resource has its own."""

    def __init__(self, env: Mapping[str, str], cwd: str, engine: Callable[[], str], log: Callable[[str], None]) -> None:
        """`engine` gives the address of the engine service, which plugins expect as argument."""
        self._env = env
        self._cwd = cwd
        self._engine = engine
        self._log = log
        self._lock = threading.Lock()
        self._processes: dict[str, PluginProcess] = {}
        self._providers: dict[str, PluginProvider] = {}

    def start(self, package: str, urn: str = "") -> PluginProcess:
        """Start the process in the background, once."""
        key = package if package == DYNAMIC else urn
        with self._lock:
            if key not in self._processes:
                self._processes[key] = PluginProcess(package, self._env, self._cwd, self._engine, self._log)
            return self._processes[key]

    def provider(self, package: str, urn: str) -> PluginProvider:
        """The provider that the process serves; waits until it answers."""
        process = self.start(package, urn)
        key = package if package == DYNAMIC else urn
        with self._lock:
            if key not in self._providers:
                self._providers[key] = PluginProvider(process.stub())
            return self._providers[key]

    def close(self) -> None:
        for process in self._processes.values():
            process.close()
