"""The proof that a course works: somebody who is nobody starts a server, runs a notebook to its end, and is gone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import httpx

from automation.events import Warned
from automation.failures import HubFailed, OperationFailed
from course_stack.hub_files.trust import distrust
from course_stack.hub_rules import CHECK_USER
from course_stack.trust import context
from portal.archives import records
from portal.archives.places import storage_of
from portal.archives.storage import HomeStorage
from portal.hub_api import HubApi, Patience
from portal.reach import reach
from portal.texts import N_
from portal.worker.notebook import NotebookFailed, NotebookServer
from portal.worker.run import AttemptLost, Hub, Run

NOTEBOOK = "jhaas-check.ipynb"
NOTEBOOK_SECONDS = 180
"""From the server's first answer to the notebook's end."""
_AFTER_A_FAILURE = Patience(stop=30)
_TOKEN_SECONDS = 900
_PUBLIC_SECONDS = 60


def check(run: Run, *, patience: Patience | None = None) -> dict[str, Any]:
    """Prove that a notebook runs at the course's hub: through the edge, at the course's image and start page, with a
    home that can be written.

    The check's user, server and home are removed before and after, whatever happens. Raises `HubFailed` with one
    sentence that says what does not work.
    """
    if run.hub is None:
        raise HubFailed("The course has no hub that could be checked.")
    began = time.monotonic()
    storage = storage_of(run.target, run.slug)
    run.step(N_("Asking at the hub's public address"))
    _until_public(run.hub, run.check)
    with HubApi(run.hub, patience=patience, between=run.check) as api:
        _remove(api, storage)
        try:
            found = _run_notebook(run, run.hub, api)
        except AttemptLost:
            raise  # another worker may be checking
        except BaseException:
            # without `between`, which would raise again; what stays is removed by the next check
            with suppress(OperationFailed), HubApi(run.hub, patience=_AFTER_A_FAILURE) as ending:
                _remove(ending, storage)
            raise
        run.step(N_("Removing the user, the server and the home of the check"))
        _remove(api, storage)
    with run.transaction() as session:
        course, now = run.course(session), run.clock.now()
        course.checked_at = now
        records.remember_homes(session, course, storage.homes(), now)
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def _run_notebook(run: Run, hub: Hub, api: HubApi) -> dict[str, Any]:
    run.step(N_("Starting a notebook server"))
    api.make_user(CHECK_USER)
    api.start(CHECK_USER)
    token = api.make_token(CHECK_USER, _TOKEN_SECONDS)
    with NotebookServer(
        urljoin(hub.url, f"user/{CHECK_USER}/"), token, seconds=NOTEBOOK_SECONDS, between=run.check
    ) as server:
        server.wait_until_reached()
        run.step(N_("Opening the start page %(page)s"), page=run.spec.default_url)
        server.open_page(run.spec.default_url)
        cells = _cells()
        run.step(N_("Running a notebook"))
        server.write(NOTEBOOK, _notebook([code for code, _ in cells]))
        name = server.python_kernel()
        with server.kernel(NOTEBOOK, name) as kernel:
            if name is None:
                run.tell(Warned("The image has no Python: a kernel starts, but no notebook was run."))
                kernel.greet()
                return {"kernel": "", "cells": 0}
            for code, expected in cells:
                if (printed := kernel.run(code).strip()) != expected:
                    raise NotebookFailed(
                        f"The notebook computed something wrong: {printed[:100]!r} instead of {expected!r}."
                    )
    return {"kernel": name, "cells": len(cells)}


def _remove(api: HubApi, storage: HomeStorage) -> None:
    api.delete_user(CHECK_USER)
    storage.remove_check_home()


def _until_public(hub: Hub, between: Callable[[], None]) -> None:
    address = reach(urljoin(hub.url, "hub/api/"))
    deadline = time.monotonic() + _PUBLIC_SECONDS
    why: str | None = None
    headers = {"Host": address.host}
    with httpx.Client(headers=headers, timeout=10, verify=context(), trust_env=not address.is_local) as http:
        while True:
            try:
                answer = http.get(address.url)
                if answer.status_code == 200 and "version" in answer.json():
                    return
            except (httpx.HTTPError, ValueError) as error:
                # the edge may show another certificate until it has this hub's
                why = distrust(error)
            if time.monotonic() > deadline:
                if why:
                    raise HubFailed(f"The hub cannot be asked at its public address, {hub.url}: {why}")
                raise HubFailed(f"The hub does not answer at its public address, {hub.url}.")
            between()
            time.sleep(0.2)


def _cells() -> list[tuple[str, str]]:
    """Cells, and what each must print: from random numbers, so that nothing can know the answer beforehand."""
    numbers = [secrets.randbelow(10_000) for _ in range(5)]
    word = secrets.token_hex(8)
    write = f"""from pathlib import Path
file = Path.home() / "jhaas-check.txt"
file.write_text("{word}")
print(file.read_text()[::-1])"""
    return [
        (f"numbers = {numbers}\nprint(sum(n * n for n in numbers))", str(sum(n * n for n in numbers))),
        ("print(max(numbers) - min(numbers))", str(max(numbers) - min(numbers))),
        (write, word[::-1]),
    ]


def _notebook(cells: list[str]) -> dict[str, Any]:
    """A notebook of format 4.4."""
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {},
        "cells": [
            {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
            for code in cells
        ],
    }
