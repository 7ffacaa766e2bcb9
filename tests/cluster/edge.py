"""What stands between the cluster and this machine during a trial: one Traefik that lets people in and pods out.

Towards people it is the cluster's ingress controller, run here with the kubeconfig, or leads to the one that there is.
Towards pods it hands on what runs on this machine's loopback: identity provider, object store, git.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from course_stack.local.services.service import executable
from tests.cluster import kube
from tests.conftest import free_port
from tests.support.waiting import wait_for


def own_address() -> str:
    """This machine's address as the cluster's nodes see it: from which we would speak with the first."""
    addresses = kube.show("nodes")[0]["status"]["addresses"]
    node = next(one["address"] for one in addresses if one["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((node, 9))  # nothing is sent
        return str(way.getsockname()[0])


@contextmanager
def edge(
    folder: Path,
    people: int,
    pods: Mapping[tuple[str, int], int | str],
    controller: str | None,
    ingress_class: str | None,
    secure: int | None = None,
) -> Iterator[None]:
    """Runs while the block does.

    `people` is the loopback port of hubs; `pods` says which address and port leads to which loopback port (or
    HOST:PORT); `controller` is HOST:PORT of the cluster's own edge, none to be it ourselves. `secure`: another
    loopback port of people, with TLS.
    """
    api = free_port()
    entries = {f"pods-{port}": f"{host}:{port}" for host, port in pods}
    routes = {
        f"pods-{port}": behind if isinstance(behind, str) else f"127.0.0.1:{behind}"
        for (_, port), behind in pods.items()
    }
    if controller is not None:
        routes["people"] = controller
    dynamic = {
        "tcp": {
            "routers": {name: {"entryPoints": [name], "rule": "HostSNI(`*`)", "service": name} for name in routes},
            "services": {name: {"loadBalancer": {"servers": [{"address": to}]}} for name, to in routes.items()},
        }
    }
    (folder / "routes.json.yml").write_text(json.dumps(dynamic))
    flags = [
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--api.insecure=true",
        f"--entryPoints.traefik.address=127.0.0.1:{api}",
        f"--entryPoints.people.address=127.0.0.1:{people}",
        "--entryPoints.people.transport.respondingTimeouts.readTimeout=0",
        *([f"--entryPoints.secure.address=127.0.0.1:{secure}", "--entryPoints.secure.http.tls=true"] if secure else []),
        *(f"--entryPoints.{name}.address={address}" for name, address in entries.items()),
        f"--providers.file.filename={folder / 'routes.json.yml'}",
        *(["--providers.kubernetesIngress=true"] if controller is None else []),
        *([f"--providers.kubernetesIngress.ingressClass={ingress_class}"] if ingress_class and not controller else []),
    ]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "KUBECONFIG") if name in os.environ}
    log = folder / "edge.log"
    with log.open("wb") as output:
        process = subprocess.Popen([str(executable("traefik")), *flags], env=environment, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{api}/api", trust_env=False) as http:
            # it listens before it knows where to: until then, it answers by itself
            wait_for(lambda: process.poll() is not None or len(_routers(http)) == len(routes), "the trial's edge")
        assert process.poll() is None, log.read_text()[-2000:]
        yield
    finally:
        process.terminate()
        process.wait(20)


def _routers(http: httpx.Client) -> list[str]:
    try:
        answer = http.get("/tcp/routers")
    except httpx.TransportError:
        return []
    found = answer.json() if answer.status_code == 200 else []
    return [one["name"] for one in found if one["status"] == "enabled"]


def port_of(url: str) -> int:
    """The port that a URL names."""
    port = urlsplit(url).port
    assert port is not None, url
    return port
