"""The button that moves a demo's clock."""

from __future__ import annotations

from flask import Blueprint, abort, flash, g, redirect, request
from flask_babel import ngettext
from werkzeug.wrappers import Response

from portal import demo
from portal.web.addresses import own_path
from portal.web.context import portal
from portal.web.database import transaction

blueprint = Blueprint("demo", __name__, url_prefix="/demo")


@blueprint.before_request
def only_in_demos() -> None:
    """Elsewhere there is no such page."""
    if not portal().settings.demo:
        abort(404)


@blueprint.post("/clock")
def move_clock() -> Response:
    """Some days on."""
    try:
        days = int(request.form.get("days", ""))
        with transaction() as session:
            demo.move(session, portal().clock, g.actor, days)
    except ValueError:
        abort(400)
    flash(ngettext("The clock is a day further.", "The clock is %(num)s days further.", days), "success")
    return redirect(own_path(request.form.get("next")))
