"""What a target and the services behind it really hold of our courses, asked of each part itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from automation.audit import Reality, Thing
from automation.engine import credentials_folder
from course_stack import identity, object_store
from course_stack.local import hub_process
from course_stack.local.layout import Layout
from course_stack.local.supervisor import Supervisor
from course_stack.names import PREFIX, CourseNames
from course_stack.spec.fields import RESERVED_SLUGS
from course_stack.target import Target

HUB = "hub"
REMAINS = "files, port or processes"
CLIENT = "OIDC client"
GROUP = "group"
BUCKET = "bucket"
STORE_USER = "object store user"


class Look(Reality, Protocol):
    """A `Reality` that also tells of one course by itself."""

    def traces(self, slug: str) -> list[str]:
        """Everything of one course that must not outlive it and is there, in words: the look after a removal."""
        ...


def reality_of(target: Target, layout: Layout) -> Look:
    """What really is on the target. The services behind it must run; raises what they raise where they do not."""
    return LocalReality(layout, target) if target.cluster is None else ClusterReality(layout, target)


class Services:
    """What every course has at the services behind its target, wherever its hub runs."""

    def __init__(self, target: Target, folder: Path | None) -> None:
        self._identity = identity.connect(target, folder)
        self._store = object_store.connect(target, folder)
        self._keep_buckets = target.object_store.keep_buckets

    def things_of(self, slug: str) -> frozenset[Thing]:
        """By the names that follow from the slug."""
        names = CourseNames(slug)
        return frozenset(
            {
                Thing(CLIENT, names.client),
                Thing(GROUP, names.group),
                Thing(GROUP, names.lead_group),
                Thing(BUCKET, names.bucket),
                Thing(STORE_USER, names.store_user),
            }
        )

    def found(self) -> frozenset[Thing]:
        """Everything with our prefix."""
        asked = {
            CLIENT: self._identity.client_names,
            GROUP: self._identity.group_names,
            BUCKET: self._store.bucket_names,
            STORE_USER: self._store.user_names,
        }
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = {kind: pool.submit(names, PREFIX) for kind, names in asked.items()}
            return frozenset(
                Thing(kind, name) for kind, names in answers.items() for name in names.result() if _is_of_a_course(name)
            )

    def may_stay(self, thing: Thing) -> bool:
        """A bucket, where the target keeps those of destroyed courses."""
        return thing.kind == BUCKET and self._keep_buckets

    def traces(self, slug: str) -> list[str]:
        """What there is of one course, and must not outlive it."""
        there = {thing for thing in self.found() & self.things_of(slug) if not self.may_stay(thing)}
        for_a_while = CourseNames(slug).archive_user
        there |= {Thing(STORE_USER, name) for name in self._store.user_names(for_a_while) if name == for_a_while}
        return [f"{thing.kind} {thing.name}" for thing in sorted(there)]


class LocalReality:
    """The `Look` of a local target."""

    def __init__(self, layout: Layout, target: Target) -> None:
        self._layout = layout
        self._services = Services(target, layout.credentials)

    def things_of(self, slug: str) -> frozenset[Thing]:
        return self._services.things_of(slug) | {Thing(HUB, slug), Thing(REMAINS, slug)}

    def found(self) -> frozenset[Thing]:
        """With every course of which this machine holds anything."""
        running = {
            Thing(HUB, name.removeprefix("hub-"))
            for name, state in Supervisor(self._layout).status().items()
            if name.startswith("hub-") and state.state == "RUNNING"
        }
        remains = {Thing(REMAINS, slug) for slug in hub_process.courses(self._layout)}
        return self._services.found() | running | remains

    def may_stay(self, thing: Thing) -> bool:
        return self._services.may_stay(thing)

    def traces(self, slug: str) -> list[str]:
        return [*hub_process.traces(self._layout, slug), *self._services.traces(slug)]


class ClusterReality:
    """The `Look` of a target on a cluster."""

    def __init__(self, layout: Layout, target: Target) -> None:
        from course_stack.kubernetes.api import connect
        from course_stack.kubernetes.look import ClusterLook

        folder = credentials_folder(target, layout)
        self._look = ClusterLook(connect(target, folder))
        self._services = Services(target, folder)

    def things_of(self, slug: str) -> frozenset[Thing]:
        return self._services.things_of(slug) | {Thing(*one) for one in self._look.things_of(slug)}

    def found(self) -> frozenset[Thing]:
        return self._services.found() | {Thing(*one) for one in self._look.found()}

    def may_stay(self, thing: Thing) -> bool:
        return self._services.may_stay(thing)

    def traces(self, slug: str) -> list[str]:
        return [*self._look.traces(slug), *self._services.traces(slug)]


def _is_of_a_course(name: str) -> bool:
    """What follows our prefix is a slug, unless no course may have it: then it is a part of the platform. With `--` it
    belongs to work that is under way."""
    return name.removeprefix(PREFIX) not in RESERVED_SLUGS and "--" not in name
