"""The surroundings of a trial: this machine's services as a cluster's pods reach them, and the cluster as a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course_stack.target import Target
from tests.cluster.edge import edge, own_address, port_of
from tests.cluster.git_server import git_server
from tests.conftest import Machine, free_port


@dataclass(frozen=True)
class Trial:
    """Everything that a course on the cluster needs."""

    machine: Machine
    """Its target is the cluster's."""
    image: str
    """Of notebooks."""
    git: Path
    """Folder whose bare repositories pods find below `git_url`."""
    git_url: str

    @property
    def target(self) -> Target:
        return self.machine.target


@contextmanager
def trial_on(
    given: Mapping[str, Any], machine: Machine, folder: Path, *, image: str | None = None, controller: str | None = None
) -> Iterator[Trial]:
    """The machine's services, reached from the cluster's pods, and the target, reached from here, for a while.

    `given` is a target file's content without identity provider and object store; `controller` is HOST:PORT of the
    cluster's own edge, none to be it ourselves.
    """
    fields = {name: value for name, value in given.items() if name in Target.model_fields}
    host, people = own_address(), free_port()
    local = machine.target
    assert local.identity.internal_url is not None
    assert local.object_store.endpoint is not None
    for name in ("git", "edge"):
        (folder / name).mkdir()
    with git_server(folder / "git") as git_port:
        behind = [port_of(local.identity.internal_url), port_of(local.object_store.endpoint), git_port]
        identity, store, repositories = ports = [free_port() for _ in behind]
        opening = {"name": "the trial's services", "cidr": f"{host}/32", "ports": ports, "notebooks": True}
        cluster = {**fields["cluster"], "openings": [*fields["cluster"].get("openings", ()), opening]}
        way_in = cluster.get("edge", {})
        if way_in.get("kind", "ingress") == "ingress":
            cluster["edge"] = {**way_in, "tls": "none", "cluster_issuer": None}
        target = Target.model_validate(
            {
                **fields,
                "hub_domain": "localhost",
                "hub_scheme": "http",
                "hub_port": people,
                "identity": {**local.identity.model_dump(), "internal_url": f"http://{host}:{identity}"},
                "object_store": {**local.object_store.model_dump(), "endpoint": f"http://{host}:{store}"},
                "cluster": cluster,
            }
        )
        ways = {(host, port): to for port, to in zip(ports, behind, strict=True)}
        with edge(folder / "edge", people, ways, controller, way_in.get("ingress_class")):
            yield Trial(
                replace(machine, target=target),
                image or cluster["images"]["helper"],
                folder / "git",
                f"http://{host}:{repositories}",
            )
