"""A course's hub on this machine: everything that it consists of, put in place and taken away.

Every step looks first and adopts what an interrupted run left; removing succeeds whatever is still there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import course_stack
from course_stack.local import processes
from course_stack.local.accounts import AccountBook
from course_stack.local.files import private_folder, remove_folder, write_file
from course_stack.local.homes import ensure_shared_volumes
from course_stack.local.hub_config import IN_CLEAR, HubConfig, routes_file, started
from course_stack.local.isolation import Isolation, isolation
from course_stack.local.layout import Layout
from course_stack.local.ports import PortBook
from course_stack.local.supervisor import Program, Supervisor
from course_stack.target import Target

START_SECONDS = 90
"""A hub answers after some seconds; on a busy machine with several hubs starting, later."""

Condition = Literal["running", "stopped", "changed", "without route"]
"""What a hub is found to be: as it was put, not running, with another configuration, or unknown to the edge."""


class HubError(Exception):
    """The hub could not be started or removed; the message says why, and where its log is."""


def program_name(slug: str) -> str:
    """The hub's name among supervisord's programs."""
    return f"hub-{slug}"


def reserve_port(layout: Layout, slug: str) -> int:
    """The hub's own port; a hub that runs keeps its port."""
    return PortBook(layout).reserve(slug, in_use_by_hub=_pid(Supervisor(layout), program_name(slug)) is not None)


def put(layout: Layout, config: HubConfig) -> None:
    """Bring the course's hub to this configuration, and wait until its public address answers.

    A hub that runs is restarted only where its configuration changed; notebook servers run on meanwhile. Raises
    `HubError`.
    """
    spec = config.spec
    folder = private_folder(private_folder(layout.hubs) / spec.slug)
    private_folder(layout.logs)
    with_accounts = isolation() is not Isolation.NONE
    ensure_shared_volumes(layout, spec, AccountBook(layout).groups(spec.slug) if with_accounts else None)
    text, name, supervisor = serialized(config), program_name(spec.slug), Supervisor(layout)
    damaged = condition(layout, spec.slug, digest(text)) in ("changed", "without route")
    write_file(folder / "config.json", text)
    before = _pid(supervisor, name)
    supervisor.set_program(name, program(layout, config))
    if damaged and before is not None and _pid(supervisor, name) == before:
        # somebody else changed its files: the program is as wanted, but must read and write them again
        supervisor.restart(name)
    wait_until_answers(layout, config.target, spec.slug)


def remove(layout: Layout, slug: str) -> None:
    """End the hub and every notebook server of the course, and remove all that belongs to them, homes included."""
    Supervisor(layout).remove_program(program_name(slug))
    processes.end(notebook_launchers(layout, slug) | hub_processes(layout, slug))
    if isolation() is Isolation.ACCOUNT:
        # what hid from its launcher; in a private view nothing can
        processes.end(processes.of_accounts(AccountBook(layout).courses().get(slug, frozenset())), patience=0)
    routes_file(layout, slug).unlink(missing_ok=True)
    for folder in (layout.hub(slug), layout.homes(slug), layout.shared(slug)):
        remove_folder(folder)
    for log in _logs(layout, slug):
        log.unlink(missing_ok=True)
    PortBook(layout).release(slug)
    AccountBook(layout).forget(slug)


def condition(layout: Layout, slug: str, expected_digest: str) -> Condition | None:
    """How the hub is now; None where there is none."""
    supervisor = Supervisor(layout)
    if program_name(slug) not in supervisor.program_names() or not (layout.hub(slug) / "config.json").exists():
        return None
    if digest((layout.hub(slug) / "config.json").read_text()) != expected_digest:
        return "changed"
    state = supervisor.status().get(program_name(slug))
    if state is None or state.state != "RUNNING":
        return "stopped"
    return "running" if routes_file(layout, slug).exists() else "without route"


def traces(layout: Layout, slug: str) -> list[str]:
    """Everything of the course's hub that this machine still holds, in words: the independent look. Empty after
    `remove`."""
    return list(_traces(layout, slug))


