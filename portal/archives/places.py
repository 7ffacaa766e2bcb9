"""Which storage has a course's homes: its cluster's, or this machine's."""

from __future__ import annotations

from course_stack.local.layout import Layout
from course_stack.target import Target
from portal.archives.cluster import cluster_homes
from portal.archives.local import LocalHomes
from portal.archives.storage import HomeStorage, StorageFailed


def storage_of(target: Target, slug: str) -> HomeStorage:
    """The course's homes on its target."""
    if target.cluster is not None:
        return cluster_homes(target, slug)
    if target.home is None:
        raise StorageFailed(f"The target {target.name} has no data folder: its homes cannot be read.")
    return LocalHomes(Layout(target.home), slug)
