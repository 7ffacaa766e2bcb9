"""Numbers for Prometheus: what the web processes counted, and what the database says now."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""Set by `portal.gunicorn` where there are several processes."""

_own = CollectorRegistry()
_requests = Counter("jhaas_requests", "Requests answered.", ("method", "route", "status"), registry=_own)
_seconds = Histogram(
    "jhaas_request_seconds",
    "Seconds until an answer began.",
    ("route",),
    registry=_own,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_COUNTS = (
    ("jhaas_courses", "Courses by status.", "status", "SELECT status, count(*) FROM courses GROUP BY status"),
    (
        "jhaas_operations",
        "Operations by kind and status.",
        "kind status",
        "SELECT kind, status, count(*) FROM operations GROUP BY kind, status",
    ),
    (
        "jhaas_attempts_live",
        "Attempts without a result: in the queue, or claimed by a worker.",
        "state",
        """SELECT CASE WHEN claimed_at IS NULL THEN 'queued' ELSE 'claimed' END, count(*) FROM attempts
        WHERE result IS NULL GROUP BY 1""",
    ),
    (
        "jhaas_queue_oldest_seconds",
        "Seconds for which the oldest attempt has been waiting for a worker.",
        "",
        """SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0) FROM attempts
        WHERE result IS NULL AND claimed_at IS NULL""",
    ),
    (
        "jhaas_due_oldest_seconds",
        "Seconds for which the most overdue course has been waiting for the scheduler.",
        "",
        """SELECT greatest(coalesce(extract(epoch FROM now() - min(next_due_at)), 0), 0) FROM courses
        WHERE next_due_at IS NOT NULL""",
    ),
    (
        "jhaas_mails_unsent",
        "Mails that wait to be sent.",
        "",
        "SELECT count(*) FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL",
    ),
    ("jhaas_sessions", "Sessions that are not past their end.", "",
     "SELECT count(*) FROM web_sessions WHERE expires_at > now()"),
)  # fmt: skip
"""Name, meaning, labels, query: the labels' values and the number."""


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request. Routes are rules, never paths: their number is bounded."""
    _requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
    _seconds.labels(route).observe(seconds)


def exposition(engine: Engine) -> tuple[bytes, str]:
    """All metrics in Prometheus' text form, with its content type."""
    registry = CollectorRegistry()
    if os.environ.get(MULTIPROCESS):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted = generate_latest(registry)
    else:
        counted = generate_latest(_own)
    stored = CollectorRegistry()
    stored.register(_Database(engine))
    return counted + generate_latest(stored), CONTENT_TYPE_LATEST


class _Database(Collector):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("jhaas_database_up", "Whether the database answers.")
        try:
            with self._engine.connect() as connection:
                yield from [_gauge(connection, *one) for one in _COUNTS]
            up.add_metric([], 1)
        except SQLAlchemyError:
            up.add_metric([], 0)
        yield up


def _gauge(connection: Connection, name: str, meaning: str, labels: str, query: str) -> Metric:
    gauge = GaugeMetricFamily(name, meaning, labels=labels.split())
    for *values, number in connection.execute(text(query)):
        gauge.add_metric([str(value) for value in values], float(number))
    return gauge
