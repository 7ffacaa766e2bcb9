"""The end of a course for its participants: nobody but leads gets in, and no server of anybody else runs.

Leads go on until the removal: they may want to look at what was made. `end_everything` is their end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from automation.events import Warned
from automation.failures import HubFailed, IdentityProviderFailed, OperationFailed
from course_stack.hub_rules import CHECK_USER
from course_stack.identity import IdentityError, IdentityProvider
from course_stack.names import CourseNames
from course_stack.target import Target
from portal.archives import records
from portal.archives.places import storage_of
from portal.archives.storage import HomeStorage, Owner
from portal.groups.reconcile import connected, nobody_is_at
from portal.hub_api import HubApi, HubUnreachable, Patience
from portal.models import Course
from portal.texts import N_
from portal.worker.run import Run

Connect = Callable[[Target], AbstractContextManager[IdentityProvider]]
Homes = Mapping[str, Owner | None]


@dataclass(frozen=True, slots=True)
class Ended:
    """Whose access ended: how many servers that were, and everybody whom the hub still knew (by subject)."""

    servers: int
    people: frozenset[str]


def close(run: Run, *, patience: Patience | None = None, connect: Connect = connected) -> dict[str, Any]:
    """Let participants in no more, stop their servers, and see that none is left, at the hub and at the storage.

    From then on their homes change no more, and archives of them count. Raises `OperationFailed`: what was done stays
    done, and the next try goes on.
    """
    patience = patience or Patience()
    leads = frozenset(run.spec.leads)
    storage = storage_of(run.target, run.slug)
    _refuse_lost_homes(run, storage, patience)
    run.step(N_("Participants are let in no more"))
    _let_in_only(run, leads, patience, connect)
    ended = _end_servers(run, storage, leads, patience)
    with _homes_known(run, storage) as (session, course, homes):
        records.servers_stopped(session, course, homes.keys() - _homes_of(homes, leads), run.clock.now())
    return {"servers_stopped": ended.servers, "homes": len(homes)}


def end_everything(run: Run, *, patience: Patience | None = None, connect: Connect = connected) -> dict[str, Any]:
    """Let nobody in any more, leads neither, and end every server: just before the hub is destroyed.

    Homes whose people were still there are marked: an archive counts only if it begins after this.
    """
    patience = patience or Patience()
    storage = storage_of(run.target, run.slug)
    run.step(N_("Nobody is let in any more"))
    _let_in_only(run, frozenset(), patience, connect)
    were_in_use = storage.in_use()
    ended = _end_servers(run, storage, frozenset(), patience)
    with _homes_known(run, storage) as (session, course, homes):
        still_there = were_in_use | _homes_of(homes, ended.people) | records.with_open_end(session, course)
        records.servers_stopped(session, course, homes.keys() & still_there, run.clock.now())
    return {"servers_stopped": ended.servers, "homes": len(homes)}


@contextmanager
def _homes_known(run: Run, storage: HomeStorage) -> Iterator[tuple[Session, Course, Homes]]:
    """The homes that the storage has now, all of them in the database, in a transaction."""
    storage.remove_check_home()
    homes = storage.homes()
    with run.transaction() as session:
        course = run.course(session)
        records.remember_homes(session, course, homes, run.clock.now())
        session.flush()
        yield session, course, homes


def _let_in_only(run: Run, leads: frozenset[str], patience: Patience, connect: Connect) -> None:
    """Leave nobody but these leads in the course's groups at the identity provider; groups that are gone stay gone."""
    _await_reconciler(run, patience)
    names = CourseNames(run.slug)
    try:
        with connect(run.target) as provider:
            for group in (names.group, names.lead_group):
                if members := provider.group_members(group):
                    provider.ensure_group(group, members & leads)
    except IdentityError as error:
        raise IdentityProviderFailed(str(error)) from error


def _await_reconciler(run: Run, patience: Patience) -> None:
    """Whoever brings groups in step by what was read before the end of the course must not write after us."""
    for _ in range(1 + int(patience.stop / patience.poll)):
        with run.transaction() as session:
            if nobody_is_at(session, run.course_id):
                return
        run.check()
        time.sleep(patience.poll)
    raise OperationFailed("The course's people are being brought in step, and that does not end.")


def _end_servers(run: Run, storage: HomeStorage, staying: frozenset[str], patience: Patience) -> Ended:
    """End the servers of everybody but `staying`, and remove these people from the hub.

    A hub that does not answer keeps no server alive: the storage is asked too, and whatever has a home open is ended
    without the hub.
    """
    stopped, people = 0, frozenset[str]()
    try:
        if run.hub is not None:
            with HubApi(run.hub, patience=patience, between=run.check) as api:
                stay = {subject.casefold() for subject in staying}
                leaving = [user for user in api.users() if user.name.casefold() not in stay]
                people = frozenset(user.name for user in leaving)
                running = [user.name for user in leaving if user.servers]
                if running:
                    run.step(N_("Stopping servers: %(count)s"), count=len(running))
                stopped = len(running)
                _refuse_troubles(api.stop_all(running))
                for name in sorted(people):
                    run.check()
                    api.delete_user(name)
    except HubUnreachable as error:
        run.tell(Warned(f"{error} Servers are ended without it."))
    if forgotten := storage.in_use() - _homes_of(storage.homes(), staying):
        run.step(N_("Ending servers that the hub did not end: %(count)s"), count=len(forgotten))
        storage.end_use(forgotten)
    if left := storage.in_use() - _homes_of(storage.homes(), staying):
        raise HubFailed(f"{len(left)} servers still run, among them that of {min(left)}: see the hub's log.")
    return Ended(stopped + len(forgotten), people)


def _refuse_lost_homes(run: Run, storage: HomeStorage, patience: Patience) -> None:
    """A storage that is not there would look like a course in which nobody did anything: whoever works has a home.
    Looked at before anything is ended, so that the next try finds the same."""
    if run.hub is None:
        return
    try:
        with HubApi(run.hub, patience=patience, between=run.check) as api:
            working = {user.name for user in api.running() if any(server.ready for server in user.servers)}
    except HubUnreachable:
        return
    owners = {owner.subject.casefold() for owner in storage.homes().values() if owner is not None} | {CHECK_USER}
    if without := [name for name in sorted(working) if name.casefold() not in owners]:
        raise OperationFailed(
            f"The storage has no home of {len(without)} people whose servers run, among them {without[0]}: is the disk "
            "of the homes there?"
        )


def _refuse_troubles(report: Mapping[str, str | None]) -> None:
    troubles = {name: why for name, why in report.items() if why is not None}
    if troubles:
        name, why = next(iter(troubles.items()))
        raise HubFailed(f"{len(troubles)} of {len(report)} servers did not stop, among them that of {name}: {why}")


def _homes_of(homes: Homes, people: AbstractSet[str]) -> frozenset[str]:
    """Names of these people's homes."""
    return frozenset(name for name, owner in homes.items() if owner is not None and owner.subject in people)
