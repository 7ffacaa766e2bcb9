"""What of our courses this machine, its identity provider and its object store really hold: the independent look."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from automation.audit import Thing
from course_stack import identity, object_store
from course_stack.local import hub_process
from course_stack.local.layout import Layout
from course_stack.names import PREFIX, CourseNames
from course_stack.target import Target


class LocalReality:
    """A local target, asked part by part and never by way of the state."""

    def __init__(self, layout: Layout, target: Target) -> None:
        self._layout = layout
        self._target = target

    def things_of(self, slug: str) -> frozenset[Thing]:
        """What a whole course has."""
        names = CourseNames(slug)
        return frozenset(
            {
                Thing("hub", slug),
                Thing("OIDC client", names.client),
                Thing("group", names.group),
                Thing("group", names.lead_group),
                Thing("bucket", names.bucket),
                Thing("object store user", names.store_user),
            }
        )

    def found(self) -> frozenset[Thing]:
        """Everything that carries our prefix, the platform's own buckets and users left out."""
        provider = identity.connect(self._target, self._layout.credentials)
        store = object_store.connect(self._target, self._layout.credentials)
        with ThreadPoolExecutor(4) as pool:
            asked = {
                "OIDC client": pool.submit(provider.client_names, PREFIX),
                "group": pool.submit(provider.group_names, PREFIX),
                "bucket": pool.submit(store.bucket_names, PREFIX),
                "object store user": pool.submit(store.user_names, PREFIX),
            }
            found = {Thing(kind, name) for kind, names in asked.items() for name in names.result()}
        hubs = {Thing("hub", slug) for slug in hub_process.courses(self._layout)}
        return frozenset(thing for thing in found | hubs if thing.name not in _OURS)

    def traces(self, slug: str) -> list[str]:
        """Everything that is there of one course, in words."""
        things = self.things_of(slug) & self.found()
        words = [f"{thing.kind} {thing.name}" for thing in sorted(things) if thing.kind != "hub"]
        return [*words, *hub_process.traces(self._layout, slug)]


_OURS = frozenset({f"{PREFIX}state", f"{PREFIX}admin"})
"""Names behind our prefix that belong to the platform; no course may be called so."""
