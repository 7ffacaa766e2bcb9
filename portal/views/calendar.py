"""The capacity calendar: what runs when, and how full a target is, from a week to a year."""

from __future__ import annotations

import uuid
from typing import get_args

from flask import Blueprint, abort, g, render_template, request, url_for
from sqlalchemy import select

from portal.courses import room
from portal.forms import day_of
from portal.models import Lead, TargetRecord
from portal.pictures import occupancy as pictures
from portal.pictures.calendar import Zoom, neighbours, span
from portal.web.context import portal

blueprint = Blueprint("calendar", __name__)

_ZOOMS: tuple[Zoom, ...] = get_args(Zoom)


@blueprint.get("/calendar")
def show() -> str:
    """One target, and the span around a day. Teachers see their own courses by name, governance all."""
    user = g.actor.user
    if not (user.may_request or user.is_governance):
        abort(403)
    parts = portal()
    targets = list(g.session.scalars(select(TargetRecord).order_by(TargetRecord.name)))
    if not targets:
        return render_template("courses/no_target.html")
    target = next((one for one in targets if one.name == request.args.get("target")), targets[0])
    zoom: Zoom = next((one for one in _ZOOMS if one == request.args.get("zoom")), "month")
    day = day_of(request.args.get("from")) or parts.clock.today()
    first, last = span(zoom, day)
    before, after = neighbours(zoom, day)
    mine = set(g.session.scalars(select(Lead.course_id).where(Lead.user_id == user.id)))

    def url(course_id: uuid.UUID) -> str | None:
        if user.is_governance or course_id in mine:
            return url_for("courses.show", course_id=course_id)
        return None

    now = room.occupancy(g.session, parts.clock, parts.settings, target)
    return render_template(
        "courses/calendar.html",
        picture=pictures.picture(now, first, last, url=url),
        hidden=pictures.hidden(now, first, last),
        targets=targets,
        target=target,
        zooms=_ZOOMS,
        zoom=zoom,
        day=day,
        first=first,
        last=last,
        before=before,
        after=after,
        today=parts.clock.today(),
    )
