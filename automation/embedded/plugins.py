"""Plugin processes: `python -m pulumi.dynamic` for dynamic resources, `pulumi-resource-NAME` for others.

They are started as early as their use is known, and killed and reaped at the end of their operation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from automation.embedded.errors import EngineError
from automation.embedded.plugin_provider import PluginProvider
from automation.embedded.providers import DYNAMIC
from automation.embedded.sockets import Sockets

REPOSITORY = Path(__file__).resolve().parents[2]
"""Where our packages lie: dynamic providers are loaded by their module's name."""

_STARTER = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
{start}
"""
_RUN_MODULE = """\
import grpc, runpy
make, socket = grpc.server, sys.argv[2]
def server(*arguments, **options):
    made = make(*arguments, **options)
    listen = made.add_insecure_port
    made.add_insecure_port = lambda address: listen(socket)
    return made
grpc.server = server
runpy.run_module('pulumi.dynamic', run_name='__main__', alter_sys=True)
"""
"""Dynamic providers run whatever code they are sent: they listen on a private socket in place of a port."""
_RUN_PROGRAM = "os.execv(sys.argv[2], sys.argv[2:])"
"""The kernel kills a provider (PR_SET_PDEATHSIG) when the engine dies, however it dies: an orphaned provider would
finish its work on a stack that someone else may already be working on."""

# The kernel's promise holds for the thread that started the child: one that lives as long as this process.
_starter = ThreadPoolExecutor(1, "provider-starter")


class PluginProcess:
    """One plugin's process, started in the background; `stub()` waits until it answers."""

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        cwd: str,
        socket: str,
        engine: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        self._name = name
        self._log = log
        self._engine = engine
        self._env = _environment(env)
        self._cwd = cwd
        self._socket = socket
        self._channel: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._started: Future[None] = _starter.submit(self._start)

    def _start(self) -> None:
        if self._name == DYNAMIC:
            command = [sys.executable, "-u", "-c", _STARTER.format(start=_RUN_MODULE), str(os.getpid()), self._socket]
        else:
            program = shutil.which(f"pulumi-resource-{self._name}", path=self._env["PATH"])
            if program is None:
                raise EngineError(
                    f"no resource plugin 'pulumi-resource-{self._name}' found on PATH: install it there, "
                    "the embedded engine downloads none"
                )
            start = _STARTER.format(start=_RUN_PROGRAM)
            command = [sys.executable, "-S", "-E", "-c", start, str(os.getpid()), program, self._engine()]
        self._process = subprocess.Popen(
            command, cwd=self._cwd, env=self._env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def stub(self) -> Any:
        """The plugin's gRPC stub; a plugin that does not start is an `EngineError`."""
        import grpc
        from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
        from pulumi.runtime.proto import provider_pb2_grpc

        self._started.result()
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._read(process.stderr)
        port = process.stdout.readline().strip()
        if not port.isdigit():
            process.kill()
            process.wait()
            for reader in self._readers:
                reader.join()
            raise EngineError(f"the resource plugin {self._name!r} did not start (exit code {process.returncode})")
        self._read(process.stdout)
        address = self._socket if self._name == DYNAMIC else f"127.0.0.1:{int(port)}"
        self._channel = grpc.insecure_channel(address, options=_GRPC_CHANNEL_OPTIONS)
        return provider_pb2_grpc.ResourceProviderStub(self._channel)

    def _read(self, stream: Any) -> None:
        def read() -> None:
            for line in stream:
                if text := line.decode(errors="replace").rstrip():
                    self._log(text)

        thread = threading.Thread(target=read, name=f"{self._name}-output", daemon=True)
        thread.start()
        self._readers.append(thread)

    def close(self) -> None:
        """Kill and reap: providers never end by themselves."""
        with contextlib.suppress(Exception):
            self._started.result()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for reader in self._readers:
                reader.join(1)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a provider: this interpreter is the first `python3`, and our packages are found."""
    found = dict(env)
    found["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), env.get("PATH", os.defpath)))
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), env.get("PYTHONPATH"))))
    return found


class Plugins:
    """Dynamic providers share one process (they keep configuration and cache class-wide); of any other plugin, each
    provider resource has its own."""

    def __init__(
        self,
        env: Mapping[str, str],
        cwd: str,
        sockets: Sockets,
        engine: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        """`engine` gives the address of the engine service, which plugins expect as argument."""
        self._env = env
        self._cwd = cwd
        self._sockets = sockets
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
                self._processes[key] = PluginProcess(
                    package, self._env, self._cwd, self._sockets.address("provider"), self._engine, self._log
                )
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
