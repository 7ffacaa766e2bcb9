"""What this machine and the services behind it really hold of our courses, asked of each part itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from automation.audit import Thing
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


class LocalReality:
    """A `Reality` of a local target. Its services must run; raises what they raise where they do not."""

    def __init__(self, layout: Layout, target: Target) -> None:
        self._layout = layout
        self._identity = identity.connect(target, layout.credentials)
        self._store = object_store.connect(target, layout.credentials)
        self._keep_buckets = target.object_store.keep_buckets

    def things_of(self, slug: str) -> frozenset[Thing]:
        """By the names that follow from the slug."""
        return self._behind(CourseNames(slug)) | {Thing(HUB, slug), Thing(REMAINS, slug)}

    def found(self) -> frozenset[Thing]:
        """Everything with our prefix, and every course of which this machine holds anything."""
        supervisor = Supervisor(self._layout)
        with ThreadPoolExecutor(4) as pool:
            clients = pool.submit(self._identity.client_names, PREFIX)
            groups = pool.submit(self._identity.group_names, PREFIX)
            buckets = pool.submit(self._store.bucket_names, PREFIX)
            users = pool.submit(self._store.user_names, PREFIX)
            found = {
                Thing(HUB, name.removeprefix("hub-"))
                for name, state in supervisor.status().items()
                if name.startswith("hub-") and state.state == "RUNNING"
            }
            found |= {Thing(REMAINS, slug) for slug in hub_process.courses(self._layout)}
            found |= {Thing(CLIENT, name) for name in clients.result() if _is_of_a_course(name)}
            found |= {Thing(GROUP, name) for name in groups.result() if _is_of_a_course(name)}
            found |= {Thing(BUCKET, name) for name in buckets.result() if _is_of_a_course(name)}
            found |= {Thing(STORE_USER, name) for name in users.result() if _is_of_a_course(name)}
        return frozenset(found)

    def may_stay(self, thing: Thing) -> bool:
        """A bucket, where the target keeps those of destroyed courses."""
        return thing.kind == BUCKET and self._keep_buckets

    def traces(self, slug: str) -> list[str]:
        """Everything of one course that must not outlive it and is there, in words: the look after a removal."""
        behind = {thing for thing in self.found() & self._behind(CourseNames(slug)) if not self.may_stay(thing)}
        return [*hub_process.traces(self._layout, slug), *(f"{thing.kind} {thing.name}" for thing in sorted(behind))]

    def _behind(self, names: CourseNames) -> frozenset[Thing]:
        return frozenset(
            {
                Thing(CLIENT, names.client),
                Thing(GROUP, names.group),
                Thing(GROUP, names.lead_group),
                Thing(BUCKET, names.bucket),
                Thing(STORE_USER, names.store_user),
            }
        )


def _is_of_a_course(name: str) -> bool:
    """What follows our prefix is a slug, unless no course may have it: then it is a part of the platform."""
    return name.removeprefix(PREFIX) not in RESERVED_SLUGS
