"""Waking those who watch operations: one connection of the process listens, each watcher waits on an event of its own.

A stream holds a thread of the web server for as long as it is open, so that only so many are let in as leave threads
for everybody else; whoever is not let in polls. No watcher holds a database connection while it waits.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from sqlalchemy import Engine

from portal.operations.events import CHANNEL

_log = structlog.get_logger("jhaas.live")

SPARE_THREADS = 4
"""Threads of a web process that no stream may take."""


_ALL: weakref.WeakSet[Live] = weakref.WeakSet()


def stop_all() -> None:
    """This process is asked to end. Returns at once: it is called while a signal is handled."""
    for live in list(_ALL):
        threading.Thread(target=live.stop, name="end of live events", daemon=True).start()


class Crowded(Exception):
    """No more streams are let in now: ask for what is new from time to time instead."""


class Watcher:
    """One stream: which attempts it watches, and whether there may be something new."""

    def __init__(self) -> None:
        self.attempts: frozenset[int] = frozenset()
        self._news = threading.Event()

    def wake(self) -> None:
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Until there may be something new, or the time is over."""
        self._news.wait(seconds)
        self._news.clear()


class Live:
    """The watchers of this process. Its thread and its connection begin with the first one: after every fork."""

    def __init__(self, engine: Engine, most: int) -> None:
        """Up to `most` watchers; the engine tells where the database is (its pool is not used)."""
        self._url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._most = most
        self._watchers: set[Watcher] = set()
        self._changed = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        _ALL.add(self)

    @property
    def stopped(self) -> bool:
        """Whether the process is ending: streams say good-bye, and browsers come back to another process."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End all streams soon."""
        self._stopped.set()
        self._wake_all()

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """A new watcher. Raises `Crowded`."""
        watcher = self.enter()
        try:
            yield watcher
        finally:
            self.leave(watcher)

    def enter(self) -> Watcher:
        """Raises `Crowded`; `leave` it in any case afterwards."""
        with self._changed:
            if len(self._watchers) >= self._most or self.stopped:
                raise Crowded
            watcher = Watcher()
            self._watchers.add(watcher)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._listen, name="live events", daemon=True)
                self._thread.start()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        with self._changed:
            self._watchers.discard(watcher)

    def _listen(self) -> None:
        pause = 0.5
        while not self.stopped:
            try:
                with psycopg.connect(self._url, autocommit=True, application_name="jhaas-live") as connection:
                    connection.execute(f'LISTEN "{CHANNEL}"')
                    self._wake_all()  # something may have been told while nobody listened
                    pause = 0.5
                    while not self._is_done():
                        for notice in connection.notifies(timeout=1, stop_after=100):
                            self._wake(notice.payload)
                    return
            except psycopg.Error as error:
                if self._is_done():
                    return
                _log.warning("live events are not heard; trying again", error=str(error).strip().splitlines()[:1])
                time.sleep(pause)  # watchers look from time to time themselves
                pause = min(pause * 2, 15)

    def _is_done(self) -> bool:
        """Nobody watches any more: the next watcher begins anew."""
        with self._changed:
            if self._watchers and not self.stopped:
                return False
            self._thread = None
            return True

    def _wake(self, payload: str) -> None:
        attempt = int(payload) if payload.isdigit() else 0
        with self._changed:
            for watcher in self._watchers:
                # an attempt that is newer than all that somebody knows may be the next one of their operation
                if attempt in watcher.attempts or attempt > max(watcher.attempts, default=0):
                    watcher.wake()

    def _wake_all(self) -> None:
        with self._changed:
            for watcher in self._watchers:
                watcher.wake()
