"""How gunicorn serves the portal: `gunicorn -c python:portal.gunicorn 'portal.gunicorn:application()'`.

Threads, since people who watch an operation hold one each (`web_threads` less four may be held so); no preloading,
since database connections and the process that listens for events must not be shared by a fork.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portal.local import settings_in_force

if TYPE_CHECKING:
    from flask import Flask

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The folder in which the web processes add up what they count. It must be known before prometheus_client is first
imported, which the processes do when they load the application."""
if MULTIPROCESS not in os.environ:
    os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="jhaas-metrics-")

_settings = settings_in_force()

bind = _settings.web_bind
workers = _settings.web_processes
worker_class = "gthread"
threads = _settings.web_threads
preload_app = False
timeout = 60
graceful_timeout = 20
# longer than proxies keep idle connections, which would else meet a closed one
keepalive = 120
accesslog = None  # `portal.logs` tells of requests, without their paths
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
proc_name = "jhaas-portal"
# the parts of a request that people can make long
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190


def post_worker_init(_worker: Any) -> None:
    """Streams end when the process is asked to: browsers come back to the next one, and nobody waits for them."""
    from portal.web import live

    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        live.stop_all()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, end)
    # what is loaded by now stays: looking through it for garbage held requests up for a tenth of a second and more
    gc.collect()
    gc.freeze()


def child_exit(_server: Any, worker: Any) -> None:
    """What a process that ended had counted stays; its gauges go."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    """Nothing of ours is left behind."""
    shutil.rmtree(os.environ[MULTIPROCESS], ignore_errors=True)


def application() -> Flask:
    """The application of one web process."""
    from portal import logs
    from portal.app import create_app

    logs.configure()
    return create_app(_settings)
