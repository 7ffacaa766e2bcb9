"""What a course's hub on this machine is told: JupyterHub's settings as plain data."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FieldSerializationInfo, SecretStr, field_serializer

from course_stack.hub_rules import (
    PORTAL_SERVICE,
    RECHECK_SECONDS,
    REFRESH_SECONDS,
    cull_every,
    lead_scopes,
    portal_scopes,
    server_arguments,
    sign_in,
)
from course_stack.local.isolation import Isolation
from course_stack.local.layout import Layout
from course_stack.local.machine import credential
from course_stack.names import CourseNames
from course_stack.sizes import SPARE_SERVERS
from course_stack.spec import CourseSpec
from course_stack.target import Target

CULLER_SERVICE = "jhaas-culler"

IN_CLEAR = {"secrets": "in clear"}
"""Serialization context that writes secrets out: for the hub's own file."""

Settings = dict[str, dict[str, Any]]
"""Values by section (a class of JupyterHub's configuration) and name."""


class HubConfig(BaseModel):
    """What a hub process must know, as it lies in its folder (0600): made by the course stack, read at each start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: CourseSpec
    target: Target
    port: int
    client_id: str
    client_secret: SecretStr
    endpoints: dict[Literal["issuer", "authorize", "token", "userinfo", "end_session"], str]
    cookie_secret: SecretStr
    crypt_key: SecretStr
    api_token: SecretStr
    refresh_seconds: int = Field(default=REFRESH_SECONDS, ge=1, le=300)
    recheck_seconds: int = Field(default=RECHECK_SECONDS, ge=1, le=300)

    @field_serializer("client_secret", "cookie_secret", "crypt_key", "api_token")
    def _masked_unless_asked(self, secret: SecretStr, info: FieldSerializationInfo) -> str:
        return secret.get_secret_value() if info.context == IN_CLEAR else str(secret)


@dataclass(frozen=True, slots=True)
class Edge:
    """How the hub asks the edge whether it has taken up a route: read at each start, never stored with a hub."""

    entry_point: str
    api_url: str
    user: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, layout: Layout) -> Edge:
        """This machine's edge."""
        access = credential(layout, "traefik.json")
        return cls("edge", access["url"], access["user"], access["password"])


def hub_settings(config: HubConfig, edge: Edge, isolation: Isolation) -> Settings:
    """JupyterHub's settings for this course."""
    spec, target = config.spec, config.target
    names = CourseNames(spec.slug)
    layout = layout_of(target)
    return {
        "JupyterHub": {
            "hub_ip": "127.0.0.1",
            "hub_port": config.port,
            "hub_connect_ip": "127.0.0.1",
            "public_url": target.hub_url(spec.slug),
            "db_url": f"sqlite:///{layout.hub(spec.slug) / 'jupyterhub.sqlite'}",
            "cookie_secret": hashlib.sha256(config.cookie_secret.get_secret_value().encode()).digest(),
            "authenticator_class": "course_stack.hub_files.authenticator.CourseAuthenticator",
            "spawner_class": "course_stack.local.spawner.CourseSpawner",
            "proxy_class": "course_stack.local.proxy.CourseProxy",
            # servers and their routes outlive the hub
            "cleanup_servers": False,
            "cleanup_proxy": False,
            # one more than people may start, for the check
            "active_server_limit": spec.active_servers + SPARE_SERVERS,
            "concurrent_spawn_limit": spec.spawning.concurrent,
            "allow_named_servers": False,
            "services": [
                {"name": PORTAL_SERVICE, "api_token": config.api_token.get_secret_value()},
                {"name": CULLER_SERVICE, "command": culler_command(spec)},
            ],
            "load_roles": [
                {"name": PORTAL_SERVICE, "scopes": portal_scopes(), "services": [PORTAL_SERVICE]},
                {"name": "leads", "scopes": lead_scopes(names), "groups": [names.lead_group]},
                {
                    "name": CULLER_SERVICE,
                    "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
                    "services": [CULLER_SERVICE],
                },
            ],
            "template_vars": {"announcement": isolation.warning or ""},
        },
        "CryptKeeper": {"keys": [hashlib.sha256(config.crypt_key.get_secret_value().encode()).digest()]},
        "CourseAuthenticator": _sign_in(config),
        "CourseProxy": {
            "should_start": False,
            "enable_setup_dynamic_config": False,
            "host": target.hub_host(spec.slug),
            "dynamic_config_file": str(routes_file(layout, spec.slug)),
            "traefik_entrypoint": edge.entry_point,
            "traefik_api_url": edge.api_url,
            "traefik_api_username": edge.user,
            "traefik_api_password": edge.password,
            # JupyterHub stops a server whose route comes later than this, and says only that it is not running
            "check_route_timeout": 120,
        },
        "CourseSpawner": {
            "spec": spec,
            "data_folder": str(layout.home),
            "issuer": config.endpoints["issuer"],
            "isolation": isolation,
            "cmd": started("jupyterhub.singleuser"),
            "args": [
                *server_arguments(config.recheck_seconds),
                # Kernels talk over sockets in the server's private folder: on TCP, other accounts of this machine could
                # connect, and a kernel's output goes to whoever is connected.
                "--KernelManager.transport=ipc",
            ],
            "ip": "127.0.0.1",
            "default_url": spec.default_url,
            "environment": dict(spec.environment),
            "env_keep": ["LANG", "LC_ALL"],
            "start_timeout": 120,
            "http_timeout": 60,
            "poll_interval": 10,
        },
    }


