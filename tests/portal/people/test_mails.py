"""Mails: one for each event and recipient, in the recipient's language, sent once and tried again."""

from __future__ import annotations

import smtplib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from portal.config import PortalSettings
from portal.db import Sessions, connect, sessions, transaction
from portal.mail import sender, sink
from portal.mail.events import COURSE_FACTS, EVENTS, MailEvent, as_table, facts_in
from portal.mail.outbox import governance, notify
from portal.mail.render import render
from portal.mail.sender import MAX_TRIES, retry, send_due
from portal.models import Course, Mail, User
from tests.portal.clock import MovableClock
from tests.portal.makers import make_course, make_user
from tests.portal.people.conftest import Classroom

ROOT = Path(__file__).parents[3]
HOSTILE = 'R & "Stats" <script>alert(1)</script> %(person)s 100%'


@dataclass
class Box:
    """A mail server that keeps what it is given. `refuse` is raised for each mail, `down` instead of a connection."""

    refuse: smtplib.SMTPException | None = None
    down: OSError | None = None
    kept: list[EmailMessage] = field(default_factory=list)
    connections: int = 0

    @contextmanager
    def __call__(self, _settings: PortalSettings) -> Iterator[Box]:
        if self.down:
            raise self.down
        self.connections += 1
        yield self

    def send_message(self, message: EmailMessage) -> None:
        if self.refuse:
            raise self.refuse
        self.kept.append(message)


@dataclass
class Office:
    """An outbox with one mail for one person, and a mail server."""

    sessions: Sessions
    clock: MovableClock
    settings: PortalSettings
    course: Course
    person: User
    box: Box = field(default_factory=Box)

    def tell(self, event: str = "course_approved", key: str = "one", *users: User, **facts: Any) -> None:
        with transaction(self.sessions) as session:
            notify(session, self.clock, event, key, users or [self.person], course=self.course, facts=facts)

    def send(self) -> int:
        return send_due(self.sessions, self.clock, self.settings, connect=self.box)

    def rows(self) -> list[Mail]:
        with self.sessions() as session:
            return list(session.scalars(select(Mail).order_by(Mail.created_at, Mail.recipient)))

    def only(self) -> Mail:
        (row,) = self.rows()
        return row


@pytest.fixture
def office(session_factory: Sessions, clock: MovableClock, settings: PortalSettings) -> Office:
    with transaction(session_factory) as session:
        person = make_user(session, clock, "teacher", teacher=True)
        course = make_course(session, clock, person)
    return Office(session_factory, clock, settings, course, person)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


# --- words


def facts_for(event: MailEvent) -> dict[str, str]:
    """A value for every fact that the event's text may name."""
    names = facts_in(event.subject).union(*(one.facts for one in event.paragraphs)) | COURSE_FACTS
    values = {name: "2027-04-01" if name.endswith("_day") else f"{name}-value" for name in names}
    return {**values, "person": "Ada", "operation_id": "op-1", "hub_url": "https://c.hubs.example.net/"}


@pytest.mark.parametrize("locale", ["en", "de"])
@pytest.mark.parametrize("name", EVENTS)
def test_every_mail_is_whole_in_both_languages(name: str, locale: str, unconnected: PortalSettings) -> None:
    event = EVENTS[name]
    mail = render(name, facts_for(event), locale, unconnected, course_id="c-1")
    assert mail.subject
    assert "%(" not in mail.subject + mail.text + mail.html
    assert "https://" in mail.text
    for one in event.paragraphs:
        for fact in one.facts - {"kind", "failure", "site_name"}:
            if not fact.endswith("_day"):
                assert facts_for(event)[fact] in mail.text
    if locale == "de":
        assert mail.language == "de"
        english = render(name, facts_for(event), "en", unconnected, course_id="c-1")
        assert mail.subject != english.subject
        sentences = set(english.text.splitlines()) & set(mail.text.splitlines())
        assert not {one for one in sentences if " " in one and one not in ("-- ", unconnected.site_name)}


@pytest.fixture
def unconnected() -> PortalSettings:
    return PortalSettings(
        database_url="postgresql://nowhere",
        secret_key="not a secret, but long enough for a test",
        public_url="https://portal.example.org",
        oidc_issuer="https://id.example.org",
        oidc_client_id="jhaas-portal",
        oidc_client_secret="not a secret either",
        contact="help@example.org",
        site_name="Courses of Example",
    )


