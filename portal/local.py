"""The portal on one machine: every setting comes by itself, and its processes run beside the other services.

`up` is safe to repeat, and brings an older data folder along.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import psutil
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from course_stack import identity
from course_stack.identity import ClientRequest, IdentityProvider
from course_stack.local.files import write_file
from course_stack.local.layout import HOME_ENV, Layout
from course_stack.local.machine import PORTAL_HOST, MachineSettings, credential, local_target, store_credential
from course_stack.local.services import ServiceError
from course_stack.local.services.postgres import Postgres
from course_stack.local.services.service import REPOSITORY
from course_stack.local.supervisor import Program, Supervisor
from course_stack.target import CREDENTIALS_ENV
from portal import config, migrations
from portal.config import PortalSettings
from portal.db import connect, sessions, transaction
from portal.mail import sink
from portal.models import CatalogueImage, SiteState, TargetRecord

DATABASE = "jhaas_portal"
CLIENT = "jhaas-portal"
CREDENTIALS = "portal.json"
PROGRAMS = ("mail-sink", "portal-web", "portal-worker", "portal-scheduler")

IMAGE = "quay.io/jupyter/scipy-notebook:2026-10-05"
"""The first entry of the catalogue. On one machine all notebooks run in the one environment that is installed."""

Report = Callable[[str, str], None]
"""Called with a part's name and what it is doing."""

_MIB = 2**20
_KEPT_FREE_MIB = 2048
"""Memory for the machine itself and the services."""
_SHARES_OF_A_CORE = 4
"""Notebooks wait for people most of the time: that many guarantees of a core are given out for each."""
_DEADLINE = 60.0
_DEMO_ENV = "JHAAS_DEMO"


def settings_in_force() -> PortalSettings:
    """The settings of this process: the environment's, and on one machine what it says nothing of. Raises
    `automation.settings.SettingsError`."""
    layout = Layout.of_environment()
    return config.load(defaults(layout) if _is_ours(layout) else None)


def has_portal() -> bool:
    """Whether a portal owns the courses: the environment names its database, or this machine has one."""
    return _names_a_database() or _is_ours(Layout.of_environment())


def _is_ours(layout: Layout) -> bool:
    return (layout.credentials / CREDENTIALS).exists() and not _names_a_database()