def courses(layout: Layout) -> frozenset[str]:
    """Slugs of all courses of which this machine holds anything."""
    slugs = {name.removeprefix("hub-") for name in Supervisor(layout).program_names() if name.startswith("hub-")}
    slugs |= {path.stem.removeprefix("hub-") for path in layout.routes.glob("hub-*.toml")}
    slugs |= {*PortBook(layout).read(), *AccountBook(layout).courses()}
    for parent in (layout.hubs, layout.homes("x").parent, layout.shared("x").parent):
        if parent.is_dir():
            slugs |= {entry.name for entry in parent.iterdir() if entry.is_dir()}
    return frozenset(slugs)


def notebook_launchers(layout: Layout, slug: str) -> frozenset[int]:
    """Processes in front of the course's notebook servers, whether its hub lives or not."""
    return processes.marked(processes.COURSE_MARK, str(layout.hub(slug)))


def hub_processes(layout: Layout, slug: str) -> frozenset[int]:
    """The hub's process and those of its services: they work in its folder, and some outlive a hub that was killed."""
    return processes.working_in(layout.hub(slug))


def program(layout: Layout, config: HubConfig) -> Program:
    """The hub as supervisord runs it. The digest makes a changed configuration a changed program: it restarts then,
    and only then."""
    slug = config.spec.slug
    return Program(
        command=(
            *started("jupyterhub.app"),
            "--config",
            str(Path(__file__).with_name("jupyterhub_config.py")),
        ),
        cwd=layout.hub(slug),
        log=log_file(layout, slug),
        env={
            "PYTHONPATH": str(Path(course_stack.__file__).parents[1]),
            "JHAAS_CONFIG_DIGEST": digest(serialized(config)),
        },
        stop_seconds=15,
    )


def log_file(layout: Layout, slug: str) -> Path:
    """The hub's log; supervisord keeps older parts beside it."""
    return layout.logs / f"hub-{slug}.log"


def serialized(config: HubConfig) -> str:
    """The configuration as it lies in the hub's folder, secrets in clear."""
    return config.model_dump_json(indent=1, context=IN_CLEAR) + "\n"


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def wait_until_answers(layout: Layout, target: Target, slug: str, seconds: float = START_SECONDS) -> None:
    """Wait until the hub answers at its public address: through the edge, which takes up a new route a moment after
    the hub says that it runs."""
    deadline = time.monotonic() + seconds
    supervisor = Supervisor(layout)
    while not _answers(target, slug):
        state = supervisor.status().get(program_name(slug))
        if state is not None and state.state == "FATAL":
            raise HubError(f"The hub of {slug} does not start: see {log_file(layout, slug)}.")
        if time.monotonic() > deadline:
            raise HubError(
                f"{target.hub_url(slug)} did not answer within {seconds:.0f} seconds: see {log_file(layout, slug)}, "
                "and `jhaas services status` for the edge."
            )
        time.sleep(0.1)


def _pid(supervisor: Supervisor, name: str) -> int | None:
    state = supervisor.status().get(name)
    return state.pid if state else None


def _answers(target: Target, slug: str) -> bool:
    # names below `localhost` are not resolved by the C library: the address is ours, the name goes into the header
    connection = http.client.HTTPConnection("127.0.0.1", target.hub_port or 80, timeout=10)
    try:
        connection.request("GET", "/hub/api/", headers={"Host": target.hub_host(slug)})
        response = connection.getresponse()
        return response.status == 200 and "version" in json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _traces(layout: Layout, slug: str) -> Iterator[str]:
    supervisor = Supervisor(layout)
    if program_name(slug) in supervisor.program_names() | set(supervisor.status()):
        yield f"program {program_name(slug)}"
    for pid in sorted(hub_processes(layout, slug)):
        yield f"hub or service of the hub, process {pid}"
    for pid in sorted(notebook_launchers(layout, slug)):
        yield f"notebook server, process {pid}"
    numbers = AccountBook(layout).courses().get(slug, frozenset())
    for pid in sorted(processes.of_accounts(numbers)):
        yield f"process {pid} of an account of the course"
    if numbers:
        yield f"{len(numbers)} account numbers"
    if (port := PortBook(layout).reserved(slug)) is not None:
        yield f"port {port}"
    for path in (routes_file(layout, slug), layout.hub(slug), layout.homes(slug), layout.shared(slug)):
        if path.exists():
            yield str(path)
    for log in _logs(layout, slug):
        yield str(log)


def _logs(layout: Layout, slug: str) -> list[Path]:
    name = log_file(layout, slug).name
    return [path for path in layout.logs.glob(f"{name}*") if path.name == name or path.suffix[1:].isdigit()]
