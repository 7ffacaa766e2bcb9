"""What a notebook can and cannot do on a machine: code really run behind the launcher."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from course_stack.local import processes
from course_stack.local.isolation import SANDBOX, Isolation, isolation, python_folders
from course_stack.local.layout import Layout
from course_stack.local.sandbox import Limits, Plan, Volume
from tests.support.waiting import wait_for

private_only = pytest.mark.skipif(
    isolation() is not Isolation.PRIVATE, reason="this machine allows notebooks no private view"
)

UID = 345_001
NEIGHBOUR = 345_002
MARK = "JHAAS_TEST_SANDBOX"


@dataclass(frozen=True)
class Course:
    """A data folder with what a notebook must never see, and a plan for one notebook."""

    layout: Layout
    plan: Plan

    def run(self, code: str, **changes: Any) -> str:
        """What the code prints in a sandboxed Python."""
        code_plan = replace(self.plan, command=(sys.executable, "-c", code), **changes)
        with self.running(code_plan) as launcher:
            assert launcher.wait(60) == 0, self.output()
        return self.output()

    @contextmanager
    def running(self, plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SANDBOX)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env={MARK: str(self.layout.home)},
        )
        try:
            assert launcher.stdin
            with launcher.stdin:
                launcher.stdin.write(json.dumps(asdict(plan)).encode())
            yield launcher
        finally:
            launcher.kill()
            launcher.wait()

    def output(self) -> str:
        log = Path(self.plan.home.source) / self.plan.log
        return log.read_text().strip() if log.exists() else ""


@pytest.fixture
def course() -> Iterator[Course]:
    home = Path(tempfile.mkdtemp(prefix="jhaas-", dir="/var/tmp"))
    home.chmod(0o755)
    layout = Layout(home)
    secrets = {
        layout.credentials / "state-passphrase": 0o600,
        layout.credentials / "identity.json": 0o600,
        layout.hub("biology") / "config.json": 0o600,
        layout.hub("biology") / "jupyterhub.sqlite": 0o600,
        layout.homes("biology") / "ben" / "diary.txt": 0o600,
        # a mistake in a mode must not be enough
        layout.homes("biology") / "carl" / "open.txt": 0o644,
        layout.services / "postgres" / "open.conf": 0o644,
    }
    for path, mode in secrets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("TOP SECRET")
        path.chmod(mode)
    for name in ("anna", "ben"):
        folder = layout.homes("biology") / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, UID if name == "anna" else NEIGHBOUR, UID if name == "anna" else NEIGHBOUR)
        folder.chmod(0o700)
    for name in ("material", "share"):
        folder = layout.shared("biology") / name
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        (folder / "hello.txt").write_text(f"hello from {name}")
    root = layout.hub("biology") / "root"
    root.mkdir()
    plan = Plan(
        command=(),
        environment={"PATH": f"{Path(sys.prefix) / 'bin'}:/usr/bin:/bin", "HOME": "/home/jovyan", "TOKEN": "own"},
        home=Volume(str(layout.homes("biology") / "anna"), "/home/jovyan", read_only=False),
        log=".jhaas/server.log",
        private=True,
        uid=UID,
        gid=UID,
        groups=(UID + 50,),
        account="anna",
        root=str(root),
        programs=tuple(str(folder) for folder in python_folders()),
        volumes=(
            Volume(str(layout.shared("biology") / "material"), "/data", read_only=True),
            Volume(str(layout.shared("biology") / "share"), "/mnt/share/all", read_only=False),
        ),
        limits=Limits(memory=2**30, processes=500, files=1000, processors=1, nice=5),
    )
    yield Course(layout, plan)
    processes.end(processes.of_accounts(frozenset({UID, NEIGHBOUR})), patience=0)
    shutil.rmtree(home)


@private_only
def test_a_notebook_runs_under_its_own_account_in_its_own_home(course: Course) -> None:
    seen = course.run(
        "import os, getpass, pathlib; print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), getpass.getuser(),"
        " pathlib.Path.home(), os.environ['TOKEN'])"
    )
    assert seen == f"{UID} {UID} [{UID + 50}] /home/jovyan anna /home/jovyan own"


@private_only
@pytest.mark.parametrize("parent", ["/tmp", "/var/tmp", "/opt"])
def test_a_notebook_finds_its_programs_wherever_they_are_installed(course: Course, parent: str) -> None:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        (Path(folder) / "bin").mkdir(mode=0o755)
        Path(folder).chmod(0o755)
        (Path(folder) / "bin" / "here").write_text("installed")
        before = set(Path(folder).rglob("*"))
        code = f"print(open('{folder}/bin/here').read()); open('/var/tmp/mine', 'w').close(); open('/tmp/mine')"
        assert course.run(code, programs=(*course.plan.programs, folder)) == "installed"
        assert set(Path(folder).rglob("*")) == before, "nothing is made outside the private view"
        assert not Path("/var/tmp/mine").exists()
        assert not Path("/tmp/mine").exists()


@private_only
def test_what_a_notebook_writes_in_its_home_stays(course: Course) -> None:
    course.run("open('result.txt', 'w').write('42')")
    written = course.layout.homes("biology") / "anna" / "result.txt"
    assert (written.read_text(), written.stat().st_uid) == ("42", UID)


@private_only
def test_a_notebook_finds_no_secret_no_other_home_and_no_state(course: Course) -> None:
    seen = course.run(
        f"""
