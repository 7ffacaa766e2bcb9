"""The platform's portal on a cluster, made by its own program, with this machine's services behind it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from course_stack import identity
from course_stack.identity import ClientRequest
from course_stack.local.machine import credential
from tests.cluster import kube
from tests.cluster.edge import edge, own_address
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.test_platform_objects import define_custom_resources
from tests.cluster.trial import Trial
from tests.conftest import free_port
from tests.support.browser import Browser
from tests.support.database import database_server
from tests.support.tls import Authority

NAMESPACE = "jhaas-portal"
CLIENT = "jhaas-portal-in-pods"
GROUPS = {"jhaas-governance": ["governance"], "jhaas-teachers": ["teacher"]}
DATABASE_HOST = "127.83.71.5"
"""Of the loopback network, where nobody else takes Postgres's port."""
OWNER, ROLE = "portal_owner", "portal"


@dataclass(frozen=True)
class PortalSite:
    """A portal in its pods, and how its people reach it."""

    trial: Trial
    project: Project
    url: str
    hub_domain: str
    port: int
    """Of hubs, on this machine's loopback."""
    secure_port: int
    """Of the portal, in the same way."""
    authority: Path
    """Certificate of who signed the portal's."""

    def browser(self) -> Browser:
        """Of somebody new."""
        return Browser(https_port=self.secure_port, authority=self.authority)

    def hub_url(self, slug: str) -> str:
        return f"http://{slug}.{self.hub_domain}:{self.port}/"


@contextmanager
def portal_site(
    trial: Trial, folder: Path, *, image: str, store_image: str | None, hosts: Path | None, slugs: tuple[str, ...]
) -> Iterator[PortalSite]:
    """The portal, ready, while the block runs; nothing of it afterwards.

    `hosts`: a file of host names that the cluster's DNS serves; without one, names are below sslip.io, which leads
    them to the address that they contain. `slugs` are the courses that there will be.
    """
    own = own_address()
    people, secure, database, charts = (free_port() for _ in range(4))
    domain = f"{own.replace('.', '-')}.sslip.io"
    portal_host, hub_domain = f"portal.{domain}", f"hubs.{domain}"
    url = f"https://{portal_host}"
    ways: dict[tuple[str, int], int | str] = {(own, people): people, (own, database): f"{DATABASE_HOST}:5432"}
    authority = Authority()
    path = folder / "authority.crt"
    path.write_text(authority.pem)
    for name in ("edge", "platform", "charts"):
        (folder / name).mkdir()
    with (
        database_server(DATABASE_HOST) as server,
        _chart(trial, folder / "charts", f"{own}:{charts}") as (chart, chart_port),
        edge(folder / "edge", people, {**ways, (own, charts): chart_port}, None, None, secure),
        _names(hosts, own, [portal_host, *(f"{slug}.{hub_domain}" for slug in slugs)]),
        _client(trial, url) as secret,
        _signed(authority),
    ):
        passwords = {}
        for role in (OWNER, ROLE):
            server.postgres.ensure_database(role)
            passwords[role] = urlsplit(server.url(role)).password or ""
        key = credential(trial.machine.layout, "identity.json")
        sections = {
            "site": {"portal_host": portal_host, "hub_domain": hub_domain, "contact": "help@example.org"},
            "cluster": {
                "context": kube.kubectl("config", "current-context").strip(),
                **_given(trial, "storage_class"),
            },
            "ingress": {"kind": "existing", "namespace": "default"},
            "certificates": {"issuer": "existing", "cluster_issuer": "of-the-trial", "install": False},
            "dns": {"records": "unchecked"},
            "database": {
                "kind": "external",
                "host": own,
                "port": database,
                "tls": "disable",
                "portal": {"database": OWNER, "user": ROLE, "owner": OWNER},
            },
            "object_storage": {
                "storage_size": "2Gi",
                "memory": "512Mi",
                **({"image": store_image} if store_image else {}),
            },
            "identity": {
                "kind": "oidc",
                "issuer": trial.target.identity.url,
                "internal_url": trial.target.identity.internal_url,
                "client_id": CLIENT,
                "courses": {"api": "canaille", "url": trial.target.identity.url},
            },
            "portal": {
                "image": image,
                "settings": {"grace_days": 0, "retry_seconds": 2},
                "target": _target(trial, people),
            },
            "charts": {"jupyterhub": chart},
        }
        closed = {
            "database.portal.password": passwords[ROLE],
            "database.portal.owner_password": passwords[OWNER],
            "identity.client_secret": secret,
            **{f"identity.courses.key.{name}": value for name, value in key.items()},
        }
        project = Project(folder / "platform", sections, closed=closed, seconds=600)
        try:
            project.pulumi(*UP)
            yield PortalSite(trial, project, url, hub_domain, people, secure, path)
        finally:
            project.pulumi(*DESTROY)


