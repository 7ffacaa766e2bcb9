"""The parent of every long-lived process of one machine: one supervisord per data folder.

Services and hubs are programs, one file each below `programs/`. supervisord restarts a program that dies; after a
crash of supervisord itself, or a reboot, `Supervisor.start` brings back everything that has a file. It listens on a
unix socket in a private folder only.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from course_stack.local import run_as
from course_stack.local.files import locked, private_folder, write_file
from course_stack.local.layout import Layout

State = Literal["STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN"]

_LONGEST_SOCKET = 107 - len(".1234567")
"""Linux allows 107 bytes in a socket's path; supervisord binds to PATH.PID first and renames."""

_STILL_RUNNING = 91
"""Its fault code (`supervisor.xmlrpc.Faults`)."""


class SupervisorError(Exception):
    """supervisord could not do what was asked; the message says what, and where its log is."""


class StillRunning(SupervisorError):
    """A program was to be forgotten that runs."""


@dataclass(frozen=True, slots=True)
class Program:
    """One long-lived process. `env` is readable by whoever may read the process's environment: never a secret."""

    command: tuple[str, ...]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    uid: int | None = None
    """Account number to run as, where supervisord is root; None keeps supervisord's own account."""
    stop_signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    stop_seconds: int = 10
    configuration: str = ""
    """Fingerprint of what it reads at start: when it differs, the program is restarted."""

    def section(self, name: str) -> str:
        """The program's section in supervisord's configuration format.

        Raises `SupervisorError` for the few texts that this format cannot hold.
        """
        command = self.command
        if self.uid is not None:
            command = (sys.executable, "-I", str(Path(run_as.__file__)), str(self.uid), *command)
        settings = {
            "command": shlex.join(command),
            "directory": str(self.cwd),
            "environment": ",".join(
                f"{key}={_env_quoted(name, key, value)}" for key, value in sorted(self.env.items())
            ),
            "autostart": "true",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "5",
            "stopsignal": self.stop_signal,
            "stopwaitsecs": str(self.stop_seconds),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(self.log).replace("%", "%%"),  # supervisord expands this one twice
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "3",
        }
        for key, value in settings.items():
            # one bad file would keep supervisord from starting at all
            if found := re.search(r"\n|\s[;#]|%\(here\)s", value):
                raise SupervisorError(f"Program {name}: {key} holds {found[0]!r}, which cannot be passed on.")
        lines = [f"{key}={value.replace('%', '%%')}" for key, value in settings.items() if value]
        return "\n".join([f"[program:{name}]", *lines, f"; configuration {self.configuration}", ""])


@dataclass(frozen=True, slots=True)
class ProgramState:
    """What supervisord says about a program. `pid` is None unless it lives, `since` is in seconds of Unix time."""

    name: str
    state: State
    pid: int | None
    since: int
    description: str


