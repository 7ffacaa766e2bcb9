"""The launcher of one notebook server: a private view of the machine, and an account of its own.

Run as a script with nothing but the standard library, so that it starts fast and needs no import path:

    python -I -S sandbox.py < plan.json     run the plan's command; ends when the command ends, with its exit code
    python -I -S sandbox.py --probe         exit code 0 where the machine allows the private view

The plan (`Plan` as JSON) and the server's environment, which holds its token, come on standard input: neither is in an
argument, and nothing of a course's environment reaches a process that is still root.

Two processes stay in front of the server. The *outer* one is what the hub knows: it passes signals on, and its end is
the end of everything behind it. The *first* one is process 1 of its own process namespace: when it ends, the kernel
ends every process of the server, whatever they did to hide. It builds a new root from an empty tmpfs and shows only
what a notebook needs: the system's programs and the Python installation (read-only), fresh /proc, /dev, /tmp and
/dev/shm, the person's home, and the course's shared volumes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys", "/nix")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """The private view could not be made; the message says which step failed."""


@dataclass(frozen=True, slots=True)
class Volume:
    """One folder of the machine (`source`) and where the notebook sees it (`target`)."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may take (`memory`: bytes of private data), and what the whole account may."""

    memory: int | None = None
    processes: int | None = None
    files: int | None = None
    processors: int | None = None
    """Number of processors that it may run on."""
    nice: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the launcher must know. `private` asks for the private view; `uid` None keeps this account."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    home: Volume
    log: str
    """File below the home that receives the server's output; earlier content is lost."""
    private: bool = False
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    account: str = "notebook"
    root: str = ""
    """An empty folder on which the new root is mounted."""
    programs: tuple[str, ...] = ()
    """Folders shown read-only at their own place: the Python installation, and settings of the servers."""
    volumes: tuple[Volume, ...] = ()
    limits: Limits = Limits()

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `json.dumps(dataclasses.asdict(plan))` wrote."""
        raw: dict[str, Any] = json.loads(text)
        raw["home"] = Volume(**raw["home"])
        raw["volumes"] = tuple(Volume(**one) for one in raw["volumes"])
        raw["limits"] = Limits(**raw["limits"])
        for name in ("command", "groups", "programs"):
            raw[name] = tuple(raw[name])
        return cls(**raw)


def run(plan: Plan) -> int:
    """Start the plan's command and stay in front of it; its exit code (128 + signal where one ended it)."""
    with _runtime_folder(plan) as folder:
        return _run(replace(plan, environment={**plan.environment, "JUPYTER_RUNTIME_DIR": folder}))


@contextlib.contextmanager
def _runtime_folder(plan: Plan) -> Iterator[str]:
    """Where the sockets of kernels lie: short, since a socket's path has 107 characters at most."""
    if plan.private:
        yield "/tmp/jupyter"  # noqa: S108 (the server's own /tmp)
        return
    folder = tempfile.mkdtemp(prefix="jupyter-")
    try:
        if plan.uid is not None and plan.gid is not None:
            os.chown(folder, plan.uid, plan.gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(plan: Plan) -> int:
    failed, report = os.pipe()
    if plan.private:
        _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWPID), "new namespaces")
    else:
        # without a process namespace the orphans of the server come to us, and end with us
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    outer = os.getpid()
    first = os.fork()
    if first == 0:
        os.close(failed)
        _first(plan, outer, report)
    os.close(report)
    _pass_on_signals(first)
    with os.fdopen(failed) as pipe:
        if problem := pipe.read():
            print(problem, file=sys.stderr, flush=True)
    _silence()
    return _wait_for(first, then_end_rest=not plan.private)


def _first(plan: Plan, outer: int, report: int) -> None:
    """The process in front of the server; never returns."""
    code = 70
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if not plan.private and os.getppid() != outer:
            os._exit(code)
        if plan.private:
            _private_view(plan)
        server = os.fork()
        if server == 0:
            _server(plan)
        os.close(report)
        _pass_on_signals(server)
        _silence()
        code = _wait_for(server, then_end_rest=not plan.private)
    except BaseException as error:  # noqa: BLE001 (a fork never returns to the caller's code)
        with contextlib.suppress(OSError):
            os.write(report, _described(error).encode())
    finally:
        os._exit(code)


