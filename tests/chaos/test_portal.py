"""The portal's processes killed at random moments while courses are approved, deployed and end."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import signal
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import zstandard
from sqlalchemy import Engine, func, select

from automation.reality import LocalReality
from course_stack.local.supervisor import Supervisor
from portal import demo, local
from portal.actor import SYSTEM, Actor
from portal.archives.store import ArchiveStore
from portal.config import PortalSettings
from portal.db import Sessions, connect, sessions, transaction
from portal.demo import site_clock
from portal.identity import sessions as web_sessions
from portal.identity.oidc import Tokens
from portal.lifecycle import Status
from portal.models import Archive, Attempt, AuditEntry, Course, Mail, Operation, TargetRecord, User
from portal.sealing import Sealer
from portal.web.cookies import session_name
from tests.chaos.portal_worker import FILES
from tests.conftest import Machine
from tests.portal.makers import make_course, make_target, make_user
from tests.support.browser import Browser
from tests.support.hub_client import HubPerson
from tests.support.portal import running_portal
from tests.support.waiting import wait_for

COURSES = 20
REAL = ("killed-one", "killed-two")
WEB, WORKER, SCHEDULER = "portal-web", "portal-worker", "portal-scheduler"
VICTIMS = (WEB, WORKER, f"{WORKER}-2", SCHEDULER, f"{SCHEDULER}-2")


class Portal:
    """The portal under supervisord, as it runs on one machine: what is killed comes back by itself."""

    def __init__(self, machine: Machine, settings: PortalSettings, engine: Engine, folder: Path) -> None:
        self.machine = machine
        self.settings = settings
        self.sessions: Sessions = sessions(engine)
        self.clock = site_clock(settings, self.sessions)
        self.folder = folder
        self.kills: Counter[str] = Counter()
        self._supervisor = Supervisor(machine.layout)
        quick = {"JHAAS_LEASE_SECONDS": "4", "JHAAS_RETRY_SECONDS": "0.5", "JHAAS_TICK_SECONDS": "0.2",
                 "JHAAS_MAX_TRIES": "20", "JHAAS_GRACE_DAYS": "0", "FILE_STACKS": str(folder)}  # fmt: skip
        programs = local._programs(machine.layout, settings)
        for name in VICTIMS:
            program = programs[name.removesuffix("-2")]
            command = program.command
            if name.startswith(WORKER):
                command = (command[0], "-m", "tests.chaos.portal_worker")
            env = {**program.env, **quick}
            log = program.log.with_name(f"{name}.log")
            self._supervisor.set_program(name, dataclasses.replace(program, command=command, env=env, log=log))

    def kill(self, name: str) -> None:
        """SIGKILL to the process that is this program now."""
        pid = self._supervisor.status()[name].pid
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[name] += 1

    def end(self) -> None:
        for name in VICTIMS:
            self._supervisor.remove_program(name)

    def governance(self) -> Browser:
        """A browser in which somebody of governance is signed in."""
        sealer = Sealer.of(self.settings)
        with transaction(self.sessions) as session:
            person = make_user(session, self.clock, "chaos-governance", governance=True)
            tokens = Tokens("access", "refresh", "id-token", {"sub": person.subject})
            token = web_sessions.begin(
                session, self.clock, self.settings, sealer, Actor(None), person, tokens, browser="Test"
            )
        browser = Browser()
        browser.session.cookies.set(session_name(), token)
        return browser

    def count(self, status: Status) -> int:
        with self.sessions() as session:
            return session.scalar(select(func.count()).where(Course.status == status)) or 0

    def claimed(self) -> int:
        with self.sessions() as session:
            return session.scalar(select(func.count(Attempt.id)).where(Attempt.claimed_at.is_not(None))) or 0


@pytest.fixture
def portal(machine: Machine, tmp_path: Path) -> Iterator[Portal]:
    with running_portal(machine, demo=True) as settings:
        engine = connect(settings.database_url.get_secret_value())
        found = Portal(machine, settings, engine, tmp_path)
        try:
            yield found
        finally:
            found.end()
            engine.dispose()


@pytest.mark.long
@pytest.mark.machine
@pytest.mark.timeout(3000)
def test_nothing_is_lost_and_everything_happens_once_whichever_process_dies(portal: Portal) -> None:
    draw = random.Random(20270311)
    courses = requested(portal)
    approve_all(portal, [course.id for course in courses], draw)
    everybody(portal, Status.ACTIVE, len(courses), draw)
    leave_a_file(portal)
    with transaction(portal.sessions) as session:
        demo.move(session, portal.clock, SYSTEM, days=8)
    everybody(portal, Status.ARCHIVED, len(courses), draw)

    journal = (portal.folder / "journal").read_text().splitlines()
    assert [line for line in journal if line.startswith("overlap")] == []
    assert list(portal.folder.glob("*.stack")) == []
    for slug in REAL:
        assert LocalReality(portal.machine.layout, portal.machine.target).traces(slug) == []
        assert file_in_archive(portal, slug) == b"mine"
    assert all(portal.kills[name] > 0 for name in VICTIMS), portal.kills
    with portal.sessions() as session:
        ids = [course.id for course in courses]
        assert session.scalars(select(Attempt.id).where(Attempt.result.is_(None))).all() == []
        approvals = session.scalars(select(AuditEntry.course_id).where(AuditEntry.action == "course.approve"))
        assert {one: times for one, times in Counter(approvals).items() if one in ids} == dict.fromkeys(ids, 1)
        succeeded = Counter(
            (course, kind)
            for course, kind in session.execute(
                select(Operation.course_id, Operation.kind).where(
                    Operation.status == "succeeded", Operation.course_id.in_(ids), Operation.kind != "refresh"
                )
            )
        )
        assert set(succeeded.values()) == {1}
        assert len(succeeded) == 5 * len(courses)
        mails = Counter(
            session.execute(select(Mail.event, Mail.course_id, Mail.recipient).where(Mail.course_id.in_(ids)))
        )
    assert set(mails.values()) == {1}
    assert sum(times for (event, *_), times in mails.items() if event == "archived") >= len(courses)


def requested(portal: Portal) -> list[Course]:
    """Courses that wait for governance: some whose stacks are files, two whose hubs are real."""
    machine, clock = portal.machine, portal.clock
    nowhere = machine.target.identity.model_copy(update={"internal_url": "http://127.0.0.1:1"})
    files = machine.target.model_copy(update={"name": FILES, "identity": nowhere})
    issuer = machine.target.identity.url
    spec = {"first_day": clock.today(), "last_day": clock.today() + timedelta(days=5), "seats": 2}
    with transaction(portal.sessions) as session:
        target = make_target(session, FILES, target=files.model_dump(mode="json"), parallel_operations=6)
        there = session.scalars(select(User).where(User.subject == machine.people["teacher"].subject)).first()
        lead = there or make_user(session, clock, machine.people["teacher"].subject, issuer=issuer, teacher=True)
        there = session.scalars(select(User).where(User.subject == machine.people["student"].subject)).first()
        student = there or make_user(session, clock, machine.people["student"].subject, issuer=issuer)
        here = session.scalars(select(TargetRecord).where(TargetRecord.name == machine.target.name)).one()
        made = [make_course(session, clock, lead, target=target, spec=spec) for _ in range(COURSES)]
        sizes = {"memory_guarantee": 0.125, "memory_limit": 1, "cpu_guarantee": 0.05, "cpu_limit": 1}
        real: dict[str, Any] = {"target": here, "spec": {**spec, "resources": sizes}, "participants": (student,)}
        return made + [make_course(session, clock, lead, slug=slug, **real) for slug in REAL]


def approve_all(portal: Portal, ids: list[object], draw: random.Random) -> None:
    """By governance's page, while the web process is killed before, while and after it answers."""
    browser = portal.governance()
    for course_id in ids:
        moments = [draw.choice(("before", "between", "after", "never"))]

        def kill(moment: str, moments: list[str] = moments) -> None:
            if moments == [moment]:
                portal.kill(WEB)
                moments.clear()

        def approved(course_id: object = course_id, kill: Callable[[str], None] = kill) -> bool:
            kill("before")
            with suppress(requests.RequestException):
                page = browser.get(f"{portal.settings.public_url}/governance/courses/{course_id}")
                form = next((one for one in browser.forms(page) if one.action.endswith("/approve")), None)
                kill("between")
                if form is not None:
                    browser.submit(page, form)
            kill("after")
            with portal.sessions() as session:
                return session.scalar(select(Course.status).where(Course.id == course_id)) is not Status.REQUESTED

        wait_for(approved, "the course is approved", 120)


