"""The portal's own processes beside the services of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from course_stack.local.supervisor import Supervisor
from portal import local
from portal.config import PortalSettings
from tests.conftest import Machine


def environment_of(settings: PortalSettings, **more: str) -> dict[str, str]:
    """What a process of the portal with these settings is started with."""
    return {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "JHAAS_SECRET_KEY": settings.secret_key.get_secret_value(),
        "JHAAS_PUBLIC_URL": settings.public_url,
        "JHAAS_OIDC_ISSUER": settings.oidc_issuer,
        "JHAAS_OIDC_CLIENT_ID": settings.oidc_client_id,
        "JHAAS_OIDC_CLIENT_SECRET": settings.oidc_client_secret.get_secret_value(),
        **more,
    }


@contextmanager
def running_portal(machine: Machine, *, demo: bool = False) -> Iterator[PortalSettings]:
    """Web, worker, scheduler and mail sink, as `jhaas demo` starts them; ended afterwards, the database stays."""
    try:
        yield local.up(machine.layout, lambda *_: None, demo=demo)
    finally:
        supervisor = Supervisor(machine.layout)
        for name in local.PROGRAMS:
            supervisor.remove_program(name)
        (machine.layout.routes / "portal.yml").unlink(missing_ok=True)
