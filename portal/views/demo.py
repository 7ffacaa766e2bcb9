"""What only demos have: the button that moves the clock, and the mails that were kept instead of sent."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, abort, flash, g, redirect, render_template, request
from flask_babel import ngettext
from werkzeug.wrappers import Response

from portal import demo
from portal.mail import sink
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


@blueprint.get("/mails")
def mails() -> str:
    """What this machine's mail server kept, the newest first."""
    return render_template("mails/kept.html", mails=sink.mails(_kept(), most=100))


@blueprint.get("/mails/<name>")
def mail(name: str) -> str:
    """One of them."""
    found = sink.mail(_kept(), name)
    if found is None:
        abort(404)
    return render_template("mails/kept_mail.html", mail=found)


def _kept() -> Path:
    folder = portal().settings.data_folder
    if folder is None:
        abort(404)
    return folder / sink.FOLDER
