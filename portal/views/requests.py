"""Asking for a course, and for changes of one: forms that are checked by the models alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from course_stack.spec import CourseDesign, Problem
from portal.actor import roles_in
from portal.courses import extension, life
from portal.courses.changes import ONE_AT_A_TIME, open_change, request_change, withdraw_change
from portal.courses.images import offered
from portal.courses.problems import Invalid, Refused
from portal.courses.requests import (
    CourseRequest,
    Estimate,
    copy_of,
    estimate,
    first_values,
    request_of,
    revise,
    slug_of,
    withdraw,
)
from portal.courses.requests import (
    ask as ask_for,
)
from portal.courses.specs import design_of, revision_of, stored
from portal.forms import Form, FormErrors, blank_form, day_of, in_words, moved_form, parse_form, sent_form
from portal.i18n import translate
from portal.lifecycle import Action, Role
from portal.models import CatalogueImage, Course, TargetRecord
from portal.web.context import portal
from portal.web.course import kept, kept_change, version
from portal.web.database import transaction

blueprint = Blueprint("requests", __name__, url_prefix="/courses")

_PLACEHOLDERS = {"title": "Estimate", "slug": "estimate"}
"""What a size does not depend on: an estimate does not wait for it."""


@blueprint.get("/new")
def ask() -> str:
    """The form for a new course; `?from=` begins with what an old one had."""
    _only_who_may_ask()
    initial: dict[str, Any] = {}
    if (old := request.args.get("from")) is not None:
        try:
            course = g.session.get(Course, uuid.UUID(old))
        except ValueError:
            course = None
        if course is None or not roles_in(g.session, g.actor, course) & {Role.LEAD, Role.GOVERNANCE}:
            abort(404)
        initial = copy_of(g.session, g.actor, course)
    if not initial:
        initial = first_values(next(iter(_targets()), None), offered(g.session))
    return _page(blank_form(CourseRequest, initial), course=None)


@blueprint.post("/new")
def send() -> Response | str | tuple[str, int]:
    """Ask; with the button “check”, only say how large it is and whether there is room."""
    _only_who_may_ask()
    saved = _save(None, lambda session, wanted: ask_for(session, portal().clock, g.actor, wanted))
    if not isinstance(saved, Course):
        return saved
    flash(_("You have asked for the course. Governance decides, and you get a mail."), "success")
    return redirect(url_for("courses.show", course_id=saved.id))


@blueprint.post("/estimate")
def live_estimate() -> str:
    """The part of the form's page that says how large it is, for the form as it stands."""
    _only_who_may_ask()
    form, moved = _at_its_place(_with_image(request.form))
    return render_template("courses/_estimate.html", found=_estimate(form), unseen=moved)


