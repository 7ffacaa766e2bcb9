"""The audit log for governance: who did what to which course, when, and from where."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, g, render_template, request
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from portal.i18n import translate
from portal.models import AuditEntry, Course, User
from portal.texts import N_
from portal.web.access import governance_only
from portal.web.context import portal

blueprint = Blueprint("audit", __name__, url_prefix="/audit")
governance_only(blueprint)

PAGE = 50


@blueprint.get("/")
def index() -> str:
    """Entries, newest first, by person, course, deed and day."""
    session: Session = g.session
    found = list(session.scalars(_filtered(select(AuditEntry)).order_by(AuditEntry.id.desc()).limit(PAGE + 1)))
    shown = found[:PAGE]
    return render_template(
        "audit/index.html",
        entries=shown,
        older=shown[-1].id if len(found) > PAGE else None,
        people=_people(session, shown),
        courses=_courses(session, shown),
        changes=changes,
        things=[(thing, translate(name)) for thing, name in THINGS.items()],
    )


THINGS: dict[str, str] = {
    "course": N_("courses"),
    "change": N_("change requests"),
    "lead": N_("leads"),
    "participation": N_("participants"),
    "join_code": N_("join codes"),
    "operation": N_("operations"),
    "archives": N_("archives"),
    "image": N_("images"),
    "person": N_("roles of people"),
    "session": N_("sign-ins"),
    "mail": N_("mails"),
    "demo": N_("the demo's clock"),
}
"""First parts of actions (`thing.deed`) → how the filter calls them (message ids)."""


def changes(entry: AuditEntry) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of everything that an entry says it changed."""
    before, after = entry.before or {}, entry.after or {}
    return [(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]


def _filtered(query: Select[AuditEntry]) -> Select[AuditEntry]:
    given = {name: value.strip() for name, value in request.args.items()}
    if person := given.get("person"):
        query = query.where(AuditEntry.actor_id.in_(select(User.id).where(User.login == person)))
    if slug := given.get("course", "").lower():
        query = query.where(AuditEntry.course_id.in_(select(Course.id).where(Course.slug == slug)))
    if (thing := given.get("thing")) in THINGS:
        query = query.where(AuditEntry.action.startswith(f"{thing}."))
    if day := _day(given.get("until", "")):
        query = query.where(AuditEntry.at < portal().clock.end(day))
    if (before := given.get("before", "")).isdecimal() and len(before) < 18:
        query = query.where(AuditEntry.id < int(before))
    return query


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _people(session: Session, entries: Iterable[AuditEntry]) -> dict[str, User]:
    """Everybody whom the entries name by id, as who acted, as whom it was done to, or in what changed."""
    named = {str(one) for entry in entries for one in (entry.actor_id, entry.subject_id, *_values(entry))}
    ids = {uuid.UUID(text) for text in named if _is_id(text)}
    found = session.scalars(select(User).where(User.id.in_(ids))) if ids else ()
    return {str(user.id): user for user in found}


def _courses(session: Session, entries: Iterable[AuditEntry]) -> dict[uuid.UUID, Course]:
    ids = {entry.course_id for entry in entries if entry.course_id is not None}
    return {course.id: course for course in session.scalars(select(Course).where(Course.id.in_(ids)))} if ids else {}


def _values(entry: AuditEntry) -> Iterable[Any]:
    return (value for _name, before, after in changes(entry) for value in (before, after))


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