def _given(trial: Trial, *names: str) -> dict[str, Any]:
    assert trial.target.cluster is not None
    said = trial.target.cluster.model_dump(mode="json")
    return {name: said[name] for name in names if said[name] is not None}


def _target(trial: Trial, port: int) -> dict[str, Any]:
    """What the trial's target says of the cluster, over what the platform does."""
    more = _given(trial, "images", "openings", "storage_class", "shared_class", "release_timeout")
    more["images"] = {name: value for name, value in more["images"].items() if value and name != "helper"}
    return {
        "hub_scheme": "http",
        "hub_port": port,
        "capacity": {"memory": 4, "cpu": 8, "storage": 20},
        "cluster": {**more, "edge": {"tls": "none", "cluster_issuer": None}},
    }


@contextmanager
def _client(trial: Trial, url: str) -> Iterator[str]:
    """The portal's client at the identity provider, and its people in their groups; the client's secret."""
    request = ClientRequest(
        name=CLIENT,
        title="Portal in pods",
        redirect_uri=f"{url}/sign-in/callback",
        post_logout_uri=f"{url}/signed-out",
        launch_url=f"{url}/",
        group="",
    )
    with closing(identity.connect(trial.target, trial.machine.layout.credentials)) as provider:
        for group, roles in GROUPS.items():
            provider.ensure_group(group, [trial.machine.people[role].subject for role in roles])
        secret = provider.ensure_client(request).secret
        try:
            yield secret
        finally:
            provider.delete_client(CLIENT)


@contextmanager
def _names(hosts: Path | None, address: str, names: list[str]) -> Iterator[None]:
    lines = [f"{address} {name}\n" for name in names]
    if hosts is None:
        yield
        return
    with hosts.open("a") as file:
        file.writelines(lines)
    try:
        yield
    finally:
        # others write to it, too
        hosts.write_text("".join(line for line in hosts.read_text().splitlines(keepends=True) if line not in lines))


@contextmanager
def _chart(trial: Trial, folder: Path, place: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Where the hubs' chart comes from. One that is a folder of this machine is served as a mirror of its repository
    would be, at `place`; the loopback port of that."""
    assert trial.target.cluster is not None
    chart = trial.target.cluster.chart
    given = {"chart": chart.chart, "repository": chart.repository, "version": chart.version}
    if Path(chart.chart).is_absolute():
        subprocess.run(["helm", "package", chart.chart, "--destination", str(folder)], check=True, capture_output=True)
        subprocess.run(["helm", "repo", "index", str(folder), "--url", f"http://{place}"], check=True)
        (package,) = folder.glob("*.tgz")
        name, _, version = package.stem.rpartition("-")
        given = {"chart": name, "repository": f"http://{place}", "version": version}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield {name: value for name, value in given.items() if value is not None}, server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def _signed(authority: Authority) -> Iterator[None]:
    """Signs the portal's certificate, as cert-manager would, which the cluster need not have."""
    define_custom_resources()
    over = threading.Event()

    def sign() -> None:
        while not over.wait(0.5):
            for one in kube.show("certificates.cert-manager.io", "-n", NAMESPACE):
                if not one.get("status"):
                    _sign(authority, one)

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sign(authority: Authority, wanted: Mapping[str, Any]) -> None:
    name, spec = wanted["metadata"]["name"], wanted["spec"]
    chain, begin, key = authority.signed(*spec["dnsNames"]).partition("-----BEGIN PRIVATE KEY-----")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": spec["secretName"], "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": chain, "tls.key": begin + key},
    }
    kube.apply([secret])
    ready = {"type": "Ready", "status": "True", "reason": "Signed", "message": "", "observedGeneration": 1}
    patch = json.dumps({"status": {"conditions": [ready]}})
    kube.kubectl(
        *("patch", "certificates.cert-manager.io", name, "-n", NAMESPACE),
        *("--subresource=status", "--type=merge", "--patch", patch),
    )
