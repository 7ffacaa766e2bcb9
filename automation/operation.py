"""The child process of one operation: `python -m automation.operation`.

It reads one line of JSON, the `Job`, from stdin, with the secrets in it; then stdin stays open and carries `renew` (the
lease is still held) and `cancel`. It is the root of the operation's process tree, and ends that tree whole: when the
engine is done, when it is cancelled or its time is up, when stdin closes or the lease was not renewed.

What happens is told as one JSON line each on stdout (`automation.events`, and last the `result`); stderr is the log.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import traceback

from automation import processes
from automation.control import Control, Teller
from automation.events import Finished
from automation.failures import OperationFailed, classify
from automation.job import Job


def main() -> None:
    """Run one operation; never returns."""
    begun = time.monotonic()
    stdout = os.dup(1)
    # Whatever a program or a library prints goes into the log, not between our events.
    os.dup2(2, 1)
    processes.become_subreaper()
    line, rest = _first_line()
    job = Job.from_line(line)
    secrets = tuple(v for v in (job.settings.get("secret_access_key"), job.settings.get("passphrase")) if v)
    teller = Teller(stdout, secrets)
    control = Control(job, teller, begun, rest)

    def work() -> None:
        try:
            from automation.work import run

            control.result = run(job, teller, control)
        except OperationFailed as failure:
            control.failure = failure
        except Exception as error:  # noqa: BLE001 - whatever it is, the operation has failed
            teller.log(traceback.format_exc())
            control.failure = classify([f"{type(error).__name__}: {error}"])
        control.finish()

    threading.Thread(target=work, name="engine", daemon=True).start()
    ended = control.wait()
    processes.kill_operation(job.operation, spare=os.getpid())
    processes.reap()
    shutil.rmtree(job.folder, ignore_errors=True)
    failure = control.failure if ended else None
    if control.cause is not None and (failure is not None or not ended):
        failure = control.cause
    seconds = round(time.monotonic() - begun, 3)
    if failure is not None:
        teller.event(Finished(job.operation, seconds, {}, type(failure).__name__, failure.message))
    else:
        assert control.result is not None, "an engine thread that ended without failure has a result"
        # The result may hold secret outputs: it goes through the pipe and into no log.
        teller.send(json.dumps({"type": "result", **control.result}))
        teller.event(Finished(job.operation, seconds, control.result["changes"]))
    # Not sys.exit: threads of the engine that were given up must not hold the process.
    os._exit(0 if failure is None else 1)


def _first_line() -> tuple[bytes, bytes]:
    """The job, and what was received after it."""
    received = b""
    while b"\n" not in received:
        chunk = os.read(0, 65536)
        if not chunk:
            os._exit(2)
        received += chunk
    line, _, rest = received.partition(b"\n")
    return line, rest


if __name__ == "__main__":
    main()
