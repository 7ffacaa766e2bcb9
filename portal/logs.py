"""Logs: one line an event, JSON in production and readable on a terminal; each with the request it belongs to.

What is never logged: bodies, queries, paths (they may hold join codes), cookies, tokens, names of people. A request is
told by its route, a person by id.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time
from typing import Any

import structlog
from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from structlog.typing import Processor

from portal import metrics

_PLAUSIBLE = re.compile(r"[A-Za-z0-9_-]{8,64}")
_log = structlog.get_logger("jhaas.web")

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(*, json: bool | None = None) -> None:
    """Let everything that logs in this process write to standard error in one form. `json` None: unless a terminal
    reads it."""
    as_json = not sys.stderr.isatty() if json is None else json
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]  # never with locals
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("httpx", "httpx2", "httpcore", "botocore", "alembic", "werkzeug", "procrastinate"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def set_up(app: Flask, *, believe_proxy: bool) -> None:
    """Give each request an id, and tell of it when it is answered.

    The id of a proxy before us is taken where one is believed at all, and only if it looks like one."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-ID", "") if believe_proxy else ""
        g.request_id = given if _PLAUSIBLE.fullmatch(given) else secrets.token_hex(8)
        g.began = time.perf_counter()
        clear_contextvars()
        bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.get("request_id", "")
        route = request.url_rule.rule if request.url_rule else "none"
        seconds = time.perf_counter() - g.get("began", time.perf_counter())
        metrics.observe(request.method, route, response.status_code, seconds)
        if request.blueprint != "health" and request.endpoint != "static":
            actor = g.get("actor")
            facts: dict[str, Any] = {
                "method": request.method,
                "route": route,
                "status": response.status_code,
                "milliseconds": round(seconds * 1000, 1),
                "person": str(actor.id) if actor and actor.id else None,
            }
            _log.info("request", **facts)
        return response
