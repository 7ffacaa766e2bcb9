"""This machine as a target: its ports, its addresses, and the credentials that are generated once."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from course_stack.local.files import private_folder, write_file
from course_stack.local.layout import Layout
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target

PORT_ENV = "JHAAS_PORT"
BIND_ENV = "JHAAS_BIND"
BEYOND_LOOPBACK_ENV = "JHAAS_BIND_BEYOND_LOOPBACK"

STATE_BUCKET = "jhaas-state"
ARCHIVE_BUCKET = "jhaas-archives"
REGION = "us-east-1"
IDENTITY_HOST = "id.localhost"
PORTAL_HOST = "portal.localhost"
"""A site of its own beside each hub's: `localhost` is a top-level domain, and browsers keep what stands directly below
one apart, cookies included. No course is called `portal`."""

SERVICE_UID = 61100
"""Account number of services that refuse to be root (Postgres), where the product runs as root. It needs no entry in
the machine's user list; systemd leaves 60578 to 61183 to nobody."""

_INTERNAL_PORTS = range(20000, 30000)
"""Below the range from which Linux picks ports for outgoing connections: a stopped service's port stays free."""


class MachineError(Exception):
    """A setting of this machine is missing or cannot be used; the message says which, and what to do."""


def _all_free_ports() -> Iterator[int]:
    candidates = random.SystemRandom().sample(_INTERNAL_PORTS, len(_INTERNAL_PORTS))
    return (port for port in candidates if port_is_free("127.0.0.1", port))


def _free_port() -> int:
    return next(_all_free_ports())


class Ports(BaseModel):
    """Loopback ports of the services, chosen once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    canaille: int
    edge_api: int
    s3: int
    s3_grpc: int
    filer: int
    filer_grpc: int
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    # chosen for data folders of earlier versions, too
    portal: int = Field(default_factory=_free_port)
    mail: int = Field(default_factory=_free_port)


class MachineSettings(BaseModel):
    """What `settings.json` holds: nothing secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edge_port: int = Field(ge=1, le=65535)
    bind: str
    ports: Ports

    @classmethod
    def stored(cls, layout: Layout) -> MachineSettings:
        """The settings of the last start."""
        try:
            return cls.model_validate_json(layout.settings.read_text())
        except FileNotFoundError:
            raise MachineError(
                f"No local services were ever started in {layout.home}: run `jhaas services up` first, "
                "or set JHAAS_HOME to the folder where they were."
            ) from None
        except (OSError, ValidationError) as error:
            raise MachineError(f"{layout.settings} cannot be used ({_short(error)}): repair or remove it.") from error

    @classmethod
    def for_start(cls, layout: Layout, environ: Mapping[str, str] = os.environ) -> MachineSettings:
        """The settings for a start, stored for every later command: JHAAS_PORT and JHAAS_BIND win over what was
        stored; internal ports are kept."""
        before = cls.stored(layout) if layout.settings.exists() else None
        settings = cls(
            edge_port=_port(environ, before.edge_port if before else 8000),
            bind=_bind(environ, before.bind if before else "127.0.0.1"),
            ports=before.ports if before else _free_ports(),
        )
        make_home(layout)
        write_file(layout.settings, settings.model_dump_json(indent=1) + "\n", mode=0o644)
        return settings


def make_home(layout: Layout) -> None:
    """The data folder itself: notebook accounts must be able to enter it, where there are any."""
    private_folder(layout.home, 0o755 if os.geteuid() == 0 else 0o700)


def local_target(layout: Layout) -> Target:
    """This machine as a place where hubs run. The services must have been started once."""
    settings = MachineSettings.stored(layout)
    return Target(
        name="local",
        kind="local",
        hub_domain="localhost",
        hub_scheme="http",
        hub_port=settings.edge_port,
        identity=IdentityTarget(
            kind="canaille",
            url=f"http://{IDENTITY_HOST}:{settings.edge_port}",
            internal_url=f"http://127.0.0.1:{settings.ports.canaille}",
        ),
        object_store=ObjectStoreTarget(
            kind="seaweedfs", endpoint=f"http://127.0.0.1:{settings.ports.s3}", region=REGION, path_style=True
        ),
        home=layout.home,
    )


def state_url(settings: MachineSettings) -> str:
    """Address of the state backend, as Pulumi's S3 backend reads it."""
    query = urlencode(
        {"endpoint": f"http://127.0.0.1:{settings.ports.s3}", "use_path_style": "true", "region": REGION}, safe=":/"
    )
    return f"s3://{STATE_BUCKET}?{query}"


def ensure_passphrase(layout: Layout) -> None:
    """The passphrase that encrypts secrets in the state, generated once: without it the state is lost."""
    path = private_folder(layout.credentials) / "state-passphrase"
    if not path.exists():
        write_file(path, secrets.token_urlsafe(32) + "\n")


def credential(layout: Layout, name: str) -> dict[str, str]:
    """A file of the credentials folder; empty where it does not exist yet."""
    try:
        content: dict[str, str] = json.loads((layout.credentials / name).read_text())
    except FileNotFoundError:
        return {}
    return content


def store_credential(layout: Layout, name: str, content: Mapping[str, str]) -> None:
    """Write a file of the credentials folder, readable by this account alone."""
    write_file(private_folder(layout.credentials) / name, json.dumps(dict(content), indent=1) + "\n")


def port_holder(port: int) -> int | None:
    """Process id of who listens on the TCP port, where this account may know."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    for connection in connections:
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            return int(connection.pid) if connection.pid else None
    return None


def process_name(pid: int) -> str:
    """`NAME (pid N)`, for messages."""
    import psutil

    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_ports() -> Ports:
    names = list(Ports.model_fields)
    free = _all_free_ports()
    return Ports(**{name: next(free) for name in names})


def _port(environ: Mapping[str, str], fallback: int) -> int:
    text = environ.get(PORT_ENV, "")
    if not text:
        return fallback
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise MachineError(f"{PORT_ENV} is {text!r}: give a port number between 1 and 65535.")
    return int(text)


def _bind(environ: Mapping[str, str], fallback: str) -> str:
    text = environ.get(BIND_ENV) or fallback
    try:
        address = IPv4Address(text)
    except ValueError:
        raise MachineError(f"{BIND_ENV} is {text!r}: give the IPv4 address on which the hubs listen.") from None
    if not address.is_loopback and environ.get(BEYOND_LOOPBACK_ENV) != "yes":
        raise MachineError(
            f"{BIND_ENV} is {text}: this machine's hubs are made for one desk and listen beyond loopback only if "
            f"{BEYOND_LOOPBACK_ENV}=yes is set as well. Anyone who reaches the port may try to sign in, without TLS."
        )
    return text


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
    return getattr(error, "strerror", None) or str(error)
