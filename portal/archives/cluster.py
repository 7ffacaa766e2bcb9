"""Homes on a cluster: claims in the course's namespace, copied by Jobs that mount them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from course_stack import object_store
from course_stack.credentials import CredentialsError
from course_stack.hub_rules import CHECK_USER
from course_stack.kubernetes.api import Cluster, ClusterError, connect
from course_stack.kubernetes.homes import ClaimPlace, HomeClaims
from course_stack.kubernetes.jobs import Job, JobFailed, Jobs
from course_stack.names import CourseNames
from course_stack.object_store import ObjectStoreError
from course_stack.target import Target
from course_stack.trust import authority
from portal.archives.bundle import program
from portal.archives.copy import CopyingEnded, Order, Outcome
from portal.archives.pod import AUTHORITY, ORDER, outcome_of
from portal.archives.storage import Owner, StorageFailed
from portal.archives.store import CREDENTIALS, ArchiveStore

if TYPE_CHECKING:
    from collections.abc import Iterable

KIND = "archive"


def cluster_homes(target: Target, slug: str, folder: Path | None = None) -> ClusterHomes:
    """The course's homes on the target's cluster, with the credentials of `folder` (default: of
    `JHAAS_CREDENTIALS_DIR`)."""
    with _failing():
        return ClusterHomes(connect(target, folder), target, slug, folder)


class ClusterHomes:
    """A `HomeStorage` of one course on a cluster; a home's name is its claim's."""

    at_once: ClassVar[int] = 8
    """A pod is not given more volumes: clouds mount some twenty on a node."""

    def __init__(self, cluster: Cluster, target: Target, slug: str, folder: Path | None = None) -> None:
        assert target.cluster is not None
        self._target, self._slug, self._folder = target, slug, folder
        self._claims = HomeClaims(cluster, slug)
        self._jobs = Jobs(cluster, target.cluster, slug)

    def homes(self) -> Mapping[str, Owner | None]:
        with _failing():
            found = self._claims.owners()
        return {
            name: None if owner is None else Owner(owner.issuer, owner.subject)
            for name, owner in sorted(found.items())
            if owner is None or owner.subject != CHECK_USER
        }

    def in_use(self) -> frozenset[str]:
        with _failing():
            return self._claims.in_use()

    def end_use(self, homes: frozenset[str]) -> None:
        with _failing():
            self._claims.end_use(homes)

    def remove_check_home(self) -> None:
        with _failing():
            self._claims.remove(CHECK_USER)

    def archive(self, orders: Sequence[Order], store: ArchiveStore, tick: Callable[[int], None]) -> Iterator[Outcome]:
        with self._key(orders, store) as key, _failing():
            places = self._claims.places([order.home for order in orders])
            for place, group in _together(orders, places):
                yield from self._copy(place, group, store, key, tick)

    @contextmanager
    def _key(self, orders: Sequence[Order], store: ArchiveStore) -> Iterator[Mapping[str, str]]:
        """A key for the Jobs that opens the course's own archives, while they run: the hub may read Secrets of its
        namespace, and archives of other courses are none of its business."""
        (course,) = {order.key.partition("/")[0] for order in orders}
        admin = object_store.connect(self._target, self._folder)
        user = CourseNames(self._slug).archive_user
        key = admin.ensure_writer(user, store.bucket, f"{course}/")
        try:
            yield {"access_key_id": key.key_id, "secret_access_key": key.secret}
        finally:
            # what cannot be deleted now is by the next try, or with the course
            with suppress(ObjectStoreError):
                admin.delete_user(user)

    def _copy(
        self,
        place: ClaimPlace,
        orders: Sequence[Order],
        store: ArchiveStore,
        key: Mapping[str, str],
        tick: Callable[[int], None],
    ) -> Iterator[Outcome]:
        waiting = {order.home: order for order in orders}
        try:
            for told in self._jobs.run(self._job(place, orders, store, key), tick):
                home, outcome = outcome_of(told)
                if waiting.pop(home, None):
                    yield home, outcome
        except JobFailed as failure:
            if failure.of_volumes and len(orders) > 1:
                # one volume that cannot be mounted must not keep the others from being copied
                for order in orders:
                    yield from self._copy(place, [order], store, key, tick)
                return
            why = str(failure)
        else:
            why = "The Job that copied the home ended without a word of it."
        for home in waiting:
            yield home, CopyingEnded(why)

    def _job(self, place: ClaimPlace, orders: Sequence[Order], store: ArchiveStore, key: Mapping[str, str]) -> Job:
        order = {
            "store": self._target.object_store.model_dump(mode="json"),
            "bucket": store.bucket,
            "homes": [asdict(one) for one in orders],
        }
        vouching = authority(self._target, self._folder)
        return Job(
            kind=KIND,
            name=job_name(orders),
            program=program(),
            order={ORDER: json.dumps(order, indent=1), **({AUTHORITY: vouching} if vouching else {})},
            keys={CREDENTIALS: json.dumps(dict(key))},
            claims=tuple(one.home for one in orders),
            node=place.node,
        )


def job_name(orders: Sequence[Order]) -> str:
    """From the archives' keys, of which no two tries have the same: another try is another Job."""
    keys = "\n".join(one.key for one in orders)
    return f"{KIND}-{hashlib.sha256(keys.encode()).hexdigest()[:16]}"


def _together(orders: Iterable[Order], places: Mapping[str, ClaimPlace]) -> list[tuple[ClaimPlace, list[Order]]]:
    """The orders by the place where their claims can be mounted."""
    groups: dict[ClaimPlace, list[Order]] = {}
    for order in orders:
        groups.setdefault(places.get(order.home, ClaimPlace("", None)), []).append(order)
    return list(groups.items())


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (ClusterError, CredentialsError) as error:
        raise StorageFailed(str(error)) from error