def test_days_are_written_as_each_language_does(unconnected: PortalSettings) -> None:
    facts = {"title": "T", "first_day": "2027-03-01", "last_day": "2027-03-28", "person": "Ada"}
    assert "Monday" in render("course_approved", facts, "en", unconnected).text
    assert "Montag, 1. März 2027" in render("course_approved", facts, "de", unconnected).text


def test_plain_text_is_not_escaped_and_html_is(unconnected: PortalSettings) -> None:
    facts = {"title": HOSTILE, "first_day": "2027-03-01", "last_day": "2027-03-28", "person": "<b>Ada</b>"}
    for locale in ("en", "de"):
        mail = render("course_approved", facts, locale, unconnected)
        assert HOSTILE in mail.subject
        assert HOSTILE in mail.text
        assert "<b>Ada</b>" in mail.text
        assert "<script>" not in mail.html
        assert "<b>Ada" not in mail.html
        assert "&lt;script&gt;" in mail.html


def test_a_title_of_several_lines_cannot_add_headers(office: Office) -> None:
    with transaction(office.sessions) as session:
        session.get_one(Course, office.course.id).title = "A\r\nBcc: everybody@example.org"
        notify(
            session,
            office.clock,
            "course_approved",
            "k",
            [office.person],
            course=session.get_one(Course, office.course.id),
        )
    office.send()
    (message,) = office.box.kept
    assert message["Bcc"] is None
    assert "A Bcc: everybody@example.org" in message["Subject"]


def test_a_sentence_without_its_fact_is_left_out(unconnected: PortalSettings) -> None:
    facts = {"title": "T", "first_day": "2027-03-01", "last_day": "2027-03-28"}
    assert "reason" not in render("course_rejected", facts, "en", unconnected).text
    assert "too big" in render("course_rejected", {**facts, "reason": "too big"}, "en", unconnected).text


def test_links_are_absolute_and_lead_to_the_course(office: Office) -> None:
    office.tell()
    office.send()
    address = f"https://portal.example.org/courses/{office.course.id}"
    assert address in body(office.box.kept[0], "plain")
    assert f'href="{address}"' in body(office.box.kept[0], "html")


def test_the_table_of_mails_in_the_documentation_is_the_one_of_the_code() -> None:
    assert as_table() in (ROOT / "docs" / "mails.md").read_text(), "run: python -m portal.mail.events > …"


# --- the outbox


def test_an_event_is_told_once_to_each_recipient_however_often_it_is_noted(office: Office) -> None:
    with transaction(office.sessions) as session:
        other = make_user(session, office.clock, "other")
    for _ in range(3):
        office.tell("course_approved", "one", office.person, other)
    office.tell("course_approved", "two")
    assert sorted((row.event_key, row.recipient) for row in office.rows()) == [
        ("one", "other@example.org"),
        ("one", "teacher@example.org"),
        ("two", "teacher@example.org"),
    ]


def test_many_who_tell_of_the_same_event_at_once_make_one_mail_for_each_recipient(
    office: Office, database_url: str
) -> None:
    with transaction(office.sessions) as session:
        users = [office.person, *(make_user(session, office.clock) for _ in range(399))]
    engine = connect(database_url)
    together = threading.Barrier(4)

    def tell(number: int) -> None:
        with transaction(sessions(engine)) as session:
            session.execute(select(1))
            together.wait(30)
            turned = users if number % 2 else users[::-1]
            notify(session, office.clock, "course_approved", "one", turned, course=office.course)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(4)))
    engine.dispose()
    assert sorted(row.recipient for row in office.rows()) == sorted(user.email for user in users)


def test_a_deed_that_is_rolled_back_tells_nobody(office: Office) -> None:
    with pytest.raises(RuntimeError, match="no"), transaction(office.sessions) as session:
        notify(session, office.clock, "course_approved", "one", [office.person], course=office.course)
        raise RuntimeError("no")
    assert office.rows() == []


def test_an_unknown_event_or_a_missing_fact_is_found_where_it_is_written(office: Office) -> None:
    with pytest.raises(ValueError, match="no mail is called"):
        office.tell("course_aproved")
    with pytest.raises(ValueError, match="needs kind"):
        office.tell("operation_failed")
    with transaction(office.sessions) as session, pytest.raises(ValueError, match="about a course"):
        notify(session, office.clock, "course_approved", "one", [office.person])


