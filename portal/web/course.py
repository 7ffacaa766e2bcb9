"""The course that a request is about, for those who may know of it. For everybody else there is nothing there."""

from __future__ import annotations

import uuid

from flask import abort, g, request

from portal.actor import roles_in
from portal.lifecycle import Role
from portal.models import ChangeRequest, Course

KEEPERS = frozenset({Role.LEAD, Role.GOVERNANCE})


def kept(course_id: uuid.UUID) -> tuple[Course, frozenset[Role]]:
    """The course and the reader's roles, for its leads and governance; 404 for everybody else."""
    course = g.session.get(Course, course_id)
    roles = roles_in(g.session, g.actor, course) if course else frozenset()
    if course is None or not roles & KEEPERS:
        abort(404)
    return course, roles


def kept_change(change_id: uuid.UUID) -> tuple[ChangeRequest, Course]:
    """A change and its course, for the course's leads and governance."""
    change = g.session.get(ChangeRequest, change_id)
    if change is None:
        abort(404)
    course, _ = kept(change.course_id)
    return change, course


def version() -> int:
    """The version of the course that the form was made from."""
    found = request.form.get("version", type=int)
    if found is None:
        abort(400)
    return found
