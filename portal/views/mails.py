"""The outbox, for governance: what was sent to whom, what waits, and what was given up."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext as _
from sqlalchemy import Select, select
from werkzeug.wrappers import Response

from portal import audit
from portal.mail.events import EVENTS
from portal.mail.sender import retry
from portal.models import Mail
from portal.web.access import governance_only
from portal.web.context import portal
from portal.web.database import transaction

blueprint = governance_only(Blueprint("mails", __name__, url_prefix="/governance/mails"))

PAGE = 50
_STATES = {
    "waiting": (Mail.sent_at.is_(None), Mail.given_up_at.is_(None)),
    "sent": (Mail.sent_at.is_not(None),),
    "given_up": (Mail.given_up_at.is_not(None),),
}


@blueprint.get("/")
def outbox() -> str:
    """The newest first, read in pieces by `before` (an instant)."""
    state = request.args.get("state", "")
    query: Select[Any] = select(Mail).where(*_STATES.get(state, ()))
    if (event := request.args.get("event", "")) in EVENTS:
        query = query.where(Mail.event == event)
    if words := request.args.get("q", "").strip()[:100]:
        query = query.where(Mail.recipient.icontains(words, autoescape=True))
    if (before := _instant(request.args.get("before", ""))) is not None:
        query = query.where(Mail.created_at < before)
    found = list(g.session.scalars(query.order_by(Mail.created_at.desc(), Mail.id).limit(PAGE + 1)))
    mails = found[:PAGE]
    return render_template(
        "mails/outbox.html",
        mails=mails,
        state_of=state_of,
        state=state,
        event=event,
        events=sorted(EVENTS),
        search=words,
        older=mails[-1].created_at.isoformat() if len(found) > PAGE else None,
    )


@blueprint.post("/<uuid:mail_id>/retry")
def try_again(mail_id: uuid.UUID) -> Response:
    """Let one mail begin anew."""
    with transaction() as session:
        mail = session.get(Mail, mail_id, with_for_update=True)
        if mail is None:
            abort(404)
        retry(portal().clock, mail)
        audit.record(session, portal().clock, g.actor, "mail.retry", subject=mail.id)
    flash(_("The mail is sent as soon as possible."), "success")
    return redirect(url_for("mails.outbox"))


def state_of(mail: Mail) -> str:
    """waiting, sent or given_up."""
    return "sent" if mail.sent_at else "given_up" if mail.given_up_at else "waiting"


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo and found.year > 1 else None
