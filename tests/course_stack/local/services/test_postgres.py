"""The database server of one machine: passwords, own databases, and an account that may reach little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from course_stack.local.files import private_folder
from course_stack.local.layout import Layout
from course_stack.local.machine import SERVICE_UID
from course_stack.local.services import postgres as module
from course_stack.local.services.postgres import Postgres
from course_stack.local.supervisor import Supervisor
from tests.support.waiting import wait_for

pytestmark = pytest.mark.machine


@pytest.fixture
def layout(short_home: Layout) -> Iterator[Layout]:
    short_home.home.chmod(0o755)
    private_folder(short_home.services)
    yield short_home
    Supervisor(short_home).stop()


def started(layout: Layout) -> Postgres:
    postgres = Postgres(layout)
    postgres.prepare()
    Supervisor(layout).set_program(postgres.name, postgres.program())
    wait_for(lambda: postgres.unready() is None, "postgres answers")
    return postgres


def answer(url: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.execute(text("SELECT current_user")).scalar()


def test_everyone_needs_a_password_and_sees_its_own_database_only(layout: Layout) -> None:
    postgres = started(layout)
    postgres.ensure_database("one")
    postgres.ensure_database("two")
    postgres.ensure_database("one")
    assert answer(postgres.url("one")) == "one"
    with pytest.raises(OperationalError, match="password authentication failed"):
        answer(postgres.url("one").replace("one:", "one:x"))
    with pytest.raises(OperationalError, match="no password supplied"):
        answer(f"postgresql+psycopg2://postgres@/postgres?host={layout.services / 'postgres' / 'run'}")
    with pytest.raises(OperationalError, match="permission denied for database"):
        answer(postgres.url("one").replace("@/one", "@/two"))


def test_a_half_made_data_folder_is_thrown_away(layout: Layout) -> None:
    private_folder(layout.services / "postgres" / "data.new")
    (layout.services / "postgres" / "data.new" / "PG_VERSION").write_text("18\n")
    postgres = started(layout)
    postgres.ensure_database("one")
    assert answer(postgres.url("one")) == "one"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it under another account")
def test_as_root_it_runs_under_an_account_of_its_own_from_a_copy_where_it_cannot_reach_the_wheel(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_runs_unprivileged", lambda _: False)
    started(layout)
    process = psutil.Process(Supervisor(layout).status()["postgres"].pid)
    assert process.uids() == (SERVICE_UID,) * 3
    assert process.gids() == (SERVICE_UID,) * 3
    assert Path(process.exe()).is_relative_to(layout.services / "postgres" / "software")
