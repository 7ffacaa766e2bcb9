"""What an attempt tells while it runs, stored a few times a second, in order, and only while the attempt is ours."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from automation.events import Event
from portal.db import Sessions, transaction
from portal.models import AttemptEvent
from portal.operations.attempts import Claim, guard
from portal.worker.run import AttemptLost

CHANNEL = "jhaas_events"
"""Postgres channel on which the number of an attempt is sent whenever it has told something new."""

INTERVAL = 0.2
"""Seconds between two writes."""

LONGEST_TEXT = 4000
"""Characters of one text; the log file has all of it."""

MOST = 20_000
"""Events of one attempt; of what comes later, lines of the engine are in the log file only."""

_ALWAYS = frozenset({"step", "warning", "finished"})


def content_of(event: Event) -> dict[str, Any]:
    """What is stored of an event: its fields, without those that only the engine's side needs."""
    found = dataclasses.asdict(event)
    for name, value in found.items():
        if isinstance(value, str):
            found[name] = _kept(value)
    return found


def _kept(text: str) -> str:
    # Postgres keeps no NUL character in JSON
    return text.replace("\0", "")[:LONGEST_TEXT]


def store(session: Session, mine: Claim, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Append (type, content) to what the attempt has told, and wake those who watch. Raises `AttemptLost`."""
    guard(session, mine)
    last = session.scalar(
        select(func.coalesce(func.max(AttemptEvent.n), 0)).where(AttemptEvent.attempt_id == mine.attempt_id)
    )
    assert last is not None
    kept = [one for i, one in enumerate(events, last + 1) if i <= MOST or one[0] in _ALWAYS]
    if rows := [
        {"attempt_id": mine.attempt_id, "n": n, "at": func.clock_timestamp(), "type": kind, "content": content}
        for n, (kind, content) in enumerate(kept, last + 1)
    ]:
        session.execute(insert(AttemptEvent).values(rows))
        wake(session, mine.attempt_id)


def wake(session: Session, attempt_id: int) -> None:
    """Tell those who watch the attempt that there is something new, once the transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, :id)"), {"channel": CHANNEL, "id": str(attempt_id)})


class EventWriter:
    """Takes events from any thread at once, and stores them from a thread of its own.

    While the database is away events wait here; once the attempt is lost they are dropped, for good.
    """

    def __init__(self, sessions: Sessions, mine: Claim) -> None:
        self._sessions = sessions
        self._mine = mine
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"events of attempt {mine.attempt_id}", daemon=True)
        self.lost = False

    def start(self) -> None:
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Raises `AttemptLost` once that is known."""
        if self.lost:
            raise AttemptLost
        if len(self._waiting) < MOST or event.type in _ALWAYS:
            self._waiting.append((event.type, content_of(event)))

    def step(self, sentence: str, **values: object) -> None:
        """Tell in one sentence what happens now; `values` fill its places, in whichever language it is read."""
        if self.lost:
            raise AttemptLost
        content: dict[str, Any] = {"text": _kept(sentence)}
        if values:
            content["values"] = {name: _kept(str(value)) for name, value in values.items()}
        self._waiting.append(("step", content))

    def flush(self) -> None:
        """Store what waits. Raises `AttemptLost`, and what the database raises; nothing is forgotten then."""
        with self._writing:
            batch = list(self._waiting)[:500]
            if not batch:
                return
            try:
                with transaction(self._sessions) as session:
                    store(session, self._mine, batch)
            except AttemptLost:
                self.lost = True
                self._waiting.clear()
                raise
            for _ in batch:
                self._waiting.popleft()

    def close(self) -> None:
        """Stop, having stored what can be stored now."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush_quietly()

    def _run(self) -> None:
        while not self._closed.wait(INTERVAL):
            self._flush_quietly()

    def _flush_quietly(self) -> None:
        try:
            while self._waiting:
                self.flush()
        except (AttemptLost, DBAPIError):
            # lost: said by the next `tell`; no database: the batch is tried again
            pass