@blueprint.route("/<uuid:course_id>/request", methods=["GET", "POST"])
def edit(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """Change what nobody has decided yet."""
    course, roles = kept(course_id)
    life.ensure(course, Action.REVISE, roles)
    if request.method == "GET":
        return _page(blank_form(CourseRequest, request_of(g.session, course)), course=course)
    saved = _save(
        course,
        lambda session, wanted: revise(session, portal().clock, g.actor, course_id, wanted, version=version()),
    )
    if not isinstance(saved, Course):
        return saved
    flash(_("The request is changed."), "success")
    return redirect(url_for("courses.show", course_id=course_id))


@blueprint.route("/<uuid:course_id>/withdraw", methods=["GET", "POST"])
def take_back(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """Take the request back; a GET says what that means."""
    course, roles = kept(course_id)
    if request.method == "GET":
        life.ensure(course, Action.WITHDRAW, roles)
        return _confirm_withdrawal(course)
    if request.form.get("consent") != "yes":
        return _confirm_withdrawal(course, _("Tick the box if you are sure.")), 422
    try:
        with transaction() as session:
            withdraw(
                session,
                portal().clock,
                g.actor,
                course_id,
                version=version(),
                reason=request.form.get("reason", ""),
            )
    except Invalid as error:
        return _confirm_withdrawal(course, _("The reason %(problem)s.", problem=in_words(error.problems[0]))), 422
    flash(_("The course is withdrawn."), "success")
    return redirect(url_for("courses.show", course_id=course_id))


@blueprint.route("/<uuid:course_id>/change", methods=["GET", "POST"])
def change(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """Ask for a change of an approved course: the form holds what is, and only differences are asked for."""
    course, roles = kept(course_id)
    life.ensure(course, Action.REQUEST_CHANGE, roles)
    if open_change(g.session, course):
        raise Refused(ONE_AT_A_TIME)
    if request.method == "GET":
        now = stored(design_of(revision_of(g.session, course)))
        return _change_page(blank_form(CourseDesign, now), course, course.approved_revision)
    base = request.form.get("base", type=int)
    if base is None:
        abort(400)
    form = _with_image(request.form)
    comment = request.form.get("comment", "")
    wanted = parse_form(CourseDesign, form)
    if isinstance(wanted, FormErrors):
        return _change_page(wanted, course, base, comment), 422
    try:
        with transaction() as session:
            request_change(session, portal().clock, g.actor, course_id, wanted, base=base, comment=comment)
    except Invalid as error:
        return _change_page(sent_form(CourseDesign, form, error.problems), course, base, comment), 422
    flash(_("You have asked for the change. Governance decides, and you get a mail."), "success")
    return redirect(url_for("courses.show", course_id=course_id) + "#changes")


@blueprint.post("/changes/<uuid:change_id>/withdraw")
def take_change_back(change_id: uuid.UUID) -> Response:
    """Take an open change back."""
    _change, course = kept_change(change_id)
    with transaction() as session:
        withdraw_change(session, portal().clock, g.actor, change_id)
    flash(_("The change is withdrawn."), "success")
    return redirect(url_for("courses.show", course_id=course.id) + "#changes")


@blueprint.route("/<uuid:course_id>/extend", methods=["GET", "POST"])
def extend(course_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """A later last day, with the room that there is until then."""
    parts = portal()
    course, roles = kept(course_id)
    if request.method == "GET":
        life.ensure(course, Action.EXTEND, roles)
        return _extension_page(course, roles, request.args.get("last_day", ""))
    typed = request.form.get("last_day", "")
    last_day = day_of(typed)
    if last_day is None:
        return _extension_page(course, roles, typed, error=_("Write a day of the calendar.")), 422
    try:
        with transaction() as session:
            extension.extend(session, parts.clock, parts.settings, g.actor, course_id, last_day)
    except Invalid as error:
        return _extension_page(course, roles, typed, error=_sentence(error.problems[0])), 422
    flash(_("The course runs longer now. Everybody in it gets a mail."), "success")
    return redirect(url_for("courses.show", course_id=course_id))


@dataclass(frozen=True, slots=True)
class Found:
    """An estimate, or why there is none yet."""

    estimate: Estimate | None
    missing: tuple[str, ...] = ()
    """Names of fields (translated) that the size depends on and that are not right yet."""


def _save(course: Course | None, deed: Callable[[Session, CourseRequest], Course]) -> Course | str | tuple[str, int]:
    """The course that the form was saved as; else the form again, with its size or with what is wrong.

    Nothing is saved that nobody has seen: values of another place are shown first.
    """
    form, moved = _at_its_place(_with_image(request.form))
    if moved or request.form.get("deed") == "check":
        return _page(sent_form(CourseRequest, form), course=course, found=_estimate(form), moved=moved)
    form = _with_slug(form)
    wanted = parse_form(CourseRequest, form)
    if isinstance(wanted, FormErrors):
        return _page(wanted, course=course), 422
    try:
        with transaction() as session:
            return deed(session, wanted)
    except Invalid as error:
        return _page(sent_form(CourseRequest, form, error.problems), course=course), 422


def _only_who_may_ask() -> None:
    user = g.actor.user
    if not (user.may_request or user.is_governance):
        abort(403)


def _targets() -> list[TargetRecord]:
    return list(g.session.scalars(select(TargetRecord).where(TargetRecord.is_open).order_by(TargetRecord.name)))


def _with_image(form: MultiDict[str, str]) -> MultiDict[str, str]:
    """A choice of the catalogue fills the image, and the start page unless another one was written."""
    chosen = form.get("catalogue", "")
    if not chosen:
        return form
    image = g.session.scalar(select(CatalogueImage).where(CatalogueImage.reference == chosen))
    filled = form.copy()
    filled["image"] = chosen
    known = {each.default_url for each in offered(g.session)} | {"", "/lab"}
    if image is not None and form.get("default_url", "").strip() in known:
        filled["default_url"] = image.default_url
    return filled


def _at_its_place(form: MultiDict[str, str]) -> tuple[MultiDict[str, str], list[str]]:
    """A form that was begun for another place: what nobody has changed follows the defaults of the place that is chosen
    now. With the labels of the fields that are others now."""
    names = [form.get("began", ""), form.get("target", "")]
    places = [g.session.get(TargetRecord, name) for name in names]
    if names[0] == names[1] or None in places:
        return form, []
    before, after = (first_values(place, offered(g.session)) for place in places)
    moved, labels = moved_form(CourseRequest, form, before, after)
    return moved, [translate(label) for label in labels]


def _with_slug(form: MultiDict[str, str]) -> MultiDict[str, str]:
    """A short name that nobody wrote is made of the title."""
    if form.get("slug", "").strip():
        return form
    filled = form.copy()
    filled["slug"] = slug_of(form.get("title", ""))
    return filled


def _estimate(form: MultiDict[str, str]) -> Found:
    parts = portal()
    filled = form.copy()
    for field, value in _PLACEHOLDERS.items():
        filled[field] = value
    wanted = parse_form(CourseRequest, filled)
    if isinstance(wanted, FormErrors):
        return Found(None, tuple(text for _id, text in wanted.summary))
    return Found(estimate(g.session, parts.clock, parts.settings, g.actor, wanted))


def _page(form: Form, *, course: Course | None, found: Found | None = None, moved: Sequence[str] = ()) -> str:
    if course is None and found is None and form.values.get("first_day"):
        found = _estimate(MultiDict(form.values))
    return render_template(
        "courses/ask.html",
        form=form,
        course=course,
        found=found,
        moved=moved,
        targets=_targets(),
        images=offered(g.session),
        today=portal().clock.today(),
        hub_domains={target.name: target.target.get("hub_domain", "") for target in _targets()},
    )


def _change_page(form: Form, course: Course, base: int, comment: str = "") -> str:
    return render_template(
        "courses/change.html",
        form=form,
        course=course,
        base=base,
        comment=comment,
        images=offered(g.session),
        is_deployed=course.applied_revision is not None,
    )


def _extension_page(course: Course, roles: frozenset[Role], typed: str, *, error: str = "") -> str:
    parts = portal()
    earliest, latest = extension.bounds(parts.clock, parts.settings, course, roles)
    found = None
    if not error and typed:
        last_day = day_of(typed)
        if last_day is None:
            error = _("Write a day of the calendar.")
        else:
            target = g.session.get_one(TargetRecord, course.target_name)
            try:
                found = extension.fit(g.session, parts.clock, parts.settings, g.actor, course, target, last_day, roles)
            except Invalid as problem:
                error = _sentence(problem.problems[0])
    return render_template(
        "courses/extend.html",
        course=course,
        typed=typed or earliest.isoformat(),
        earliest=earliest,
        latest=latest,
        found=found,
        error=error,
        today=parts.clock.today(),
    )


def _confirm_withdrawal(course: Course, error: str = "") -> str:
    return render_template(
        "confirm.html",
        title=_("Withdraw %(title)s", title=course.title),
        consequences=[
            _("The course is not set up, and what it would have held is free for others."),
            _("Leads, governance and whoever has joined get a mail."),
            _("You can ask for the same again at any time."),
        ],
        action_url=url_for("requests.take_back", course_id=course.id),
        button=_("Withdraw the course"),
        back_url=url_for("courses.show", course_id=course.id),
        hidden={"version": course.version},
        reason_label=_("Why? (optional)"),
        reason_required=False,
        reason=request.form.get("reason", ""),
        error=error,
    )


def _sentence(problem: Problem) -> str:
    text = in_words(problem)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
