"""Operations: all of them for governance, one of them for those who are responsible for its course, and live."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, abort, current_app, g, jsonify, render_template, request, stream_with_context
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from portal.actor import roles_in
from portal.i18n import translate
from portal.lifecycle import Role
from portal.models import Attempt, AttemptEvent, Course, Operation
from portal.operations import watching
from portal.operations.kinds import KIND_NAMES, Kind
from portal.operations.watching import FINAL, Position
from portal.show import OPERATION, clock_time
from portal.web.access import governance_only
from portal.web.context import portal
from portal.web.database import release
from portal.web.live import SPARE_THREADS, Crowded, Live, Watcher

blueprint = Blueprint("operations", __name__, url_prefix="/operations")

PAGE = 50
STREAM_SECONDS = 300.0
"""A stream is closed after so long; the browser opens the next one where it stopped."""
COMMENT_SECONDS = 15.0
"""So often something is sent, or a proxy would take the stream for dead."""
LOOK_SECONDS = 5.0
"""So often a stream looks itself, whatever was heard."""


@blueprint.get("/")
@governance_only
def index() -> str:
    """All operations, newest first, by kind, status and course."""
    kind, status, slug = (request.args.get(name, "") for name in ("kind", "status", "course"))
    query = select(Operation).options(joinedload(Operation.course)).order_by(Operation.number.desc()).limit(PAGE + 1)
    if kind in set(Kind):
        query = query.where(Operation.kind == kind)
    if status in OPERATION:
        query = query.where(Operation.status == status)
    if slug:
        query = query.where(Operation.course_id.in_(select(Course.id).where(Course.slug == slug.strip().lower())))
    if (before := request.args.get("before", "")).isdecimal() and len(before) < 18:
        query = query.where(Operation.number < int(before))
    found = list(g.session.scalars(query))
    return render_template(
        "operations/index.html",
        operations=found[:PAGE],
        older=found[PAGE - 1].number if len(found) > PAGE else None,
        kinds=[(one, translate(KIND_NAMES[one])) for one in Kind],
        statuses=[(one, translate(OPERATION[one].text)) for one in OPERATION if one != "lost"],
    )


@blueprint.get("/<uuid:operation_id>")
def show(operation_id: uuid.UUID) -> str:
    """One operation with its attempts and what they told."""
    operation = _visible(g.session, operation_id)
    return render_template(
        "operations/show.html", operation=operation, watched=watching.watch(g.session, operation), final=FINAL
    )


@blueprint.get("/<uuid:operation_id>/log")
def log(operation_id: uuid.UUID) -> Response:
    """Everything that was told, as text."""
    operation = _visible(g.session, operation_id)
    head = f"{operation.course.slug}: {operation.kind}, {operation.status}"

    def text() -> Iterator[str]:
        with portal().sessions() as session:
            yield from watching.log_of(session, operation_id, [head])

    release()
    name = f"{operation.course.slug}-{operation.kind}-{operation.number}.log"
    response = Response(stream_with_context(text()), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    return response


@blueprint.get("/<uuid:operation_id>/news")
def news(operation_id: uuid.UUID) -> Response:
    """What was told after `?after=`, for pages that poll."""
    operation = _visible(g.session, operation_id)
    events = watching.events_after(g.session, operation_id, watching.position_of(request.args.get("after")))
    return jsonify(
        events=[_message(event) for event in events],
        after=watching.id_of((events[-1].attempt_id, events[-1].n)) if events else request.args.get("after", "0:0"),
        end=_end(operation.status) if operation.status in FINAL and len(events) < 500 else None,
    )


@blueprint.get("/<uuid:operation_id>/events")
def events(operation_id: uuid.UUID) -> Response:
    """The same as server-sent events, from `Last-Event-ID` (or `?after=`) on. 503 where too many are open."""
    _visible(g.session, operation_id)
    after = watching.position_of(request.headers.get("Last-Event-ID") or request.args.get("after"))
    live = _live()
    try:
        watcher = live.enter()
    except Crowded:
        abort(503)
    release()
    stream = _stream(live, watcher, operation_id, after)
    response = Response(stream_with_context(stream), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(lambda: live.leave(watcher))
    return response


def _stream(live: Live, watcher: Watcher, operation_id: uuid.UUID, position: Position) -> Iterator[str]:
    """Events as they come; then the operation's end, or a good-bye after some minutes."""
    make = portal().sessions
    over = time.monotonic() + STREAM_SECONDS
    sent = time.monotonic()
    yield "retry: 2000\n\n"
    while time.monotonic() < over and not live.stopped:
        with make() as session:
            attempts = session.scalars(select(Attempt.id).where(Attempt.operation_id == operation_id))
            watcher.attempts = frozenset(attempts)
            # the status first: what is told after it was read is read below
            status = session.scalar(select(Operation.status).where(Operation.id == operation_id))
            found = watching.events_after(session, operation_id, position)
        for event in found:
            position = (event.attempt_id, event.n)
            yield f"id: {watching.id_of(position)}\ndata: {json.dumps(_message(event))}\n\n"
            sent = time.monotonic()
        if found:
            continue
        if status is None or status in FINAL:
            yield f"event: end\ndata: {json.dumps(_end(status or 'cancelled'))}\n\n"
            return
        if time.monotonic() - sent >= COMMENT_SECONDS:
            yield ": still here\n\n"
            sent = time.monotonic()
        watcher.wait(min(LOOK_SECONDS, max(0.0, over - time.monotonic())))


def _message(event: AttemptEvent) -> dict[str, Any]:
    """An event as the page's script takes it: texts in the reader's language."""
    message: dict[str, Any] = {"type": event.type}
    for line in watching.lines_of(event):
        message |= {"text": translate(line.text, **line.values) if line.values else translate(line.text)}
        message |= {"kind": line.kind, "time": clock_time(event.at).striptags()}
    if event.type == "resource":
        resource = watching.resource_of(event.content)
        message |= {"name": resource.name, "action": translate(resource.action), "state": resource.state}
    if event.type == "progress":
        message |= {"done": event.content["done"], "total": event.content["total"]}
    return message


def _end(status: str) -> dict[str, str]:
    return {"status": status, "text": _("The operation is over: %(status)s.", status=translate(OPERATION[status].text))}


def _live() -> Live:
    parts = portal()
    found: Live = current_app.extensions.setdefault(
        "jhaas-live", Live(parts.engine, max(0, parts.settings.web_threads - SPARE_THREADS))
    )
    return found


def _visible(session: Session, operation_id: uuid.UUID) -> Operation:
    """The operation with course and attempts; 404 for those who are neither governance nor lead of its course."""
    operation = session.get(
        Operation, operation_id, options=[joinedload(Operation.course), selectinload(Operation.attempts)]
    )
    if operation is None or not roles_in(session, g.actor, operation.course) & {Role.LEAD, Role.GOVERNANCE}:
        abort(404)
    return operation
