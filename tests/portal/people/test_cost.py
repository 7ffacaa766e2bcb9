"""What keeping people in step costs where many courses are over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, event, select, text
from sqlalchemy.dialects import postgresql

from portal.db import Sessions, transaction
from portal.groups.reconcile import _is_due
from portal.models import Course
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course
from tests.portal.people.conftest import Classroom


def test_the_look_for_what_is_due_reads_an_index_of_courses_that_are_not_over(
    session_factory: Sessions, clock: MovableClock
) -> None:
    with transaction(session_factory) as session:
        course = make_course(session, clock)
        columns = [column.name for column in Course.__table__.columns if column.name not in ("id", "slug", "status")]
        names = ", ".join(columns)
        session.execute(
            text(
                f"INSERT INTO courses (id, slug, status, {names}) "
                f"SELECT gen_random_uuid(), 'old-' || n, 'archived', {names} "
                "FROM courses, generate_series(1, 5000) n WHERE id = :id"
            ),
            {"id": course.id},
        )
    with session_factory.kw["bind"].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE courses"))
        query = select(Course.id).where(_is_due(clock)).order_by(Course.people_not_before.nulls_first()).limit(50)
        compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
        plan = "\n".join(connection.scalars(text(f"EXPLAIN {compiled}".replace(":", "\\:"))))
    assert "ix_courses_let_in" in plan
    assert "Seq Scan" not in plan


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_the_list_of_people_takes_six_statements_however_many_there_are(
    classroom: Classroom, client: PortalClient, engine: Engine
) -> None:
    classroom.set(seats=100)
    for number in range(3):
        classroom.join(classroom.person(f"p{number}"))
    client.sign_in(classroom.lead)
    address = f"/courses/{classroom.course.id}/people"
    client.get(address)
    with counted(engine) as few:
        client.get(address)
    for number in range(3, 60):
        classroom.join(classroom.person(f"p{number}"))
    with counted(engine) as many:
        client.get(address)
    assert len(many) == len(few) <= 6


def test_the_outbox_takes_few_statements(classroom: Classroom, client: PortalClient, engine: Engine) -> None:
    for number in range(2):
        classroom.join(classroom.person(f"p{number}"))
    client.sign_in(classroom.person("gov", governance=True))
    client.get("/governance/mails/")
    with counted(engine) as sent:
        client.get("/governance/mails/")
    assert len(sent) <= 6