import os
for path in {[str(course.layout.home), *map(str, _below(course.layout.home))]!r}:
    print(path, os.path.exists(path))
"""
    )
    visible = [line.split()[0] for line in seen.splitlines() if line.endswith("True")]
    assert visible == []


@private_only
def test_a_notebook_finds_no_secret_by_searching(course: Course) -> None:
    """Every file that it may open, wherever it lies."""
    found = course.run(
        """
import os
for folder, folders, files in os.walk('/', onerror=None):
    folders[:] = [one for one in folders if folder != '/' or one not in ('proc', 'sys', 'usr', 'lib', 'lib64', 'nix')]
    for name in files:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 1000 and 'TOP SECRET' in open(path).read():
                print(path)
        except (OSError, UnicodeDecodeError):
            pass
"""
    )
    assert found == ""


@private_only
def test_a_notebook_reaches_no_socket_of_the_services(course: Course) -> None:
    sockets = [course.layout.supervisor / "supervisord.sock", course.layout.services / "postgres" / ".s.PGSQL.5432"]
    with listening(sockets):
        seen = course.run(
            f"""
import socket
for path in {list(map(str, sockets))!r}:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print('connected to', path)
    except OSError as error:
        print(type(error).__name__)
"""
        )
    assert seen.splitlines() == ["FileNotFoundError", "FileNotFoundError"]


@private_only
def test_a_notebook_sees_and_signals_no_process_but_its_own(course: Course) -> None:
    with subprocess.Popen(["/bin/sleep", "600"], user=NEIGHBOUR, group=NEIGHBOUR, extra_groups=[]) as neighbour:
        seen = course.run(
            f"""
import os
print(sorted(name for name in os.listdir('/proc') if name.isdigit()) == ['1', str(os.getpid())])
for pid in ({neighbour.pid}, 1):
    try:
        os.kill(pid, 15)
        print('signalled')
    except OSError as error:
        print(type(error).__name__)
try:
    open('/proc/1/environ').read()
    print('read')
except OSError as error:
    print(type(error).__name__)
"""
        )
        assert neighbour.poll() is None
        neighbour.kill()
    assert seen.splitlines() == ["True", "ProcessLookupError", "PermissionError", "PermissionError"]


def test_without_a_private_view_an_account_of_its_own_still_protects_the_rest(course: Course) -> None:
    """The fall-back where a machine allows no namespaces, tried here by asking for it."""
    if os.geteuid() != 0:
        pytest.skip("needs accounts")
    plan = replace(course.plan, private=False, command=("/bin/cat", *map(str, _below(course.layout.credentials))))
    with course.running(plan) as launcher:
        assert launcher.wait(60) == 1
    assert course.output().count("Permission denied") == 2
    assert "SECRET" not in course.output()


def test_without_a_private_view_kernels_have_a_short_private_folder_that_goes_with_the_server(course: Course) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs accounts")
    code = "echo $JUPYTER_RUNTIME_DIR; stat -c '%a %u' $JUPYTER_RUNTIME_DIR; touch $JUPYTER_RUNTIME_DIR/socket"
    with course.running(replace(course.plan, private=False, command=("/bin/sh", "-c", code))) as launcher:
        assert launcher.wait(60) == 0
    folder, mode = course.output().splitlines()
    assert mode == f"700 {UID}"
    assert len(folder) < 40
    assert not Path(folder).exists()


@private_only
def test_the_system_is_read_only_and_becoming_root_is_impossible(course: Course) -> None:
    seen = course.run(
        """
import os, subprocess
for path in ('/etc/x', '/usr/x', '/x', '/opt/x', '/data/x', '/proc/sys/kernel/hostname'):
    try:
        open(path, 'w')
        print('wrote', path)
    except OSError:
        pass
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(status['CapEff'].strip(), status['NoNewPrivs'].strip())
device = os.makedev(8, 0)
for attempt in (lambda: os.setuid(0), lambda: os.chroot('/tmp'), lambda: os.mknod('/tmp/sda', 0o60666, device)):
    try:
        attempt()
        print('possible')
    except OSError as error:
        print(type(error).__name__)
"""
    )
    assert seen.splitlines() == ["0000000000000000 1", "PermissionError", "PermissionError", "PermissionError"]


@private_only
def test_shared_volumes_stand_where_the_course_says_and_material_cannot_be_changed(course: Course) -> None:
    seen = course.run(
        """
print(open('/data/hello.txt').read(), '|', open('/mnt/share/all/hello.txt').read())
open('/mnt/share/all/mine.txt', 'w').write('x')
try:
    open('/data/mine.txt', 'w')