def layout_of(target: Target) -> Layout:
    """The data folder of a local target; `ValueError` for any other."""
    if target.home is None:
        raise ValueError(f"The target {target.name} has no data folder: only a local target can run this hub.")
    return Layout(target.home)


def started(module: str) -> list[str]:
    """The command that runs the `main` of a Jupyter module, without what nobody here needs of it.

    jsonschema builds a parser of internationalised addresses as soon as it finds rfc3987_syntax: 1.7 seconds of
    processor time at every start of a hub and of a notebook server, for a format that no schema of theirs uses. A
    module that is None counts as not installed.
    """
    program = f"import sys; sys.modules['rfc3987_syntax'] = None; from {module} import main; sys.exit(main())"
    # The folder as it is called without links: that is where a notebook's private view shows it.
    return [str(Path(sys.prefix).resolve() / "bin" / Path(sys.executable).name), "-c", program]


def culler_command(spec: CourseSpec) -> list[str]:
    """The idle culler as a service of the hub: stops idle and overdue servers, removes nobody.

    It ends with its hub, however that ends (PR_SET_PDEATHSIG): a hub that is started again brings another one.
    """
    ends_with_hub = "import ctypes, signal; ctypes.CDLL(None).prctl(1, signal.SIGTERM)"
    culler = "import runpy; runpy.run_module('jupyterhub_idle_culler', run_name='__main__', alter_sys=True)"
    return [
        sys.executable,
        "-c",
        f"{ends_with_hub}; {culler}",
        f"--timeout={spec.culling.idle_minutes * 60}",
        f"--cull-every={cull_every(spec)}",
        *([f"--max-age={spec.culling.max_age_hours * 3600}"] if spec.culling.max_age_hours else []),
    ]


def routes_file(layout: Layout, slug: str) -> Path:
    """The hub's own file of routes, which the edge watches."""
    return layout.routes / f"hub-{slug}.toml"


def _sign_in(config: HubConfig) -> dict[str, Any]:
    return {
        **sign_in(config.spec, config.target),
        "client_id": config.client_id,
        "client_secret": config.client_secret.get_secret_value(),
        "authorize_url": config.endpoints["authorize"],
        "token_url": config.endpoints["token"],
        "userdata_url": config.endpoints["userinfo"],
        "end_session_url": config.endpoints["end_session"],
        "auth_refresh_age": config.refresh_seconds,
        "recheck_seconds": config.recheck_seconds,
    }