def test_people_without_an_address_are_left_out(office: Office) -> None:
    with transaction(office.sessions) as session:
        nobody = make_user(session, office.clock, "nobody", email="")
    office.tell("course_approved", "one", nobody)
    assert office.rows() == []


def test_a_mail_is_written_in_the_language_that_the_person_chose(office: Office) -> None:
    with transaction(office.sessions) as session:
        session.get_one(User, office.person.id).locale = "de"
        notify(
            session,
            office.clock,
            "course_approved",
            "one",
            [session.get_one(User, office.person.id)],
            course=office.course,
        )
    office.send()
    assert office.box.kept[0]["Content-Language"] == "de"


def test_everybody_of_governance_gets_a_mail_of_their_own(office: Office) -> None:
    with transaction(office.sessions) as session:
        for login in ("gov1", "gov2"):
            make_user(session, office.clock, login, governance=True)
        notify(session, office.clock, "course_requested", "one", governance(session), course=office.course)
    office.send()
    assert sorted(message["To"] for message in office.box.kept) == ["gov1@example.org", "gov2@example.org"]
    assert all("gov2" not in str(message) for message in office.box.kept if message["To"] == "gov1@example.org")


# --- sending


def test_a_mail_has_text_html_and_the_headers_of_a_machine(office: Office) -> None:
    office.tell()
    assert office.send() == 1
    (message,) = office.box.kept
    row = office.only()
    assert message["Message-ID"] == f"<{row.id}@portal.example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Id"] == "<courses.portal.example.org>"
    assert message["To"] == "teacher@example.org"
    assert message.get_content_type() == "multipart/alternative"
    assert office.course.title in body(message, "plain")
    assert row.sent_at == office.clock.now()
    assert office.send() == 0


def test_a_mail_for_later_waits(office: Office) -> None:
    with transaction(office.sessions) as session:
        later = office.clock.now() + timedelta(hours=2)
        notify(session, office.clock, "course_approved", "one", [office.person], course=office.course, not_before=later)
    assert office.send() == 0
    office.clock.move(hours=2)
    assert office.send() == 1


def test_a_mail_that_the_server_puts_off_is_tried_again_after_growing_pauses_with_the_same_id_and_given_up_at_last(
    office: Office,
) -> None:
    office.tell()
    office.box.refuse = smtplib.SMTPDataError(451, b"greylisted")
    pauses = []
    for _ in range(MAX_TRIES):
        assert office.send() == 0
        row = office.only()
        pauses.append(row.not_before - office.clock.now())
        office.clock.set(max(row.not_before, office.clock.now()))
    assert pauses[:4] == [timedelta(minutes=minutes) for minutes in (1, 3, 9, 27)]
    assert max(pauses) <= sender.LONGEST_PAUSE
    assert (row.tries, row.given_up_at) == (MAX_TRIES, office.clock.now())
    assert "greylisted" in row.failure
    office.clock.move(days=30)
    office.box.refuse = None
    assert office.send() == 0  # given up
    with transaction(office.sessions) as session:
        retry(office.clock, session.get_one(Mail, row.id))
    assert office.send() == 1
    assert office.box.kept[0]["Message-ID"] == f"<{row.id}@portal.example.org>"


def test_an_address_that_does_not_exist_is_given_up_at_once_and_stops_nobody_else(office: Office) -> None:
    with transaction(office.sessions) as session:
        good = make_user(session, office.clock, "good")
    office.tell("course_approved", "one", office.person, good)

    class Picky(Box):
        def send_message(self, message: EmailMessage) -> None:
            if message["To"] == "teacher@example.org":
                raise smtplib.SMTPRecipientsRefused({"teacher@example.org": (550, b"no such user")})
            super().send_message(message)

    office.box = Picky()
    assert office.send() == 1
    by_address = {row.recipient: row for row in office.rows()}
    assert by_address["good@example.org"].sent_at
    assert by_address["teacher@example.org"].given_up_at
    assert "550 no such user" in by_address["teacher@example.org"].failure