def _names_a_database() -> bool:
    return bool(os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE"))


def public_url(layout: Layout) -> str:
    """Address of this machine's portal, without a slash at its end."""
    return f"http://{PORTAL_HOST}:{MachineSettings.stored(layout).edge_port}"


def defaults(layout: Layout) -> dict[str, Any]:
    """Field of `PortalSettings` → value on this machine. `up` must have been called once."""
    machine = MachineSettings.stored(layout)
    target = local_target(layout)
    kept = credential(layout, CREDENTIALS)
    url = make_url(Postgres(layout).url(DATABASE)).set(drivername="postgresql")
    return {
        "database_url": url.render_as_string(hide_password=False),
        "secret_key": kept["secret_key"],
        "public_url": public_url(layout),
        "oidc_issuer": target.identity.url,
        "oidc_internal_url": target.identity.internal_url,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": kept["client_secret"],
        "smtp_host": "127.0.0.1",
        "smtp_port": machine.ports.mail,
        "web_bind": f"127.0.0.1:{machine.ports.portal}",
        "web_processes": 1,
        "proxies": 1,
        "data_folder": layout.home,
    }


def up(layout: Layout, report: Report, *, demo: bool = False) -> PortalSettings:
    """Make what the portal needs of the services (which must be up), start its processes, wait until it answers.

    Returns its settings. Raises `ServiceError`."""
    report("portal", "preparing")
    Postgres(layout).ensure_database(DATABASE)
    _keep_secrets(layout)
    settings = config.load({**defaults(layout), "demo": demo})
    engine = connect(settings.database_url.get_secret_value())
    try:
        migrations.upgrade(engine)
        with transaction(sessions(engine)) as session:
            _ensure_site(session, layout)
    finally:
        engine.dispose()
    write_file(layout.routes / "portal.yml", json.dumps(_route(layout), indent=1))
    report("portal", "starting")
    supervisor = Supervisor(layout)
    for name, program in _programs(layout, settings).items():
        supervisor.set_program(name, program)
    _wait(layout)
    report("portal", "ready")
    return settings


def ensure_people(provider: IdentityProvider, settings: PortalSettings, teachers: Iterable[str],
                  governance: Iterable[str]) -> None:  # fmt: skip
    """Let these subjects be teachers and governance, beside those who are already."""
    for group, wanted in ((settings.teachers_group, teachers), (settings.governance_group, governance)):
        if group:
            provider.ensure_group(group, {*(provider.group_members(group) or ()), *wanted})


def _keep_secrets(layout: Layout) -> None:
    """The secret key, generated once: without it nobody is signed in any more, and tokens must be made anew. And the
    secret of our client at the identity provider, which is made where it is missing."""
    url = public_url(layout)
    request = ClientRequest(
        name=CLIENT,
        title="JupyterHub courses",
        redirect_uri=f"{url}/sign-in/callback",
        post_logout_uri=f"{url}/signed-out",
        launch_url=f"{url}/",
        group="",
    )
    with closing(identity.connect(local_target(layout), layout.credentials)) as provider:
        client = provider.ensure_client(request)
    kept = credential(layout, CREDENTIALS)
    kept.setdefault("secret_key", secrets.token_urlsafe(32))
    store_credential(layout, CREDENTIALS, {**kept, "client_secret": client.secret})


def _ensure_site(session: Session, layout: Layout) -> None:
    """This machine as a target, an image, and the row of the site. What governance changed stays as it is."""
    described = local_target(layout)
    target = described.model_dump(mode="json")
    session.execute(
        insert(TargetRecord)
        .values(
            name=described.name,
            target=target,
            memory_mib=max(psutil.virtual_memory().total // _MIB - _KEPT_FREE_MIB, 1024),
            cpu_millicores=(os.cpu_count() or 1) * 1000 * _SHARES_OF_A_CORE,
            storage_mib=psutil.disk_usage(str(layout.home)).free // _MIB * 4 // 5,
            gpus={},
            parallel_operations=2,
            is_open=True,
        )
        .on_conflict_do_update(index_elements=["name"], set_={"target": target})  # ports may have changed
    )
    session.execute(
        insert(CatalogueImage)
        .values(title="JupyterLab", description="", reference=IMAGE, default_url="/lab", position=0, is_offered=True)
        .on_conflict_do_nothing()
    )
    session.execute(insert(SiteState).values(id=1, clock_offset_seconds=0, settings_digest="").on_conflict_do_nothing())


def _programs(layout: Layout, settings: PortalSettings) -> dict[str, Program]:
    ports = MachineSettings.stored(layout).ports
    # secrets reach them by files of the credentials folder only
    environment = {
        HOME_ENV: str(layout.home),
        CREDENTIALS_ENV: str(layout.credentials),
        _DEMO_ENV: str(settings.demo).lower(),
        "PYTHONPATH": str(REPOSITORY),
    }
    digest = hashlib.sha256(repr(sorted(defaults(layout).items())).encode()).hexdigest()

    def program(name: str, *words: str, seconds: int = 30) -> Program:
        return Program(
            command=(sys.executable, "-m", *words),
            cwd=layout.home,
            log=layout.logs / f"{name}.log",
            env=environment,
            stop_seconds=seconds,
            configuration=digest,
        )

    mails = ("portal.mail.sink", f"--port={ports.mail}", f"--folder={layout.home / sink.FOLDER}")
    return {
        "mail-sink": program("mail-sink", *mails),
        "portal-web": program("portal-web", "portal", "portal", "web"),
        # nobody waits long for Ctrl-C: what it cannot finish or give back, the next start finds and finishes
        "portal-worker": program("portal-worker", "portal", "portal", "worker", seconds=20),
        "portal-scheduler": program("portal-scheduler", "portal", "portal", "scheduler"),
    }


def _route(layout: Layout) -> dict[str, Any]:
    url = f"http://127.0.0.1:{MachineSettings.stored(layout).ports.portal}"
    return {
        "http": {
            "routers": {"portal": {"entryPoints": ["edge"], "rule": f"Host(`{PORTAL_HOST}`)", "service": "portal"}},
            "services": {"portal": {"loadBalancer": {"servers": [{"url": url}]}}},
        }
    }


def _wait(layout: Layout) -> None:
    machine = MachineSettings.stored(layout)
    edge = "127.0.0.1" if machine.bind == "0.0.0.0" else machine.bind  # noqa: S104
    request = Request(
        f"http://{edge}:{machine.edge_port}/health/ready", headers={"Host": f"{PORTAL_HOST}:{machine.edge_port}"}
    )
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=5):
                break
        except (URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"The portal did not answer within {_DEADLINE:.0f} seconds ({error}): "
                    f"see {layout.logs / 'portal-web.log'}."
                ) from None
        time.sleep(0.2)
    states = Supervisor(layout).status()
    for name in PROGRAMS:
        if name in states and states[name].state == "FATAL":
            raise ServiceError(f"{name} does not start: see {layout.logs / name}.log.")
