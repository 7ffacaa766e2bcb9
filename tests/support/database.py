"""A database server for tests: the embedded Postgres by itself, in a temporary folder."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from course_stack.local import run_as
from course_stack.local.files import private_folder
from course_stack.local.layout import Layout
from course_stack.local.services.postgres import Postgres
from tests.support.waiting import wait_for


@dataclass
class DatabaseServer:
    """One running server. `stop` and `start` are for tests of what happens without it."""

    postgres: Postgres
    log: Path
    process: subprocess.Popen[bytes] | None = None
    listen: str = ""
    """Loopback address at which it answers, too, on Postgres's own port."""

    def start(self) -> None:
        program = self.postgres.program()
        # nothing of it is worth keeping if the machine fails: each test's database is there in a third of the time
        command = (*program.command, "-c", "fsync=off", "-c", "full_page_writes=off")
        command = (*command, "-c", f"listen_addresses={self.listen}")
        if program.uid is not None:
            command = (sys.executable, "-I", str(Path(run_as.__file__)), str(program.uid), *command)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=program.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(lambda: self.postgres.unready() is None, "postgres answers")

    def stop(self) -> None:
        """At once; clients are cut off."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
            self.process = None

    def url(self, database: str, role: str | None = None) -> str:
        """Address of a database for its owner, or for a role that has a database of its own."""
        own = make_url(self.postgres.url(role or database))
        return own.set(drivername="postgresql", database=database).render_as_string(hide_password=False)


@contextmanager
def database_server(listen: str = "") -> Iterator[DatabaseServer]:
    """A server of its own, gone afterwards with all that it held."""
    home = Path(tempfile.mkdtemp(prefix="jhaas-db-", dir="/var/tmp"))
    home.chmod(0o755)
    layout = Layout(home)
    for folder in (layout.services, layout.credentials, layout.logs):
        private_folder(folder)
    server = DatabaseServer(Postgres(layout), layout.logs / "postgres.log", listen=listen)
    try:
        server.postgres.prepare()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(home)
