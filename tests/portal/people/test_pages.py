"""The pages of joining, of a course's people, and of the outbox."""

from __future__ import annotations

import html
import re
import uuid
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from portal.actor import Actor
from portal.db import transaction
from portal.mail import sink
from portal.mail.render import _PATHS
from portal.models import AuditEntry, Mail, Participation, User
from portal.participants import codes
from portal.participants.rules import Deed
from portal.views import joining
from portal.web.context import Portal
from tests.portal.client import PortalClient
from tests.portal.makers import make_user
from tests.portal.people.conftest import Classroom


@pytest.fixture
def parts(app: Flask) -> Portal:
    found: Portal = app.extensions["jhaas"]
    return found


@pytest.fixture
def code(classroom: Classroom, parts: Portal) -> str:
    """The course's code, sealed with the application's key."""
    with transaction(classroom.sessions) as session:
        classroom.code = codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, parts.sealer)
    return classroom.code


def count(classroom: Classroom, table: type) -> int:
    with classroom.sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_the_link_shows_title_dates_and_teachers_and_joining_is_a_post(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    anna = classroom.person("anna")
    other = classroom.person("other")
    classroom.join(other)
    client.sign_in(anna)
    before = count(classroom, Participation), count(classroom, AuditEntry), count(classroom, Mail)
    page = client.get(f"/join/{code}")
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    assert classroom.course.title in text
    assert "Teacher Example" in text
    for hidden in (
        "teacher@example.org",
        "Other Example",
        str(classroom.course.seats) + " seats",
        classroom.course.slug,
    ):
        assert hidden not in text
    assert (count(classroom, Participation), count(classroom, AuditEntry), count(classroom, Mail)) == before
    answer = client.post(f"/join/{code}")
    assert answer.status_code == 302
    assert classroom.row(anna).status == "accepted"


def test_head_and_get_never_join(classroom: Classroom, client: PortalClient, code: str) -> None:
    client.sign_in(classroom.person("anna"))
    for method in ("get", "head", "options"):
        getattr(client, method)(f"/join/{code}")
        getattr(client, method)(f"/courses/{classroom.course.id}/leave")
    assert count(classroom, Participation) == 0


def test_unknown_revoked_closed_and_dead_codes_answer_alike(
    classroom: Classroom, client: PortalClient, code: str, parts: Portal
) -> None:
    anna = classroom.person("anna")
    client.sign_in(anna)

    def answer(address: str) -> tuple[int, str]:
        page = client.get(address)
        return page.status_code, re.sub(r"[A-Za-z0-9_.-]{20,}|/join/\S+?\"", "*", page.get_data(as_text=True))

    unknown = answer("/join/" + "x" * 32)
    assert unknown[0] == 404
    with transaction(classroom.sessions) as session:
        codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, parts.sealer)
    assert answer(f"/join/{code}") == unknown  # revoked
    with transaction(classroom.sessions) as session:
        new = codes.renew(session, classroom.clock, Actor(classroom.lead), classroom.course.id, parts.sealer)
    client.post(f"/join/{new}")
    client.get(f"/join/{new}")  # shows the word about it
    classroom.settle(anna, Deed.REMOVE)
    assert answer(f"/join/{new}") == unknown  # dead for this person
    assert client.post(f"/join/{new}").status_code == 404
    ben = classroom.person("ben")
    client.sign_in(ben)
    classroom.clock.set(classroom.clock.end(classroom.course.last_day))
    client.sign_in(ben)
    assert answer(f"/join/{new}")[0] == 404  # over


def test_guessing_codes_is_limited_for_each_person(classroom: Classroom, client: PortalClient, code: str) -> None:
    client.sign_in(classroom.person("guesser"))
    statuses = [client.get(f"/join/guess{number}").status_code for number in range(joining.TRIES_OF_A_PERSON + 1)]
    assert statuses[:-1] == [404] * joining.TRIES_OF_A_PERSON
    assert statuses[-1] == 429
    assert client.get(f"/join/{code}").status_code == 429  # the right one, too late
    client.sign_in(classroom.person("anna"))
    assert client.get(f"/join/{code}").status_code == 200