def test_a_mail_server_that_is_down_is_no_mails_fault(office: Office) -> None:
    office.tell()
    office.box.down = ConnectionRefusedError("refused")
    for _ in range(3 * MAX_TRIES):
        assert office.send() == 0
        office.clock.move(minutes=1)
    row = office.only()
    assert (row.tries, row.given_up_at) == (0, None)
    assert "cannot be reached" in row.failure
    office.box.down = None
    assert office.send() == 1
    assert office.only().failure == ""


def test_a_site_without_a_mail_server_sends_nothing_later_either(office: Office) -> None:
    silent = office.settings.model_copy(update={"smtp_host": ""})
    office.tell()
    assert send_due(office.sessions, office.clock, silent, connect=office.box) == 0
    assert office.box.connections == 0
    row = office.only()
    assert row.given_up_at
    assert "no mail server" in row.failure
    # on the day on which there is one, old news stay where they are
    assert office.send() == 0
    assert office.box.kept == []


def test_a_mail_at_which_the_server_hangs_up_does_not_hold_the_others_for_ever(office: Office) -> None:
    with transaction(office.sessions) as session:
        good = make_user(session, office.clock, "zoe")
    office.tell("course_approved", "one", office.person)
    office.clock.move(seconds=1)
    office.tell("course_approved", "one", good)

    class Touchy(Box):
        def send_message(self, message: EmailMessage) -> None:
            if message["To"] == "teacher@example.org":
                raise smtplib.SMTPServerDisconnected("gone")
            super().send_message(message)

    office.box = Touchy()
    assert office.send() == 0
    assert office.box.kept == []  # nothing more goes over a connection that is broken
    for _ in range(12):
        office.send()
        office.clock.move(minutes=1)
    assert [message["To"] for message in office.box.kept] == ["zoe@example.org"]


def test_a_sender_that_dies_before_it_could_note_the_mail_sends_it_once_more_with_the_same_id(office: Office) -> None:
    office.tell()

    class Killed(BaseException):
        pass

    class Deadly(Box):
        def send_message(self, message: EmailMessage) -> None:
            super().send_message(message)
            if len(self.kept) == 1:
                raise Killed

    office.box = Deadly()
    with pytest.raises(Killed):
        office.send()
    assert office.send() == 1
    assert office.send() == 0
    first, second = office.box.kept
    assert first["Message-ID"] == second["Message-ID"]


def test_a_mail_that_one_sender_has_in_hand_is_not_sent_by_another(office: Office) -> None:
    office.tell()
    other = Box()

    class Slow(Box):
        def send_message(self, message: EmailMessage) -> None:
            assert send_due(office.sessions, office.clock, office.settings, connect=other) == 0
            super().send_message(message)

    office.box = Slow()
    assert office.send() == 1
    assert other.kept == []


def test_a_mail_that_cannot_be_written_is_given_up_and_the_next_goes_out(office: Office) -> None:
    with transaction(office.sessions) as session:
        bad = make_user(session, office.clock, "bad", email="a@example.org\nBcc: b@example.org")
    office.tell("course_approved", "one", bad, office.person)
    assert office.send() == 1
    failed = next(row for row in office.rows() if row.given_up_at)
    assert "could not be written" in failed.failure


def test_one_connection_serves_all_mails_that_are_due_and_none_is_made_for_nothing(office: Office) -> None:
    office.send()
    assert office.box.connections == 0
    for number in range(5):
        office.tell("course_approved", str(number))
    assert office.send() == 5
    assert office.box.connections == 1


def test_no_mail_holds_a_join_code(classroom: Classroom, settings: PortalSettings) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    box = Box()
    assert send_due(classroom.sessions, classroom.clock, settings, connect=box)
    assert classroom.code not in "".join(str(message) for message in box.kept)


# --- a real server


def test_mails_go_over_smtp_and_the_sink_of_this_machine_shows_them(office: Office, tmp_path: Path) -> None:
    from tests.conftest import free_port

    controller = sink.server(tmp_path, free_port())
    controller.start()
    try:
        settings = office.settings.model_copy(update={"smtp_host": "127.0.0.1", "smtp_port": controller.port})
        office.tell()
        assert send_due(office.sessions, office.clock, settings) == 1
    finally:
        controller.stop()
    (received,) = sink.mails(tmp_path)
    assert received.recipient == "teacher@example.org"
    assert office.course.title in received.subject
    assert office.course.title in received.text
    assert "<html" in received.html
    assert sink.mail(tmp_path, received.name) == received
    assert sink.mail(tmp_path, "../../etc/passwd") is None