def _server(plan: Plan) -> None:
    """Give up everything, and become the server; never returns."""
    try:
        home = Path(plan.home.target if plan.private else plan.home.source)
        _limit(plan)
        if plan.uid is not None and plan.gid is not None:
            os.setgroups(list(plan.groups))
            os.setresgid(plan.gid, plan.gid, plan.gid)
            os.setresuid(plan.uid, plan.uid, plan.uid)
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # Python ignores SIGPIPE, and programs inherit what is ignored
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        os.umask(0o002)
        os.chdir(home)
        log = home / plan.log
        log.parent.mkdir(mode=0o700, exist_ok=True)
        log.unlink(missing_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        errors = os.dup(2)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(errors, False)
        os.closerange(errors + 1, 1024)
        try:
            os.execvpe(plan.command[0], list(plan.command), plan.environment)  # noqa: S606 (becoming the server is the point)
        except OSError:
            os.dup2(errors, 2)
            raise
    except BaseException as error:  # noqa: BLE001 (as above)
        print(_described(error), file=sys.stderr, flush=True)
    finally:
        os._exit(70)


# --- the private view


def _private_view(plan: Plan) -> None:
    root = Path(plan.root)
    os.umask(0o022)
    _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for folder in SYSTEM_FOLDERS:
        _show_system_folder(root, Path(folder))
    _temporary_folders(root, plan)
    _devices(root, plan)
    for program in plan.programs:
        if not _below(program, SYSTEM_FOLDERS):
            _bind(program, root, program, read_only=True)
    _resolver(root)
    _account_files(root, plan)
    for volume in (plan.home, *plan.volumes):
        _bind(volume.source, root, volume.target, read_only=volume.read_only)
    (root / "proc").mkdir()
    _mount("proc", root / "proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    (root / ".old").mkdir()
    _check(_libc.pivot_root(os.fsencode(root), os.fsencode(root / ".old")), f"new root {root}")
    os.chdir("/")
    _check(_libc.umount2(b"/.old", _MNT_DETACH), "leaving the old root")
    Path("/.old").rmdir()
    _mount("none", "/", flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def _temporary_folders(root: Path, plan: Plan) -> None:
    for folder in ("tmp", "run", "var"):
        (root / folder).mkdir()
    size = f"size={plan.limits.memory}" if plan.limits.memory else "size=50%"
    _mount("tmpfs", root / "tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,{size}")
    # Not a link: while the new root is built, it would lead into the old one.
    (root / "var/tmp").mkdir()
    _mount(root / "tmp", root / "var/tmp", flags=_MS_BIND)


def _show_system_folder(root: Path, folder: Path) -> None:
    place = root / folder.relative_to("/")
    if folder.is_symlink():
        place.symlink_to(folder.readlink())
    elif folder.is_dir():
        _bind(str(folder), root, str(folder), read_only=True)


def _resolver(root: Path) -> None:
    """Where /etc/resolv.conf leads out of /etc (systemd-resolved), bring its target along."""
    real = Path("/etc/resolv.conf").resolve()
    if real.is_file() and not _below(str(real), SYSTEM_FOLDERS):
        _bind(str(real), root, str(real), read_only=True)


def _account_files(root: Path, plan: Plan) -> None:
    """A user list that knows the notebook's account and nobody else of this machine."""
    home = plan.home.target
    known = {"root": 0, "nogroup": 65534, plan.account: plan.gid, "course": plan.groups[0] if plan.groups else None}
    files = {
        "passwd": [
            "root:x:0:0:root:/root:/usr/sbin/nologin",
            "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
            f"{plan.account}:x:{plan.uid}:{plan.gid}::{home}:/bin/bash",
        ],
        "group": [f"{name}:x:{number}:" for name, number in known.items() if number is not None],
    }
    for name, lines in files.items():
        source = root / f".{name}"
        source.write_text("\n".join([*lines, ""]))
        source.chmod(0o644)
        _mount(source, root / "etc" / name, flags=_MS_BIND)
        source.unlink()


def _devices(root: Path, plan: Plan) -> None:
    dev = root / "dev"
    dev.mkdir()
    _mount("tmpfs", dev, "tmpfs", _MS_NOSUID | _MS_NOEXEC, "mode=0755,size=64k")
    for name in DEVICES:
        (dev / name).touch()
        _mount(Path("/dev") / name, dev / name, flags=_MS_BIND)
    for name, target in {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
        "ptmx": "pts/ptmx",
    }.items():
        (dev / name).symlink_to(target)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("devpts", dev / "pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    size = f"size={plan.limits.memory}" if plan.limits.memory else "size=50%"
    _mount("tmpfs", dev / "shm", "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,{size}")


def _bind(source: str, root: Path, target: str, *, read_only: bool) -> None:
    place = root / target.lstrip("/")
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount(source, place, flags=_MS_BIND)
    # flags of a bind mount take effect with a second call only
    _mount("none", place, flags=_MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | (_MS_RDONLY if read_only else 0))


def _mount(source: str | Path, target: str | Path, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    outcome = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() if options else None,
    )
    _check(outcome, f"mount of {source} at {target}")


def _check(outcome: int, step: str) -> None:
    if outcome != 0:
        raise SandboxError(f"{step}: {os.strerror(ctypes.get_errno())}")


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


# --- limits, signals, ends


def _limit(plan: Plan) -> None:
    limits = plan.limits
    wanted = {
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_CORE: 0,
    }
    for what, value in wanted.items():
        if value is not None:
            hard = resource.getrlimit(what)[1]
            allowed = value if hard == resource.RLIM_INFINITY or os.geteuid() == 0 else min(value, hard)
            resource.setrlimit(what, (allowed, allowed))
    if limits.processors is not None:
        processors = sorted(os.sched_getaffinity(0))
        # neighbours begin at different processors
        start = (plan.uid or os.getpid()) % len(processors)
        os.sched_setaffinity(0, (processors[start:] + processors[:start])[: limits.processors])
    if limits.nice:
        os.nice(limits.nice)


def _pass_on_signals(pid: int) -> None:
    def pass_on(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)


def _wait_for(pid: int, *, then_end_rest: bool) -> int:
    """Collect every child that ends until `pid` has; its exit code."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            break
    if then_end_rest:
        _end_rest()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_rest() -> None:
    """End and collect all children, and theirs as they come to us."""
    while True:
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _silence() -> None:
    """Let go of the hub's files, which end with the hub."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)


def _described(error: BaseException) -> str:
    if isinstance(error, SandboxError | OSError):
        return f"The notebook server could not be started: {error}"
    return "The notebook server could not be started:\n" + traceback.format_exc()


def _probe() -> int:
    """Try the steps that a machine may refuse."""
    try:
        _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWPID), "new namespaces")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
                _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
                _mount("devpts", "/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666")
                code = 0
            except SandboxError as error:
                print(error, file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_probe() if sys.argv[1:] == ["--probe"] else run(Plan.from_json(sys.stdin.read())))
