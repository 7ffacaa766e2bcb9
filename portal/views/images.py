"""The image catalogue, for governance."""

from __future__ import annotations

import uuid

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response

from portal.courses import images
from portal.courses.problems import Invalid
from portal.forms import Form, FormErrors, blank_form, parse_form, sent_form
from portal.models import CatalogueImage
from portal.web.access import governance_only
from portal.web.context import portal
from portal.web.database import transaction

blueprint = governance_only(Blueprint("images", __name__, url_prefix="/governance/images"))


@blueprint.get("")
def catalogue() -> str:
    """All images, in the order in which teachers see them."""
    return render_template("governance/images.html", images=images.catalogue(g.session))


@blueprint.route("/new", methods=["GET", "POST"])
def add() -> Response | str | tuple[str, int]:
    """One more image."""
    if request.method == "GET":
        return _page(blank_form(images.ImageEntry))
    entry = parse_form(images.ImageEntry, request.form)
    if isinstance(entry, FormErrors):
        return _page(entry), 422
    try:
        with transaction() as session:
            images.add_image(session, portal().clock, g.actor, entry)
    except Invalid as error:
        return _page(sent_form(images.ImageEntry, request.form, error.problems)), 422
    flash(_("%(title)s is in the catalogue.", title=entry.title), "success")
    return redirect(url_for("images.catalogue"))


@blueprint.route("/<uuid:image_id>", methods=["GET", "POST"])
def edit(image_id: uuid.UUID) -> Response | str | tuple[str, int]:
    """Other facts for an image."""
    image = g.session.get(CatalogueImage, image_id)
    if image is None:
        abort(404)
    if request.method == "GET":
        return _page(blank_form(images.ImageEntry, images.as_entry(image)), image)
    entry = parse_form(images.ImageEntry, request.form)
    if isinstance(entry, FormErrors):
        return _page(entry, image), 422
    try:
        with transaction() as session:
            images.change_image(session, portal().clock, g.actor, image_id, entry)
    except Invalid as error:
        return _page(sent_form(images.ImageEntry, request.form, error.problems), image), 422
    flash(_("%(title)s is changed.", title=entry.title), "success")
    return redirect(url_for("images.catalogue"))


def _page(form: Form, image: CatalogueImage | None = None) -> str:
    return render_template("governance/image.html", form=form, image=image)