def test_guessing_codes_is_limited_for_each_address(
    classroom: Classroom, client: PortalClient, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "TRIES_OF_AN_ADDRESS", 3)
    for login in ("one", "two", "three"):
        client.sign_in(classroom.person(login))
        assert client.get("/join/guess").status_code == 404
    client.sign_in(classroom.person("four"))
    assert client.get("/join/guess").status_code == 429


def test_whoever_is_not_signed_in_signs_in_first(classroom: Classroom, client: PortalClient, code: str) -> None:
    answer = client.get(f"/join/{code}")
    assert answer.status_code == 302
    assert "sign" in answer.headers["Location"]
    assert client.post(f"/join/{code}").status_code in (400, 401, 403)


def test_a_full_course_says_so_and_keeps_nothing(classroom: Classroom, client: PortalClient, code: str) -> None:
    for login in ("anna", "ben"):
        classroom.join(classroom.person(login))
    client.sign_in(classroom.person("carl"))
    assert "2 seats" in client.get(f"/join/{code}").get_data(as_text=True)
    assert client.post(f"/join/{code}").status_code == 409
    assert count(classroom, Participation) == 2


def test_leaving_is_one_click_after_a_page_that_says_what_it_means(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    client.sign_in(anna)
    address = f"/courses/{classroom.course.id}/leave"
    assert "Leave the course" in client.get(address).get_data(as_text=True)
    assert classroom.row(anna).status == "accepted"
    assert client.post(address).status_code == 302
    assert classroom.row(anna).status == "left"
    assert client.get(address).status_code == 404


def test_leads_see_name_and_address_and_nothing_else_of_people(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    with transaction(classroom.sessions) as session:
        anna = make_user(
            session, classroom.clock, "a-login", subject="the-subject", name="Anna", email="anna@example.org"
        )
    classroom.join(anna)
    client.sign_in(classroom.lead)
    text = client.get(f"/courses/{classroom.course.id}/people").get_data(as_text=True)
    assert "Anna" in text
    assert "anna@example.org" in text
    assert "the-subject" not in text
    assert "a-login" not in text
    assert f"https://portal.example.org/join/{code}" in text


@pytest.mark.parametrize("who", ["stranger", "participant"])
def test_the_list_of_people_is_not_there_for_others(
    classroom: Classroom, client: PortalClient, code: str, who: str
) -> None:
    person, anna = classroom.person(who), classroom.person("anna")
    classroom.join(anna)
    if who == "participant":
        classroom.join(person)
    client.sign_in(person)
    address = f"/courses/{classroom.course.id}/people"
    assert client.get(address).status_code == 404
    assert client.post(f"{address}/{anna.id}/remove").status_code == 404
    assert client.post(f"{address}/link", data={"deed": "off"}).status_code == 404
    assert client.post(f"{address}/chosen", data={"deed": "remove", "person": str(anna.id)}).status_code == 404
    assert classroom.row(anna).status == "accepted"
    assert classroom.now().join_code_hash is not None
    assert client.get(f"/courses/{uuid.uuid4()}/people").status_code == 404


def test_leads_decide_on_one_and_on_many_and_every_refusal_has_its_line(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    classroom.asks()
    people = [classroom.person(login) for login in ("anna", "ben", "carl")]
    for person in people:
        classroom.join(person)
    client.sign_in(classroom.lead)
    address = f"/courses/{classroom.course.id}/people"
    assert client.post(f"{address}/{people[0].id}/accept").status_code == 302
    answer = client.post(f"{address}/chosen", data={"deed": "accept", "person": [str(one.id) for one in people[1:]]})
    assert answer.status_code == 200
    text = html.unescape(answer.get_data(as_text=True))
    assert "Ben Example</strong>: done" in text
    assert "Carl Example</strong>: The course is full: all of its 2 seats are taken" in text
    assert [classroom.row(one).status for one in people] == ["accepted", "accepted", "waiting"]
    done = client.post(f"{address}/chosen", data={"deed": "reject", "person": [str(people[2].id)]})
    assert done.status_code == 302
    assert classroom.row(people[2]).status == "rejected"


@pytest.mark.parametrize("deed", ["join", "leave", "nonsense"])
def test_what_only_the_person_can_do_leads_cannot(
    classroom: Classroom, client: PortalClient, code: str, deed: str
) -> None:
    anna = classroom.person("anna")
    classroom.join(anna)
    client.sign_in(classroom.lead)
    assert client.post(f"/courses/{classroom.course.id}/people/{anna.id}/{deed}").status_code == 404
    assert classroom.row(anna).status == "accepted"


def test_the_link_is_replaced_switched_off_and_asks(classroom: Classroom, client: PortalClient, code: str) -> None:
    client.sign_in(classroom.lead)
    address = f"/courses/{classroom.course.id}/people"
    for deed in ("asks", "renew"):
        assert client.post(f"{address}/link", data={"deed": deed}).status_code == 302
    text = client.get(address).get_data(as_text=True)
    assert code not in text
    assert "/join/" in text
    assert classroom.now().join_policy == "asks"
    client.post(f"{address}/link", data={"deed": "off"})
    assert "/join/" not in client.get(address).get_data(as_text=True)
    assert client.post(f"{address}/link", data={"deed": "open"}).status_code == 400


def test_a_thousand_people_are_searched_and_read_in_pieces(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    with transaction(classroom.sessions) as session:
        now = classroom.clock.now()
        for number in range(1000):
            user = User(
                issuer="https://id.example.org", subject=f"s{number}", login=f"s{number}", name=f"Person {number:04}",
                email=f"p{number}@example.org", roles_checked_at=now, created_at=now,
            )  # fmt: skip
            session.add(user)
            session.flush()
            session.add(
                Participation(
                    course_id=classroom.course.id, user_id=user.id, since=now,
                    status="waiting" if number == 999 else "accepted",
                )
            )  # fmt: skip
    client.sign_in(classroom.lead)
    address = f"/courses/{classroom.course.id}/people"
    first = client.get(address).get_data(as_text=True)
    assert first.count("@example.org") == 50 + first.count("teacher@example.org")
    assert first.index("Person 0999") < first.index("Person 0000")  # who waits stands first
    assert "Person 0999" not in client.get(f"{address}?page=20&standing=accepted").get_data(as_text=True)
    assert "Person 0998" in client.get(f"{address}?page=20&standing=accepted").get_data(as_text=True)
    found = client.get(f"{address}?q=p777@").get_data(as_text=True)
    assert "Person 0777" in found
    assert "Person 0776" not in found
    assert "Nobody found" in client.get(f"{address}?q=%25").get_data(as_text=True)
    assert client.get(f"{address}?page=999999").status_code == 200


def test_names_of_people_are_escaped(classroom: Classroom, client: PortalClient, code: str) -> None:
    classroom.join(classroom.person("eve", name="<script>alert(1)</script>"))
    client.sign_in(classroom.lead)
    assert "<script>alert" not in client.get(f"/courses/{classroom.course.id}/people").get_data(as_text=True)


def test_governance_sees_the_outbox_and_has_a_mail_tried_again(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    classroom.join(classroom.person("anna"))
    with transaction(classroom.sessions) as session:
        mail = session.scalars(select(Mail)).one()
        mail.given_up_at, mail.failure, mail.tries = classroom.clock.now(), "550 no such user", 3
    client.sign_in(classroom.lead)
    assert client.get("/governance/mails/").status_code == 403
    assert client.post(f"/governance/mails/{mail.id}/retry").status_code == 403
    client.sign_in(classroom.person("gov", governance=True))
    text = client.get("/governance/mails/?state=given_up").get_data(as_text=True)
    assert "anna@example.org" in text
    assert "550 no such user" in text
    assert "No mails" in client.get("/governance/mails/?state=sent").get_data(as_text=True)
    assert client.post(f"/governance/mails/{mail.id}/retry").status_code == 302
    with classroom.sessions() as session:
        again = session.get_one(Mail, mail.id)
        assert (again.given_up_at, again.tries) == (None, 0)
    assert client.post(f"/governance/mails/{uuid.uuid4()}/retry").status_code == 404


def test_a_demo_shows_the_mails_that_it_kept_and_elsewhere_there_is_no_such_page(
    classroom: Classroom, app: Flask, client: PortalClient, parts: Portal, tmp_path: Path
) -> None:
    client.sign_in(classroom.person("anna"))
    assert client.get("/demo/mails").status_code == 404
    settings = parts.settings.model_copy(update={"demo": True, "data_folder": tmp_path})
    app.extensions["jhaas"] = replace(parts, settings=settings)
    assert "No mails" in client.get("/demo/mails").get_data(as_text=True)
    folder = tmp_path / sink.FOLDER
    folder.mkdir()
    message = EmailMessage()
    message["To"], message["Subject"], message["Date"] = (
        "anna@example.org",
        "<b>Hello</b>",
        "Mon, 01 Mar 2027 12:00:00 +0000",
    )
    message.set_content("Read https://portal.example.org/courses/1\n\n<script>alert(1)</script>")
    (folder / "20270301T120000-abc.eml").write_bytes(message.as_bytes())
    page = client.get("/demo/mails").get_data(as_text=True)
    assert "anna@example.org" in page
    one = client.get("/demo/mails/20270301T120000-abc").get_data(as_text=True)
    assert 'href="https://portal.example.org/courses/1"' in one
    assert "<script>alert" not in one
    assert client.get("/demo/mails/nothing").status_code == 404
    assert client.get("/demo/mails/..%2f..%2fsecret").status_code == 404


def test_every_link_of_a_mail_leads_to_a_page(app: Flask) -> None:
    addresses = app.url_map.bind("portal.example.org")
    known = {"course_id": str(uuid.uuid4()), "operation_id": str(uuid.uuid4())}
    for link, path in _PATHS.items():
        if link != "hub":
            assert addresses.match(path.format(**known)), path


@pytest.mark.parametrize(
    "query", ["page=" + "9" * 40, "page=-5", "q=%ff%fe", "standing=x", "q=" + "x" * 5000, "page=1e3"]
)
def test_nonsense_in_an_address_is_a_list_of_people_all_the_same(
    classroom: Classroom, client: PortalClient, code: str, query: str
) -> None:
    client.sign_in(classroom.lead)
    assert client.get(f"/courses/{classroom.course.id}/people?{query}").status_code == 200


def test_nonsense_in_addresses_of_mails_and_links_breaks_nothing(
    classroom: Classroom, client: PortalClient, code: str
) -> None:
    client.sign_in(classroom.person("gov", governance=True))
    for query in ("state=x", "event=x", "before=x", "before=0001-01-01T00:00:00%2B14:00", "before=9999"):
        assert client.get(f"/governance/mails/?{query}").status_code == 200
    for nonsense in ("%ff", "x" * 3000, "..%2f..", "%F0%9F%92%A9", "%ed%a0%80"):
        assert client.get(f"/join/{nonsense}").status_code == 404
    people = f"/courses/{classroom.course.id}/people"
    assert client.post(f"{people}/chosen", data={"deed": "accept", "person": ["x"]}).status_code == 302
    assert client.post(f"{people}/chosen", data={"deed": "nothing", "person": ["x"]}).status_code == 404
    assert client.post(f"{people}/{uuid.uuid4()}/accept").status_code == 409