def everybody(portal: Portal, goal: Status, courses: int, draw: random.Random) -> None:
    """Kill somebody whenever some more attempts were claimed, until all courses have got there."""

    def moved(claimed: int) -> bool:
        return portal.claimed() >= claimed or portal.count(goal) >= courses

    for _ in range(14):
        wait_for(partial(moved, portal.claimed() + draw.randint(0, 4)), "work", 180)
        portal.kill(draw.choice(VICTIMS))
    wait_for(lambda: portal.count(goal) >= courses, f"all are {goal}", 600)


def leave_a_file(portal: Portal) -> None:
    """The student starts a server in each real course and has a file at home."""
    student = portal.machine.people["student"]

    def open_to(slug: str) -> bool:
        with portal.sessions() as session:
            wanted = select(Course.people_access).where(Course.slug == slug, Course.status == Status.ACTIVE)
            return session.scalar(wanted) == "everybody"

    for slug in REAL:
        wait_for(partial(open_to, slug), f"participants are let into {slug}", 120)
        person = HubPerson(portal.machine.target.hub_url(slug), student.subject)
        assert person.sign_in(student.login, student.password).status_code == 200
        person.start_server()
        (portal.machine.layout.homes(slug) / student.subject / "kept.txt").write_bytes(b"mine")


def file_in_archive(portal: Portal, slug: str) -> bytes:
    """What the archive of the student's home has of it."""
    student = portal.machine.people["student"].subject
    with portal.sessions() as session:
        archive = session.scalars(
            select(Archive)
            .join(Course, Course.id == Archive.course_id)
            .where(
                Course.slug == slug,
                Archive.status == "verified",
                Archive.subject == student,
            )
        ).first()
    assert archive is not None
    machine = portal.machine
    store = ArchiveStore.of(machine.target, archive.bucket, machine.layout.credentials)
    packed = io.BytesIO(b"".join(store.read(archive.key)))
    with zstandard.ZstdDecompressor().stream_reader(packed) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        for member in tar:
            if member.name.endswith("kept.txt"):
                file = tar.extractfile(member)
                assert file is not None
                return file.read()
    return b""