class Supervisor:
    """The supervisord of one data folder. Safe to use from several processes at once."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.supervisor
        self._programs = self._folder / "programs"
        self._socket = self._folder / "supervisord.sock"
        self._log = self._folder / "supervisord.log"
        self._layout = layout

    # --- supervisord itself

    def running(self) -> bool:
        """Whether supervisord answers."""
        try:
            with self._server() as server:
                return bool(server.supervisor.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def start(self) -> None:
        """Start supervisord, and with it every program that has a file; nothing happens where it runs already.

        It becomes a daemon with an environment of its own: nothing of the caller's environment, files or input
        reaches it. What a killed supervisord left running is ended first, since it holds the programs' ports.
        """
        self._make_folders()
        with self._lock():
            self._start()

    def stop(self) -> None:
        """Stop all programs, then supervisord, and wait until all are gone; nothing happens where none runs."""
        if not self._folder.is_dir():
            return
        with self._lock():
            pid = self._pid()
            if self.running():
                self._call("shutdown")
            if pid is not None:
                _wait_until_gone({pid}, seconds=60)
            self._end_orphans()
            self._socket.unlink(missing_ok=True)

    def end_orphans(self) -> None:
        """End what a killed supervisord left running; nothing happens where supervisord runs."""
        if self._folder.is_dir():
            with self._lock():
                if not self.running():
                    self._end_orphans()

    # --- programs

    def set_program(self, name: str, program: Program) -> None:
        """Make the program run in exactly this form: added where it is new, restarted only where it changed."""
        self._make_folders()
        private_folder(program.log.parent)
        with self._lock():
            changed = write_file(self._file(name), program.section(name))
            if not self.running():
                self._start()
                return
            known = name in self._states()
            if known and not changed:
                if self._states()[name].state in ("STOPPED", "EXITED", "FATAL"):
                    self._call("startProcess", name, False)
                return
            self._call("reloadConfig")
            if known:
                self._forget(name)
            self._end_orphans(name)
            self._call("addProcessGroup", name)

    def remove_program(self, name: str) -> None:
        """Stop the program with all its processes and forget it; nothing happens where there is none."""
        if not self._folder.is_dir():
            return
        with self._lock():
            self._file(name).unlink(missing_ok=True)
            if self.running() and name in self._states():
                self._call("reloadConfig")
                self._forget(name)
            self._end_orphans(name)

    def restart(self, name: str) -> None:
        """Stop and start the program; it must be known."""
        with self._lock():
            if name not in self._states():
                raise SupervisorError(f"{name} is not a program of {self._folder}: set it first.")
            self._call("stopProcessGroup", name)
            self._call("startProcess", name, False)

    def status(self) -> dict[str, ProgramState]:
        """State of every program by name; empty where supervisord does not run."""
        return self._states() if self.running() else {}

    def program_names(self) -> frozenset[str]:
        """Names of all programs that have a file, whether supervisord runs or not."""
        return frozenset(path.stem for path in self._programs.glob("*.conf"))

    # --- inside

    def _make_folders(self) -> None:
        if (length := len(os.fsencode(self._socket))) > _LONGEST_SOCKET:
            raise SupervisorError(
                f"The data folder's path is too long for unix sockets: {self._socket} has {length} bytes, "
                f"{_LONGEST_SOCKET} are possible. Choose a shorter folder (JHAAS_HOME)."
            )
        private_folder(self._folder)
        private_folder(self._programs)
        private_folder(self._layout.logs)

    def _lock(self) -> Any:
        return locked(self._folder / "lock")

    def _file(self, name: str) -> Path:
        return self._programs / f"{name}.conf"

    def _start(self) -> None:
        if self.running():
            return
        if (pid := self._pid()) is not None:
            # it lives but does not answer: shutting down, or just starting in another process
            _wait_until_gone({pid}, seconds=30)
        self._end_orphans()
        self._socket.unlink(missing_ok=True)
        configuration = self._folder / "supervisord.conf"
        write_file(configuration, self._configuration())
        outcome = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            cwd="/",
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            check=False,
        )
        if outcome.returncode != 0:
            raise SupervisorError(f"supervisord did not start: {outcome.stdout.strip() or f'see {self._log}'}")
        deadline = time.monotonic() + 30
        while not self.running():
            if time.monotonic() > deadline:
                raise SupervisorError(f"supervisord did not answer within 30 seconds: see {self._log}.")
            time.sleep(0.05)

    def _configuration(self) -> str:
        def value(path: Path) -> str:
            return str(path).replace("%", "%%")

        return "\n".join(
            [
                "[unix_http_server]",
                f"file={value(self._socket)}",
                "chmod=0700",
                "[supervisord]",
                f"logfile={value(self._log)}",
                "logfile_maxbytes=5MB",
                "logfile_backups=2",
                f"pidfile={value(self._folder / 'supervisord.pid')}",
                f"childlogdir={value(self._layout.logs)}",
                "umask=077",
                "nocleanup=true",
                *(["user=root"] if os.geteuid() == 0 else []),
                "[rpcinterface:supervisor]",
                "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
                "[include]",
                f"files={value(self._programs / '*.conf')}",
                "",
            ]
        )

    @contextmanager
    def _server(self) -> Iterator[Any]:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        try:
            yield xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        finally:
            transport.close()

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            with self._server() as server:
                return getattr(server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            kind = StillRunning if fault.faultCode == _STILL_RUNNING else SupervisorError
            raise kind(f"supervisord refused {method} {' '.join(map(str, arguments))}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise SupervisorError(f"supervisord of {self._folder} does not answer: start it first.") from error

    def _forget(self, name: str) -> None:
        """Stop a program and take it off supervisord's list. One that had just died is not there to be stopped, but
        may be restarted before it is off: then once more."""
        deadline = time.monotonic() + 30
        while True:
            self._call("stopProcessGroup", name)
            try:
                self._call("removeProcessGroup", name)
            except StillRunning:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def _states(self) -> dict[str, ProgramState]:
        return {
            one["group"]: ProgramState(
                name=one["group"],
                state=one["statename"],
                pid=one["pid"] or None,
                since=one["start"],
                description=one["description"],
            )
            for one in self._call("getAllProcessInfo")
        }

    def _pid(self) -> int | None:
        """Process id of our supervisord, if it lives; a stale pid file or a reused id does not count."""
        try:
            pid = int((self._folder / "supervisord.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._folder / "supervisord.conf") in command.split(b"\0") else None

    def _end_orphans(self, name: str | None = None) -> None:
        """End the processes that a dead supervisord left behind: all, or those of one program.

        supervisord writes its address and the program's name into the environment of each child; where it runs,
        the only processes to look for are those of a program that it no longer knows.
        """
        if name is None and self.running():
            return
        orphans = self._marked(name)
        for pid in orphans:
            _signal(pid, signal.SIGTERM)
        if orphans and _still_there(orphans, seconds=5):
            for pid in orphans:
                _signal(pid, signal.SIGKILL)
            _wait_until_gone(orphans, seconds=5)

    def _marked(self, name: str | None) -> set[int]:
        wanted = {f"SUPERVISOR_SERVER_URL=unix://{self._socket}".encode()}
        if name is not None:
            wanted.add(f"SUPERVISOR_GROUP_NAME={name}".encode())
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    environment = (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if wanted <= set(environment):
                    found.add(int(entry.name))
        return found


def _env_quoted(name: str, key: str, value: str) -> str:
    """A value of an environment list: quoted one way or the other, there are no escapes."""
    quote = "'" if '"' in value else '"'
    if quote in value:
        raise SupervisorError(f"Program {name}: environment variable {key} holds both kinds of quotes.")
    return f"{quote}{value}{quote}"


def _clean_environment() -> dict[str, str]:
    """What every program gets: where programs are, and nothing of the caller's."""
    return {
        "PATH": os.pathsep.join(
            [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        ),
        "HOME": str(Path("~").expanduser()),
        "LANG": "C.UTF-8",
    }


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _still_there(pids: set[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _wait_until_gone(pids: set[int], seconds: float) -> None:
    if _still_there(pids, seconds):
        listed = ", ".join(str(pid) for pid in sorted(pids) if _alive(pid))
        raise SupervisorError(f"Processes did not end within {seconds:.0f} seconds: {listed}. End them by hand.")
