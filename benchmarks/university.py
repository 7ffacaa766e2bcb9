"""A portal's database as a large university has it after some years: for benchmarks of pages and of the scheduler."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Engine, text

from portal.clock import SiteClock
from portal.models import TargetRecord
from tests.portal.makers import ISSUER, make_spec


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is. `due` courses have something to do now, all others have not."""

    courses: int = 10_000
    people: int = 40_000
    participants_per_course: int = 20
    teachers: int = 2_000
    due: int = 0


STATUSES = """
CASE
  WHEN n % 100 < 80 THEN 'archived' WHEN n % 100 < 83 THEN 'rejected' WHEN n % 100 < 85 THEN 'withdrawn'
  WHEN n % 100 < 87 THEN 'closed' WHEN n % 100 < 94 THEN 'active' WHEN n % 100 < 98 THEN 'approved'
  WHEN n % 100 < 99 THEN 'requested' ELSE 'purged'
END
"""
"""Of course number n: one in a hundred waits for governance, seven run, most are history."""


def fill(engine: Engine, clock: SiteClock, size: Size, target: TargetRecord) -> None:
    """Fill an empty, migrated database. People are `person-N` (the first `size.teachers` may ask for courses, the very
    first is governance), courses `course-N`; course n is led by teacher n modulo their number."""
    spec = make_spec(clock, "course-0")
    values = {
        "now": clock.now(),
        "today": clock.today(),
        "people": size.people,
        "courses": size.courses,
        "teachers": size.teachers,
        "seats": size.participants_per_course,
        "due": size.due,
        "issuer": ISSUER,
        "target": target.name,
    }
    with engine.begin() as connection:
        for statement in (_PEOPLE, _COURSES, _LEADS, _PARTICIPATIONS):
            connection.execute(text(statement), values)
        connection.execute(text(_REVISIONS), {**values, "spec": json.dumps(spec)})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


_PEOPLE = """
INSERT INTO users
  (id, issuer, subject, login, name, email, may_request, is_governance, roles_checked_at, created_at)
SELECT md5('person' || n)::uuid, :issuer, 'person-' || n, 'person-' || n, 'Person ' || n,
  'person-' || n || '@example.org', n <= :teachers, n = 1, :now, :now
FROM generate_series(1, :people) AS n
"""

_COURSES = f"""
WITH numbered AS (
  SELECT n, {STATUSES} AS status FROM generate_series(1, :courses) AS n
), dated AS (  -- days and seats differ: that courses are alike must not be what makes a page quick
  SELECT *, CAST(:today AS date) + CASE status
    WHEN 'active' THEN -30 - n * 7 % 30 WHEN 'closed' THEN -120 WHEN 'approved' THEN 30 + n * 7 % 30
    WHEN 'requested' THEN 40 + n / 100 % 30 ELSE -1500 + n * 7 % 1200 END AS first_day,
    90 + n / 100 % 20 AS days, :seats + n / 100 % 15 AS seats
  FROM numbered
)
INSERT INTO courses
  (id, slug, target_name, status, status_since, next_due_at, version, title, first_day, last_day, seats,
   approved_revision, applied_revision, requested_by_id, requested_at, reason, join_policy, people_revision,
   people_applied, people_access, people_tries, people_failure, closing)
SELECT md5('course' || n)::uuid, 'course-' || n, :target, status, :now,
  CASE WHEN n <= :due THEN CAST(:now AS timestamptz) ELSE CAST(:now AS timestamptz) + interval '30 days' END,
  1, 'Course number ' || n, first_day, first_day + days, seats, 1, CASE WHEN status IN ('active', 'closed') THEN 1 END,
  md5('person' || (n % :teachers + 1))::uuid, :now, '', 'asks', 0, 0,
  CASE status WHEN 'active' THEN 'everybody' WHEN 'closed' THEN 'leads' ELSE 'nobody' END, 0, '', 0
FROM dated
"""

_LEADS = """
INSERT INTO course_leads (course_id, user_id, since)
SELECT md5('course' || n)::uuid, md5('person' || (n % :teachers + 1))::uuid, :now FROM generate_series(1, :courses) AS n
"""

_PARTICIPATIONS = """
INSERT INTO participations (course_id, user_id, status, code_is_dead, since, access_ended)
SELECT md5('course' || n)::uuid, md5('person' || (:teachers + 1 + (n * 131 + k * 977) % (:people - :teachers)))::uuid,
  CASE WHEN k % 10 = 0 THEN 'waiting' ELSE 'accepted' END, false, :now, k % 10 = 0
FROM generate_series(1, :courses) AS n, generate_series(1, :seats) AS k
ON CONFLICT DO NOTHING
"""

_REVISIONS = """
INSERT INTO course_revisions (course_id, number, spec, author_id, created_at)
SELECT c.id, 1, CAST(:spec AS jsonb) || jsonb_build_object('slug', c.slug, 'title', c.title, 'first_day', c.first_day,
  'last_day', c.last_day, 'seats', c.seats), c.requested_by_id, :now
FROM courses AS c
"""
