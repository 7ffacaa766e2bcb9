"""How an operation's process tells what happens, and how it ends: when it is done, asked to, late, or left alone."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from automation.events import Event, in_words, to_json
from automation.failures import Cancelled, DeadlinePassed, LeaseLost, OperationFailed
from automation.job import Job

if TYPE_CHECKING:
    from automation.engine import Engine


class Teller:
    """Tells events on stdout and writes the log. Whoever listens may be gone; the log is the record."""

    def __init__(self, stdout: int, secrets: tuple[str, ...]) -> None:
        self._stdout = stdout
        self._secrets = secrets
        self._lock = threading.Lock()

    def event(self, event: Event) -> None:
        if text := in_words(event):
            self.log(text)
        self.send(self._masked(to_json(event)))

    def send(self, line: str) -> None:
        rest = line.encode() + b"\n"
        with self._lock, contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._stdout, rest) :]

    def log(self, text: str) -> None:
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3]
        lines = "".join(f"{stamp}Z {line}\n" for line in self._masked(text).splitlines())
        # Where the disk is full, the operation must still end in order.
        with self._lock, contextlib.suppress(OSError):
            os.write(2, lines.encode(errors="replace"))

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]").replace(json.dumps(secret)[1:-1], "[secret]")
        return text


class _Ending:
    """Why and since when the operation is being ended."""

    def __init__(self, failure: OperationFailed, graceful: float) -> None:
        self.failure = failure
        self.abort_at = time.monotonic() + graceful
        self.kill_at: float | None = None


class Control:
    """The main thread: watches stdin, the clock and the lease while another thread runs the engine."""

    def __init__(self, job: Job, teller: Teller, begun: float, received: bytes) -> None:
        self._job = job
        self._teller = teller
        self._begun = begun
        self._renewed = time.monotonic()
        self._ending: _Ending | None = None
        self._received = received
        self._stdin_open = True
        self._asked = True
        self.engine: Engine | None = None
        self.done, self._wake = os.pipe()
        self.result: dict[str, Any] | None = None
        self.failure: OperationFailed | None = None

    def finish(self) -> None:
        """Called by the engine's thread when it has ended."""
        os.write(self._wake, b"x")

    def wait(self) -> bool:
        """Until the engine's thread has ended (True) or must be killed (False)."""
        signal.signal(signal.SIGTERM, lambda *_: os.write(self._wake, b"c"))
        while True:
            watched = [self.done, 0] if self._stdin_open else [self.done]
            ready, _, _ = select.select(watched, [], [], self._patience())
            if self.done in ready:
                word = os.read(self.done, 1)
                if word == b"x":
                    return True
                self._end(
                    Cancelled("The operation was cancelled (its process was asked to end)."), self._job.timing.graceful
                )
            if 0 in ready:
                self._read()
            if not self._on_time():
                return False

    @property
    def cause(self) -> OperationFailed | None:
        """Why the operation was ended from outside, if it was."""
        return self._ending.failure if self._ending else None

    def _read(self) -> None:
        received = os.read(0, 4096)
        if not received:
            self._stdin_open = False
            self._end(LeaseLost("The process that started the operation is gone."), self._job.timing.abandoned)
            return
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            if line == b"renew":
                self._renewed = time.monotonic()
            elif line == b"cancel":
                self._end(Cancelled("The operation was cancelled."), self._job.timing.graceful)

    def _on_time(self) -> bool:
        """Take the steps whose time has come; False when everything must be killed."""
        now = time.monotonic()
        if now >= self._lease_end():
            self._ending = _Ending(LeaseLost("The right to work on the course was not renewed in time."), 0)
            return False
        if now >= self._begun + self._job.timing.deadline and self._ending is None:
            seconds = f"{self._job.timing.deadline:g}"
            self._end(DeadlinePassed(f"The operation did not end within {seconds} s."), self._job.timing.graceful)
        if self._ending is None:
            return True
        if not self._asked and self.engine is not None:
            # Between two commands there is nobody to ask: try again soon.
            self._asked = self.engine.cancel_running()
        if self._ending.kill_at is None and now >= self._ending.abort_at:
            self._ending.kill_at = now + self._job.timing.abort
            self._teller.log("asking the engine to end at once")
            if self.engine is not None:
                self.engine.abort_running()
        return self._ending.kill_at is None or now < self._ending.kill_at

    def _end(self, failure: OperationFailed, graceful: float) -> None:
        if self._ending is not None:
            self._ending.abort_at = min(self._ending.abort_at, time.monotonic() + graceful)
            return
        self._ending = _Ending(failure, graceful)
        self._teller.log(f"ending: {failure.message} Running steps may take {graceful:g} s.")
        self._asked = False

    def check(self) -> None:
        """Called by the engine's thread before each command. Raises the cause if the operation is being ended."""
        if self._ending is not None:
            raise self._ending.failure

    def _patience(self) -> float:
        ends = [self._lease_end()]
        if self._ending is None:
            ends.append(self._begun + self._job.timing.deadline)
        else:
            ends.append(self._ending.abort_at if self._ending.kill_at is None else self._ending.kill_at)
            if not self._asked:
                ends.append(time.monotonic() + 0.2)
        return min(3600.0, max(0.0, min(ends) - time.monotonic()))

    def _lease_end(self) -> float:
        # Well before the lease itself ends, so that nothing of ours lives when somebody else may begin.
        return float("inf") if self._job.lease_lifetime is None else self._renewed + 0.8 * self._job.lease_lifetime
