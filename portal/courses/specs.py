"""Revisions hold what a course shall be; people stand in tables of their own. Together they are a `CourseSpec`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from course_stack.spec import CourseDesign, CourseSpec
from portal.models import Course, Lead, Participation, Revision, User

PEOPLE = frozenset(CourseSpec.model_fields) - frozenset(CourseDesign.model_fields)
"""The fields of a spec that no revision holds."""


def stored(design: CourseDesign) -> dict[str, Any]:
    """A design as a revision holds it: plain JSON, without people and whatever a form asks beside it."""
    return design.model_dump(mode="json", include=set(CourseDesign.model_fields))


def design_of(revision: Revision) -> CourseDesign:
    """What a revision says."""
    return CourseDesign.model_validate(revision.spec)


def merge(design: CourseDesign, changes: Mapping[str, Any]) -> CourseDesign:
    """A design with other values in some fields. Raises pydantic's ValidationError where the whole breaks a rule."""
    return CourseDesign.model_validate({**stored(design), **changes})


def revision_of(session: Session, course: Course, number: int | None = None) -> Revision:
    """A revision of the course; without a number the approved one (before approval: the one that is asked for)."""
    wanted = course.approved_revision if number is None else number
    found = session.get(Revision, (course.id, wanted))
    if found is None:
        raise LookupError(f"no revision {wanted} of course {course.id}")
    return found


def spec_of(session: Session, course: Course, revision: int | None = None) -> CourseSpec:
    """The spec of a revision with the people of now: leads and accepted participants, by subject.

    People are those of the identity provider that the course was asked for with: after a change of the provider, a
    subject of one may be somebody else at the other.
    """
    design = design_of(revision_of(session, course, revision))
    leads = people_of(session, course, leads=True)
    accepted = people_of(session, course, leads=False)
    return with_people(design, leads, set(accepted) - set(leads))


def people_of(session: Session, course: Course, *, leads: bool) -> list[str]:
    """Subjects of the leads, or of the accepted participants."""
    requester = aliased(User)
    query = select(User.subject).join(requester, requester.id == course.requested_by_id)
    query = query.where(User.issuer == requester.issuer)
    if leads:
        query = query.join(Lead, Lead.user_id == User.id).where(Lead.course_id == course.id)
    else:
        query = query.join(Participation, Participation.user_id == User.id).where(
            Participation.course_id == course.id, Participation.status == "accepted"
        )
    return list(session.scalars(query))


def with_people(design: CourseDesign, leads: Iterable[str], participants: Iterable[str] = ()) -> CourseSpec:
    """A design with people. Raises pydantic's ValidationError where they do not fit it."""
    fields = {name: getattr(design, name) for name in CourseDesign.model_fields}
    return CourseSpec.model_validate({**fields, "leads": tuple(leads), "participants": tuple(participants)})


def add_revision(session: Session, course: Course, design: CourseDesign, **facts: Any) -> Revision:
    """The next revision of a course whose row is locked. It becomes what is wanted, in the course's own columns too.

    `facts` are the revision's author and time.
    """
    last = session.scalar(select(func.max(Revision.number)).where(Revision.course_id == course.id)) or 0
    revision = Revision(course_id=course.id, number=last + 1, spec=stored(design), **facts)
    session.add(revision)
    course.approved_revision = revision.number
    take_over(course, design)
    return revision


def take_over(course: Course, design: CourseDesign) -> None:
    """The columns that lists and calendars ask for, as the design says."""
    course.slug, course.title = design.slug, design.title
    course.first_day, course.last_day, course.seats = design.first_day, design.last_day, design.seats
