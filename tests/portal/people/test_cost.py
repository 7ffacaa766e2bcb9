"""What keeping people in step costs where many courses are over."""

from __future__ import annotations

from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql

from portal.db import Sessions, transaction
from portal.groups.reconcile import _is_due
from portal.models import Course
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course


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
