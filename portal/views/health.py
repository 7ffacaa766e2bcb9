"""What machines ask: does the process live, can it work, and how much has it done."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from flask import Blueprint, abort, make_response, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from portal import metrics, migrations
from portal.web.access import allow_anonymous
from portal.web.context import portal

blueprint = Blueprint("health", __name__)
allow_anonymous(blueprint)


@blueprint.get("/health/live")
def live() -> dict[str, str]:
    """The process answers; nothing else is asked of anything."""
    return {"status": "live"}


@blueprint.get("/health/ready")
def ready() -> tuple[dict[str, str], int]:
    """503 unless the database answers and has this version's form. An identity provider that is down is told, no
    more: who is signed in can go on reading."""
    found = {"database": _database(), "identity_provider": portal().provider.state}
    return found, 200 if found["database"] == "ok" else 503


@blueprint.get("/metrics")
def prometheus() -> Response:
    """Metrics for Prometheus: with the token of the settings, or from this machine where none is set."""
    if not _may_measure():
        abort(404)
    body, kind = metrics.exposition(portal().engine)
    response = make_response(body)
    response.headers["Content-Type"] = kind
    return response


def _database() -> str:
    try:
        with portal().engine.connect() as connection:
            return "ok" if migrations.is_current(connection) else "migrations are missing: run `jhaas portal migrate`"
    except SQLAlchemyError:
        return "away"


def _may_measure() -> bool:
    token = portal().settings.metrics_token
    if token is not None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), token.get_secret_value().encode())
    try:
        return ip_address(request.remote_addr or "").is_loopback and "X-Forwarded-For" not in request.headers
    except ValueError:
        return False
