"""The roles and databases that a Job makes on a server where nobody is superuser, tried on a real Postgres."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.database import DatabaseServer, database_server

MASTER = "jhaas_admin"
PASSWORDS = {"portal": 'portal\'s "own" word', "portal_owner": "owner-word", "authentik": "identity-word"}


@pytest.fixture(scope="module")
def server() -> Iterator[DatabaseServer]:
    with database_server() as server:
        server.postgres.execute("postgres", f"CREATE ROLE {MASTER} LOGIN CREATEROLE CREATEDB PASSWORD 'master'")
        yield server


def run(server: DatabaseServer, folder: Path, *, identity: bool = True, **changed: str) -> None:
    """As the Job runs it, with its files in a folder."""
    from rds import SCRIPT

    folder.mkdir(exist_ok=True)
    for role, password in {**PASSWORDS, **changed}.items():
        (folder / role).write_text(password)
    script = folder / "setup.sql"
    script.write_text(SCRIPT.read_text().replace("/run/jhaas/roles", str(folder)))
    psql = server.postgres._software() / "bin/psql"
    done = subprocess.run(
        [psql, "--no-psqlrc", "-v", f"identity={int(identity)}", "-f", script],
        env={
            "PATH": os.environ["PATH"],
            "PGHOST": server.postgres.address,
            "PGUSER": MASTER,
            "PGDATABASE": "postgres",
            "PGPASSWORD": "master",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def connected(server: DatabaseServer, role: str, database: str, password: str) -> psycopg.Connection:
    return psycopg.connect(host=server.postgres.address, user=role, dbname=database, password=password)


def owner(server: DatabaseServer, database: str) -> str:
    url = make_url(server.url("postgres"))
    with psycopg.connect(
        host=server.postgres.address, user=url.username, password=url.password, dbname="postgres", autocommit=True
    ) as connection:
        found = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (database,)
        ).fetchone()
    assert found is not None
    return str(found[0])


def test_roles_get_into_their_own_database_alone_again_and_again(server: DatabaseServer, tmp_path: Path) -> None:
    for _ in range(2):
        run(server, tmp_path / "files")
    assert (owner(server, "portal"), owner(server, "authentik")) == ("portal_owner", "authentik")
    for role, database in (("portal", "portal"), ("portal_owner", "portal"), ("authentik", "authentik")):
        connected(server, role, database, PASSWORDS[role]).close()
    for role, database in (("portal", "authentik"), ("authentik", "portal")):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            connected(server, role, database, PASSWORDS[role])


def test_the_portals_role_makes_no_tables_and_its_owner_does(server: DatabaseServer, tmp_path: Path) -> None:
    run(server, tmp_path / "files")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        connected(server, "portal", "portal", PASSWORDS["portal"]) as connection,
    ):
        connection.execute("CREATE TABLE mine (id int)")
    with connected(server, "portal_owner", "portal", PASSWORDS["portal_owner"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS owned (id int)")


def test_a_password_that_changes_is_brought_to_the_server(server: DatabaseServer, tmp_path: Path) -> None:
    run(server, tmp_path / "files", portal="another")
    connected(server, "portal", "portal", "another").close()
    run(server, tmp_path / "files")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connected(server, "portal", "portal", "another")
