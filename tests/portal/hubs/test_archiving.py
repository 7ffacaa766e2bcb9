"""Which homes are archived when, what counts, and what blocks the removal: on a real database, with homes in a folder
and archives in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from automation.events import Progress
from automation.failures import Cancelled, IdentityProviderFailed, ObjectStoreFailed, OperationFailed
from course_stack.identity import IdentityError
from course_stack.object_store import ObjectStoreError
from course_stack.target import Target
from portal.actor import Actor
from portal.archives import records, walk
from portal.archives.causes import CAUSES
from portal.archives.copy import Failure, Order, Outcome, archive_homes
from portal.archives.places import storage_of
from portal.archives.storage import Owner, StorageFailed
from portal.archives.store import ArchiveStore
from portal.archives.waiver import waive
from portal.archives.walk import HomeUnreadable, Member, Skipped
from portal.config import PortalSettings
from portal.courses.life import lock
from portal.courses.problems import Invalid, Refused
from portal.courses.specs import spec_of
from portal.db import Sessions, transaction
from portal.lifecycle import Status
from portal.models import Archive, AuditEntry, Course, Home, User
from portal.worker import archiving, closing
from portal.worker import homes as noting
from portal.worker.archiving import HomesNotArchived, archive, archive_leads
from portal.worker.closing import close
from portal.worker.homes import note_homes
from tests.portal.clock import MovableClock
from tests.portal.hubs.keepers import MemoryKeeper
from tests.portal.makers import ISSUER, make_course, make_user
from tests.portal.support.run import FakeRun


@dataclass
class Homes:
    """Homes in a folder. `used` are those that a server has open."""

    folder: Path
    owners: dict[str, Owner | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    check_homes_removed: int = 0
    at_once: int = 1

    def add(self, name: str, subject: str | None = None) -> None:
        (self.folder / name).mkdir(parents=True)
        (self.folder / name / "file").write_text(name)
        self.owners[name] = Owner(ISSUER, subject or name)

    def homes(self) -> Mapping[str, Owner | None]:
        return dict(self.owners)

    def in_use(self) -> frozenset[str]:
        return frozenset(self.used)

    def end_use(self, homes: frozenset[str]) -> None:
        self.used -= homes

    def archive(self, orders: Sequence[Order], store: Any, tick: Callable[[int], None]) -> Iterator[Outcome]:
        yield from archive_homes(self._read, orders, store, tick)

    def _read(self, home: str) -> Iterator[Member | Skipped]:
        if home in self.broken:
            raise HomeUnreadable("'disk' cannot be read: Input/output error.")
        yield from walk.walk(self.folder / home)

    def remove_check_home(self) -> None:
        self.check_homes_removed += 1


class Keeper(MemoryKeeper):
    bucket = "jhaas-archives"
    is_down = False
    aborted: list[str]

    def upload(self, key: str) -> Any:
        if self.is_down:
            raise ObjectStoreError("The object store does not answer.")
        return super().upload(key)

    def abort_uploads(self, _course: uuid.UUID, _closing: int, home: str) -> int:
        self.aborted.append(home)
        return 0


class Groups:
    """An identity provider with two groups."""

    def __init__(self, everybody: set[str], leads: set[str]) -> None:
        self.groups: dict[str, set[str]] = {"jhaas-the-course": everybody, "jhaas-the-course-leads": leads}
        self.is_down = False

    @contextmanager
    def connect(self, _: Target) -> Iterator[Any]:
        if self.is_down:
            raise IdentityError("The identity provider does not answer.")
        yield self

    def group_members(self, name: str) -> frozenset[str] | None:
        return frozenset(self.groups[name]) if name in self.groups else None

    def ensure_group(self, name: str, members: Any) -> str:
        self.groups[name] = set(members)
        return name


@dataclass
class World:
    """A course with a lead, two participants and their homes; nobody has archived anything yet."""

    run: FakeRun
    clock: MovableClock
    storage: Homes
    keeper: Keeper
    groups: Groups

    def rows(self) -> list[Archive]:
        with transaction(self.run.sessions) as session:
            return list(session.scalars(select(Archive).order_by(Archive.home, Archive.closing, Archive.number)))

    def missing(self, **how: Any) -> list[str]:
        with transaction(self.run.sessions) as session:
            course = session.get_one(Course, self.run.course_id)
            found = [home.home for home in records.missing(session, course, **how)]
            assert records.settled(session, course, **how) is (not found or records.waived(course))
            return found

    def close(self) -> dict[str, Any]:
        return close(self.run, connect=self.groups.connect)

    def last_pass(self) -> dict[str, Any]:
        return archive_leads(self.run, connect=self.groups.connect)

    def change(self, act: Callable[[Session, Course], None]) -> None:
        with transaction(self.run.sessions) as session:
            act(session, lock(session, self.run.course_id))


@pytest.fixture
def world(
    session_factory: Sessions,
    clock: MovableClock,
    settings: PortalSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    with transaction(session_factory) as session:
        lead = make_user(session, clock, "lena", teacher=True)
        people = tuple(make_user(session, clock, name) for name in ("anna", "ben"))
        course = make_course(session, clock, lead, status=Status.CLOSING, slug="the-course", participants=people)
        spec = spec_of(session, course)
        session.flush()
        target = Target.model_validate(
            {
                "name": "local",
                "kind": "local",
                "hub_domain": "localhost",
                "identity": {"kind": "canaille", "url": ISSUER},
                "object_store": {"kind": "seaweedfs", "endpoint": "http://127.0.0.1:1"},
            }
        )
    storage, keeper = Homes(tmp_path / "homes"), Keeper()
    keeper.aborted = []
    for name in ("anna", "ben", "lena"):
        storage.add(name)
    for module in (archiving, closing):
        monkeypatch.setattr(module, "storage_of", lambda *_: storage)
    monkeypatch.setattr(ArchiveStore, "of", lambda *_: keeper)
    run = FakeRun(session_factory, clock, settings, course.id, spec, target)
    return World(run, clock, storage, keeper, Groups({"anna", "ben", "lena"}, {"lena"}))


def test_the_close_leaves_leads_in_the_groups_and_ends_all_other_servers(world: World) -> None:
    world.storage.used = {"anna", "lena", "of-nobody-known", "jhaas-check"}
    assert world.close() == {"servers_stopped": 3, "homes": 3}
    assert world.groups.groups == {"jhaas-the-course": {"lena"}, "jhaas-the-course-leads": {"lena"}}
    assert world.storage.used == {"lena"}
    assert world.storage.check_homes_removed == 1
    assert world.missing() == ["anna", "ben", "lena"]


def test_nothing_is_stopped_while_participants_might_come_in_again(world: World) -> None:
    world.groups.is_down = True
    world.storage.used = {"anna"}
    with pytest.raises(IdentityProviderFailed, match="does not answer"):
        world.close()
    assert world.storage.used == {"anna"}


def test_homes_of_people_who_left_are_archived_too(world: World) -> None:
    """The list comes from the storage: a person who was removed, and a home of nobody known."""
    world.storage.add("removed", "somebody-removed-long-ago")
    world.storage.add("stray")
    world.storage.owners["stray"] = None
    world.close()
    assert archive(world.run)["archived"] == 5
    assert world.missing() == []
    assert [(row.home, row.subject) for row in world.rows() if row.home in ("removed", "stray")] == [
        ("removed", "somebody-removed-long-ago"),
        ("stray", None),
    ]


def test_an_archive_that_began_before_the_server_stopped_does_not_count(world: World) -> None:
    world.close()
    archive(world.run)
    assert world.missing() == []
    world.clock.move(minutes=5)
    world.storage.used = {"anna"}
    world.close()
    assert world.missing() == ["anna", "ben"]
    assert archive(world.run)["archived"] == 2
    assert world.missing() == []


def test_a_home_that_cannot_be_read_keeps_no_other_from_being_archived_and_blocks_the_removal(world: World) -> None:
    world.storage.broken = {"anna"}
    world.close()
    with pytest.raises(OperationFailed, match="1 of 3 homes could not be archived, among them anna: 'disk' cannot"):
        archive(world.run)
    assert world.missing() == ["anna"]
    assert [(row.home, row.status) for row in world.rows()] == [
        ("anna", "failed"),
        ("ben", "verified"),
        ("lena", "verified"),
    ]
    world.storage.broken = set()
    assert (found := archive(world.run))["archived"] == 1
    assert found["already_archived"] == 2
    assert [(row.number, row.status) for row in world.rows() if row.home == "anna"] == [(1, "failed"), (2, "verified")]


def test_a_home_that_is_gone_from_the_storage_blocks_the_removal(world: World) -> None:
    world.close()
    del world.storage.owners["ben"]
    with pytest.raises(OperationFailed, match="among them ben: The home is no longer in the storage"):
        archive(world.run)
    assert world.missing() == ["ben"]


def test_each_try_that_fails_says_what_kind_of_failure_it_was(world: World) -> None:
    world.close()
    world.storage.broken = {"anna"}
    world.storage.used = {"ben"}
    del world.storage.owners["lena"]
    with pytest.raises(HomesNotArchived):
        archive(world.run)
    world.storage.broken, world.storage.used = set(), set()
    world.keeper.damage = lambda data: data + b"x"
    with pytest.raises(HomesNotArchived):
        archive(world.run)
    world.keeper.is_down = True
    with pytest.raises(ObjectStoreFailed):
        archive(world.run)
    kinds = {home: [row.failure_kind for row in world.rows() if row.home == home] for home in ("anna", "ben", "lena")}
    assert kinds == {
        "anna": ["HomeUnreadable", "ArchiveDamaged", "ObjectStoreFailed"],
        "ben": ["HomeInUse", "ArchiveDamaged"],
        "lena": ["HomeGone", "HomeGone"],
    }
    assert all(row.failure for row in world.rows())


def test_every_kind_of_failure_of_an_archive_has_words() -> None:
    def kinds(one: type) -> set[str]:
        return {one.__name__}.union(*map(kinds, one.__subclasses__()))

    assert set().union(*map(kinds, get_args(Failure))) < CAUSES.keys()


def test_a_store_that_is_down_is_told_once_and_the_next_try_goes_on(world: World) -> None:
    world.close()
    world.keeper.is_down = True
    with pytest.raises(ObjectStoreFailed, match=r"^The object store does not answer\.$"):
        archive(world.run)
    assert [(row.home, row.status, row.failure) for row in world.rows()] == [
        ("anna", "failed", "The object store does not answer.")
    ]
    world.keeper.is_down = False
    assert archive(world.run)["archived"] == 3


def test_homes_that_are_copied_at_once_count_one_by_one(world: World) -> None:
    world.storage.at_once = 2
    world.storage.broken = {"anna"}
    world.close()
    with pytest.raises(OperationFailed, match="1 of 3 homes could not be archived, among them anna"):
        archive(world.run)
    assert [step for step in world.run.steps if "rchiving" in step] == [
        "Archiving homes 1 to 2 of 3",
        "Archiving home 3 of 3: lena",
    ]
    assert [(row.home, row.status) for row in world.rows()] == [
        ("anna", "failed"),
        ("ben", "verified"),
        ("lena", "verified"),
    ]
    assert [event for event in world.run.told if isinstance(event, Progress)] == [
        Progress(1, 3),
        Progress(2, 3),
        Progress(3, 3),
    ]


def test_what_was_copied_before_the_storage_failed_stays_copied(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.storage.at_once = 3
    world.close()
    copy = world.storage.archive

    def failing(orders: Sequence[Order], store: Any, tick: Callable[[int], None]) -> Iterator[Outcome]:
        yield next(copy(orders, store, tick))
        raise StorageFailed("The cluster does not answer.")

    monkeypatch.setattr(world.storage, "archive", failing)
    with pytest.raises(StorageFailed, match="does not answer"):
        archive(world.run)
    assert [(row.home, row.status, row.failure) for row in world.rows()] == [
        ("anna", "verified", ""),
        ("ben", "failed", "The cluster does not answer."),
        ("lena", "failed", "The cluster does not answer."),
    ]


def test_an_interrupted_pass_goes_on_where_it_was(world: World) -> None:
    """The worker vanishes in the middle of the second home; nothing can be written any more."""
    world.close()

    def stop() -> None:
        if any("home 2" in step for step in world.run.steps):
            raise Cancelled("stopped")

    world.run.on_check = stop
    with pytest.raises(Cancelled):
        archive(world.run)
    assert [(row.home, row.status) for row in world.rows()] == [("anna", "verified"), ("ben", "running")]
    world.run.on_check = lambda: None
    world.keeper.aborted.clear()
    assert archive(world.run)["archived"] == 2
    assert world.keeper.aborted == ["ben", "lena"]
    assert [(row.home, row.number, row.status, row.failure) for row in world.rows()] == [
        ("anna", 1, "verified", ""),
        ("ben", 1, "failed", "The copying was interrupted."),
        ("ben", 2, "verified", ""),
        ("lena", 1, "verified", ""),
    ]


def test_what_an_abandoned_try_left_is_removed(world: World) -> None:
    world.close()
    world.keeper.damage = lambda data: data + b"x"
    with pytest.raises(OperationFailed):
        archive(world.run)
    assert world.keeper.objects == {}
    old = {row.key for row in world.rows()}
    world.keeper.damage = lambda data: data
    world.keeper.objects |= dict.fromkeys(old, b"late part of a worker that lost its attempt")
    archive(world.run)
    assert world.keeper.objects.keys() == {row.key for row in world.rows() if row.status == "verified"}


def test_archives_of_an_earlier_closing_do_not_count(world: World) -> None:
    world.close()
    archive(world.run)
    world.clock.move(days=10)

    def close_again(_: Session, course: Course) -> None:
        course.closing, course.closing_since = 2, world.clock.now()

    world.change(close_again)
    world.run.closing = 2
    assert world.missing() == ["anna", "ben", "lena"]
    world.close()
    assert archive(world.run)["archived"] == 3
    assert world.missing() == []
    assert {row.key.split("/")[1] for row in world.rows()} == {"1", "2"}


def test_work_of_an_earlier_closing_does_nothing(world: World) -> None:
    world.close()

    def close_again(_: Session, course: Course) -> None:
        course.closing = 2

    world.change(close_again)
    with pytest.raises(OperationFailed, match="at its closing 2, not 1"):
        archive(world.run)
    assert world.rows() == []


def test_the_last_pass_copies_what_leads_did_since_and_lets_nobody_in(world: World) -> None:
    world.close()
    archive(world.run)
    assert world.missing(final=True) == ["lena"]
    world.clock.move(days=14)
    world.storage.used = {"lena"}
    found = world.last_pass()
    assert (found["servers_stopped"], found["archived"]) == (1, 1)
    assert world.groups.groups == {"jhaas-the-course": set(), "jhaas-the-course-leads": set()}
    assert world.missing(final=True) == []
    # the removal failed half-way and is tried again: homes are gone by now
    world.clock.move(hours=1)
    world.storage.owners.clear()
    assert world.last_pass()["archived"] == 0


def test_the_last_pass_stops_the_removal_where_a_home_cannot_be_copied(world: World) -> None:
    world.close()
    archive(world.run)
    world.storage.broken = {"lena"}
    world.clock.move(days=14)
    with pytest.raises(OperationFailed, match="1 of 1 homes could not be archived, among them lena"):
        world.last_pass()
    assert world.missing(final=True) == ["lena"]


def test_what_is_no_file_is_told_and_counted(world: World) -> None:
    import os

    os.mkfifo(world.storage.folder / "anna" / "pipe")
    world.close()
    found = archive(world.run)
    assert found["left_out"] == 1
    assert world.run.warnings == ["anna: 'pipe' is not in the archive as it was: a pipe."]
    assert [row.skipped for row in world.rows()] == [1, 0, 0]


# --- doing without


def waiving(world: World, actor: Actor, reason: str = "The disk is broken.") -> None:
    with transaction(world.run.sessions) as session:
        waive(session, world.clock, actor, lock(session, world.run.course_id), reason)


@pytest.fixture
def governance(world: World) -> Actor:
    with transaction(world.run.sessions) as session:
        return Actor(make_user(session, world.clock, "gerda", governance=True))


def test_governance_does_without_missing_archives_of_this_closing_only(world: World, governance: Actor) -> None:
    world.storage.broken = {"anna"}
    world.close()
    with pytest.raises(OperationFailed):
        archive(world.run)
    waiving(world, governance)
    with transaction(world.run.sessions) as session:
        course = session.get_one(Course, world.run.course_id)
        assert records.settled(session, course)
        assert records.settled(session, course, final=True)
        entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
        assert entry is not None
        assert (entry.action, entry.actor_id) == ("course.waive_archives", governance.id)
        assert entry.after == {"waived_closing": 1, "reason": "The disk is broken.", "homes": ["anna"]}
        course.closing = 2
        assert not records.settled(session, course)


def test_the_last_pass_still_copies_what_it_can_after_a_waiver(world: World, governance: Actor) -> None:
    world.close()
    waiving(world, governance)
    world.storage.broken = {"anna"}
    found = world.last_pass()
    assert found["archived"] == 2
    assert list(found["failed"]) == ["anna"]


@pytest.mark.parametrize("login", ["lena", "anna"])
def test_nobody_else_does_without_archives(world: World, login: str) -> None:
    with transaction(world.run.sessions) as session:
        user = session.scalars(select(User).where(User.login == login)).one()
    with pytest.raises(Refused) as refused:
        waiving(world, Actor(user))
    assert refused.value.refusal.code == "not_yours"


@pytest.mark.parametrize(("reason", "field"), [("  ", "is needed"), ("x" * 2001, "is too long")])
def test_a_waiver_needs_a_reason(world: World, governance: Actor, reason: str, field: str) -> None:
    with pytest.raises(Invalid, match=f"reason: {field}"):
        waiving(world, governance, reason)


def test_archives_are_not_waived_before_the_end(world: World, governance: Actor) -> None:
    def reopen(_: Session, course: Course) -> None:
        course.status = Status.ACTIVE

    world.change(reopen)
    with pytest.raises(Refused):
        waiving(world, governance)


# --- homes


def test_whose_each_home_is_is_stored_once_and_kept(world: World) -> None:
    def remember(found: Mapping[str, Owner | None]) -> int:
        with transaction(world.run.sessions) as session:
            return records.remember_homes(session, lock(session, world.run.course_id), found, world.clock.now())

    first = world.clock.now()
    assert remember({"anna": Owner(ISSUER, "anna"), "stray": None}) == 2
    world.clock.move(days=1)
    assert remember({"anna": Owner(ISSUER, "anna"), "stray": Owner(ISSUER, "ben")}) == 0
    assert remember({}) == 0
    with transaction(world.run.sessions) as session:
        stored = {home.home: (home.subject, home.first_seen_at) for home in session.scalars(select(Home))}
    assert stored == {"anna": ("anna", first), "stray": ("ben", first)}


def test_a_target_without_a_data_folder_has_no_homes_to_read(world: World) -> None:
    with pytest.raises(StorageFailed, match="has no data folder: its homes cannot be read"):
        storage_of(world.run.target, "the-course")


def test_homes_are_noted_while_the_course_runs_so_that_a_lost_disk_is_missed_at_its_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting, "storage_of", lambda *_: world.storage)
    assert note_homes(world.run) == 0  # not a storage that we can read
    world.run.target = world.run.target.model_copy(update={"home": tmp_path})
    assert note_homes(world.run) == 3
    assert note_homes(world.run) == 0
    world.storage.owners.clear()
    world.close()
    with pytest.raises(OperationFailed, match=r"3 of 3 homes could not be archived, .* no longer in the storage"):
        archive(world.run)
    assert world.missing() == ["anna", "ben", "lena"]


def test_a_storage_that_fails_stops_no_look_at_the_hub(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Homes:
        raise StorageFailed("The homes cannot be read: Input/output error.")

    monkeypatch.setattr(noting, "storage_of", failing)
    world.run.target = world.run.target.model_copy(update={"home": tmp_path})
    assert note_homes(world.run) == 0
    assert world.run.warnings == ["The homes cannot be read: Input/output error."]
