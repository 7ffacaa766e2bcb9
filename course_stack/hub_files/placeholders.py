"""Keeps room for the next notebooks while a course is used, for clusters that grow by themselves.

A placeholder is a pod as large as a notebook that does nothing. Where it does not fit, the cluster brings another node
before the next person needs it, with the course's image on it; as soon as a notebook waits for room, placeholders make
way. An hour after the last notebook was started, or when none runs, they are gone: a course's hours are known by how it
is used.

Kubernetes' own way, pods of low priority, needs objects of the whole cluster, and the chart's have them for each course
and day and night. This needs nothing but the hub's right to make pods in its namespace, and room in its quota.

Run by the hub as a service: `python placeholders.py SETTINGS.json`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IN_USE_SECONDS = 3600
"""A course counts as used for so long after a notebook was started."""
LOOK_SECONDS = 10
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
COMPONENT = "placeholder"
PENDING, NOTEBOOK = "Pending", "singleuser-server"

log = logging.getLogger("placeholders")


@dataclass(frozen=True)
class Pod:
    """What counts of a pod of the course."""

    name: str
    component: str
    phase: str
    node: str | None
    created: dt.datetime


@dataclass(frozen=True)
class Steps:
    """What to do about placeholders, by name."""

    make: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def steps(pods: Iterable[Pod], now: dt.datetime, keep: int, most: int) -> Steps:
    """What brings the placeholders to the wanted number: `keep` while the course is used, fewer where they and the
    notebooks would be more than `most`, none while as many notebooks wait for a node, none when nobody uses the course.
    """
    pods = list(pods)
    there = {pod.name: pod for pod in pods if pod.component == COMPONENT}
    running = [pod for pod in pods if pod.component == NOTEBOOK and pod.phase in (PENDING, "Running")]
    waiting = sum(pod.node is None for pod in running)
    in_use = any((now - pod.created).total_seconds() < IN_USE_SECONDS for pod in running)
    wanted = max(0, min(keep, most - len(running)) - waiting) if in_use else 0

    ended = [name for name, pod in there.items() if pod.phase not in (PENDING, "Running")]
    # those without a node first, unless room is needed: then those that have one
    standing = sorted(there.keys() - ended, key=lambda name: ((there[name].node is None) == (waiting > 0), name))
    surplus = standing[: max(0, len(standing) - wanted)]
    free = [name for number in range(keep) if (name := f"{COMPONENT}-{number}") not in there]
    return Steps(make=tuple(free[: max(0, wanted - len(standing))]), remove=tuple(sorted({*ended, *surplus})))


def pod_of(item: Any) -> Pod:
    """A pod as the cluster describes it."""
    return Pod(
        name=item.metadata.name,
        component=(item.metadata.labels or {}).get("component", ""),
        phase=PENDING if item.status.phase is None else item.status.phase,
        node=item.spec.node_name,
        created=item.metadata.creation_timestamp,
    )


async def look(api: Any, namespace: str, settings: dict[str, Any]) -> None:
    """Look once, and do what is to be done. What is already done by somebody else is fine."""
    found = await api.list_namespaced_pod(namespace, resource_version="0")
    todo = steps(map(pod_of, found.items), dt.datetime.now(dt.UTC), settings["keep"], settings["most"])
    for name in todo.remove:
        await _unless(404, api.delete_namespaced_pod(name, namespace, grace_period_seconds=0))
    for name in todo.make:
        manifest = {**settings["pod"], "metadata": {**settings["pod"]["metadata"], "name": name}}
        await _unless(409, api.create_namespaced_pod(namespace, manifest))


async def _unless(status: int, request: Any) -> None:
    try:
        await request
    except Exception as error:
        if getattr(error, "status", None) != status:
            raise


async def run(settings: dict[str, Any]) -> None:
    """Look again and again; trouble with the cluster is told, and tried again."""
    from kubernetes_asyncio import client, config

    config.load_incluster_config()  # type: ignore[no-untyped-call]
    async with client.ApiClient() as connection:
        while True:
            try:
                await look(client.CoreV1Api(connection), NAMESPACE.read_text().strip(), settings)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next look tries again)
                log.warning("Placeholders could not be looked after: %s", str(error)[:300])
            await asyncio.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))
