"""What became of the files of a course: its homes and their archives, and doing without those that are missing."""

from __future__ import annotations

import uuid

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext
from werkzeug.wrappers import Response

from portal.archives import lists, records
from portal.archives.waiver import waive as waive_archives
from portal.courses import life
from portal.courses.problems import Invalid
from portal.forms import in_words
from portal.lifecycle import Action
from portal.models import Course, User
from portal.web.context import portal
from portal.web.course import kept
from portal.web.database import transaction

blueprint = Blueprint("archives", __name__, url_prefix="/courses/<uuid:course_id>/archives")


@blueprint.get("")
def show(course_id: uuid.UUID) -> str:
    """Every home of the course with its archive, for leads and governance."""
    parts = portal()
    course, roles = kept(course_id)
    if not course.closing:
        abort(404)
    homes, archived = records.counts(g.session, course)
    actions = life.actions_of(parts.clock, parts.settings, g.actor, course, roles)
    waived = records.waived(course)
    return render_template(
        "archives/show.html",
        course=course,
        page=lists.homes_of(g.session, course, request.args.get("after", "")),
        homes=homes,
        archived=archived,
        waived_by=g.session.get(User, course.waived_by_id) if waived and course.waived_by_id else None,
        may_waive=Action.WAIVE_ARCHIVES in actions and not waived and archived < homes,
    )


@blueprint.route("/waive", methods=["GET", "POST"])
def waive(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """Do without the missing archives; a GET says what that means."""
    course, roles = kept(course_id)
    life.ensure(course, Action.WAIVE_ARCHIVES, roles)
    if request.method == "GET":
        return _confirm(course)
    if request.form.get("consent") != "yes":
        return _confirm(course, _("Tick the box if you are sure.")), 422
    try:
        with transaction() as session:
            locked = life.lock(session, course_id)
            waive_archives(session, portal().clock, g.actor, locked, request.form.get("reason", ""))
    except Invalid as error:
        return _confirm(course, _("The reason %(problem)s.", problem=in_words(error.problems[0]))), 422
    flash(_("The course is removed without the missing archives."), "success")
    return redirect(url_for("archives.show", course_id=course_id))


def _confirm(course: Course, error: str = "") -> str:
    homes, archived = records.counts(g.session, course)
    return render_template(
        "confirm.html",
        title=_("Do without missing archives of %(title)s", title=course.title),
        consequences=[
            ngettext(
                "One home has no archive: its files are lost when the hub is removed.",
                "%(num)d homes have no archive: their files are lost when the hub is removed.",
                homes - archived,
            ),
            _("What can still be copied is copied before the removal."),
            _("If the course is extended, its next end wants all archives again."),
            _("Your name and your reason go into the audit log."),
        ],
        action_url=url_for("archives.waive", course_id=course.id),
        button=_("Do without them"),
        back_url=url_for("archives.show", course_id=course.id),
        reason_label=_("Why may the files be lost?"),
        reason=request.form.get("reason", ""),
        error=error,
    )