except OSError as error:
    print(error.strerror)
"""
    )
    assert seen.splitlines() == ["hello from material | hello from share", "Read-only file system"]
    shared = course.layout.shared("biology")
    assert (shared / "share" / "mine.txt").exists()
    assert not (shared / "material" / "mine.txt").exists()


@private_only
def test_temporary_files_shared_memory_and_terminals_work_and_are_private(course: Course) -> None:
    with tempfile.NamedTemporaryFile(prefix="visible-") as outside:
        seen = course.run(
            f"""
import multiprocessing, os, pty, tempfile
print(os.path.exists({outside.name!r}))
print(multiprocessing.get_context('fork').Pool(1).map(abs, [-3]))
print(os.ttyname(pty.openpty()[1]))
print(tempfile.gettempdir(), os.statvfs('/tmp').f_blocks * os.statvfs('/tmp').f_frsize == 2**30)
"""
        )
    assert seen.splitlines() == ["False", "[3]", "/dev/pts/0", "/tmp True"]


@private_only
def test_a_process_cannot_take_more_memory_files_or_processors_than_the_course_gives(course: Course) -> None:
    seen = course.run(
        """
import os, resource
try:
    bytearray(2 * 2**30)
    print('took two GiB')
except MemoryError:
    print('MemoryError')
print(len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(0))
"""
    )
    assert seen.splitlines() == ["MemoryError", "1 (1000, 1000) 5"]


_STUBBORN = """
setsid sh -c 'trap "" TERM; touch daemon; while true; do sleep 600; done' &
while ! [ -e daemon ]; do sleep 0.05; done
echo ready
sleep 600
"""


@pytest.mark.parametrize("private", [pytest.param(True, marks=private_only), False])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ending_the_launcher_ends_every_process_of_the_notebook(
    course: Course, private: bool, number: signal.Signals
) -> None:
    if not private and (number is signal.SIGKILL or os.geteuid() != 0):
        pytest.skip("only a process namespace ends what hides when its parent is killed")
    with course.running(replace(course.plan, private=private, command=("/bin/sh", "-c", _STUBBORN))) as launcher:
        wait_for(lambda: "ready" in course.output(), "the daemon")
        assert len(processes.of_accounts(frozenset({UID}))) >= 3
        launcher.send_signal(number)
        launcher.wait(30)
        wait_for(lambda: not processes.of_accounts(frozenset({UID})), "the end of all")


@private_only
def test_the_launcher_ends_with_the_notebooks_exit_code(course: Course) -> None:
    with course.running(replace(course.plan, command=("/bin/sh", "-c", "exit 7"))) as launcher:
        assert launcher.wait(30) == 7
    with course.running(replace(course.plan, command=("/bin/sh", "-c", "kill -9 $$"))) as launcher:
        assert launcher.wait(30) == 137


@private_only
def test_a_course_that_cannot_be_started_says_why(course: Course, capfd: pytest.CaptureFixture[str]) -> None:
    with course.running(replace(course.plan, command=("/no/such/program",))) as launcher:
        assert launcher.wait(30) == 70
    gone = Volume(str(course.layout.home / "gone"), "/data", read_only=True)
    with course.running(replace(course.plan, command=("/bin/true",), volumes=(gone,))) as launcher:
        assert launcher.wait(30) == 70
    said = capfd.readouterr().err
    assert "could not be started: [Errno 2] No such file or directory: '/no/such/program'" in said
    assert f"could not be started: mount of {gone.source} at" in said


@private_only
def test_no_secret_of_a_notebook_is_in_an_argument_or_in_the_environment_of_its_launcher(course: Course) -> None:
    plan = replace(
        course.plan,
        command=(sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"),
        environment={**course.plan.environment, "JUPYTERHUB_API_TOKEN": "a-token-of-the-hub"},
    )
    with course.running(plan):
        wait_for(lambda: "ready" in course.output(), "the notebook")
        launchers = processes.marked(MARK, str(course.layout.home))
        assert len(launchers) == 2
        for pid in launchers | processes.of_accounts(frozenset({UID})):
            assert b"a-token-of-the-hub" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in launchers:
            assert b"a-token-of-the-hub" not in Path(f"/proc/{pid}/environ").read_bytes()


@private_only
def test_a_link_in_place_of_the_log_is_not_followed(course: Course) -> None:
    folder = Path(course.plan.home.source) / ".jhaas"
    folder.mkdir()
    os.chown(folder, UID, UID)
    target = course.layout.home / "target"
    target.write_text("untouched")
    target.chmod(0o666)
    (folder / "server.log").symlink_to(target)
    course.run("print('hello')")
    assert target.read_text() == "untouched"


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def listening(paths: list[Path]) -> Iterator[None]:
    """Unix sockets that listen, open to everybody."""
    servers = []
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(path))
            server.listen()
            path.chmod(0o777)
            servers.append(server)
        yield
    finally:
        for server in servers:
            server.close()
