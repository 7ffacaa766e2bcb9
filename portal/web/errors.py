"""What people see when something is not as it should be: a page with one sentence and the request's id, no details."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_babel import gettext as _
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException, InternalServerError

from portal.courses.problems import Invalid, Refused, Stale
from portal.texts import N_

_log = structlog.get_logger("jhaas.web")


class ProviderAway(Exception):
    """Roles are too old and cannot be asked for: reading goes on, changes wait."""


TEXTS: dict[int, tuple[str, str]] = {
    400: (N_("That did not work"), N_("The request was not understood. Go back, reload the page and try again.")),
    401: (N_("Not signed in"), N_("Sign in and try again.")),
    403: (N_("Not allowed"), N_("Your account may not do that. If you need it, ask the people named below.")),
    404: (N_("Not found"), N_("There is nothing at this address, or nothing that you may see.")),
    405: (N_("That did not work"), N_("This address cannot be used like that.")),
    409: (N_("Not possible now"), N_("Something changed in the meantime, and nothing was done. Look again.")),
    413: (N_("Too large"), N_("What you sent is too large.")),
    421: (N_("Wrong address"), N_("The portal does not answer under this name.")),
    422: (N_("Please correct"), N_("Some fields are not right; nothing was saved.")),
    429: (N_("Too often"), N_("You tried too often. Wait a little and try again.")),
    500: (N_("Our mistake"), N_("Something went wrong here. Nothing of what you did was half-saved.")),
    503: (N_("Not available now"), N_("A part of the portal does not answer at the moment. Try again in a minute.")),
}
"""Status → title and sentence (message ids)."""

CSRF_TEXT = N_("The page was too old, or the request came from elsewhere. Go back, reload the page and try again.")
PROVIDER_TEXT = N_(
    "The identity provider does not answer, so that your roles cannot be checked. You can go on reading; "
    "changes are possible again as soon as it answers."
)


def set_up(app: Flask) -> None:
    """A page for everything that is raised."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(Stale, lambda _error: error_page(409))
    app.register_error_handler(StaleDataError, lambda _error: error_page(409))
    app.register_error_handler(Invalid, _invalid)
    app.register_error_handler(ProviderAway, lambda _error: error_page(503, _(PROVIDER_TEXT)))
    app.register_error_handler(OperationalError, _no_database)
    app.register_error_handler(DataError, _no_such_value)
    app.register_error_handler(Exception, _unforeseen)


def error_page(status: int, text: str | None = None, items: tuple[str, ...] = ()) -> Response:
    """The answer with this status: HTML for browsers, JSON for programs that ask for it.

    `text` takes the place of the status's own sentence (already translated); `items` are listed below it."""
    title, sentence = TEXTS.get(status, TEXTS[500 if status >= 500 else 400])
    facts = {
        "status": status,
        "title": _(title),
        "text": text or _(sentence),
        "items": items,
        "request_id": g.get("request_id", ""),
    }
    if wants_json():
        return make_response(jsonify(facts), status)
    try:
        return make_response(render_template("errors/error.html", **facts), status)
    except Exception:  # noqa: BLE001 - the page of an error must not fail for the reason of the error
        _log.exception("the error page failed", status=status)
        return make_response(f"{facts['title']}\n{facts['text']}\n{facts['request_id']}\n", status)


def wants_json() -> bool:
    """Whether a program asks that reads JSON rather than a page."""
    accepted = request.accept_mimetypes
    return accepted.best_match(["text/html", "application/json"], default="text/html") == "application/json"


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return make_response(error.get_response())
    is_csrf = type(error).__name__ == "CSRFError"
    response = error_page(status, _(CSRF_TEXT) if is_csrf else None)
    if (retry := getattr(error, "retry_after", None)) is not None:
        response.headers["Retry-After"] = str(int(retry))
    if (methods := getattr(error, "valid_methods", None)) is not None:
        response.headers["Allow"] = ", ".join(methods)
    return response


def _refused(error: Refused) -> Response:
    values = {name: _(value) for name, value in error.refusal.values}
    status = 403 if error.refusal.code == "not_yours" else 409
    return error_page(status, _(error.refusal.text, **values))


def _invalid(error: Invalid) -> Response:
    return error_page(422, items=tuple(str(problem) for problem in error.problems))


def _no_such_value(error: DataError) -> Response:
    """A number or text that the database cannot even hold: nothing has it."""
    _log.warning("a value that the database cannot hold", route=request.endpoint, reason=type(error.orig).__name__)
    return error_page(404 if request.method in ("GET", "HEAD") else 400)


def _no_database(error: OperationalError) -> Response:
    _log.error("the database does not answer", error=str(error.orig).strip().splitlines()[0])
    return error_page(503)


def _unforeseen(_error: Exception) -> Response:
    _log.exception("unforeseen", route=request.endpoint)
    return error_page(InternalServerError.code)
