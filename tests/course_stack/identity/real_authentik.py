"""A real Authentik for trials (docs/developing.md): where it is, what an administrator does there, and its mails."""

from __future__ import annotations

import html
import os
import queue
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.course_stack.identity.authentik_pages import Person

URL = os.environ.get("JHAAS_TEST_AUTHENTIK", "").rstrip("/")
TOKEN = os.environ.get("JHAAS_TEST_AUTHENTIK_TOKEN", "")
"""Of the account `jhaas-course-maker`."""
ADMIN = os.environ.get("JHAAS_TEST_AUTHENTIK_ADMIN", "")
"""An administrator's API token: makes people, and what somebody would have changed by hand."""
MAIL = os.environ.get("JHAAS_TEST_AUTHENTIK_MAIL", "")
"""`HOST:PORT` at which it delivers mails."""

there_is_one = pytest.mark.skipif(
    not (URL and TOKEN and ADMIN),
    reason="JHAAS_TEST_AUTHENTIK, JHAAS_TEST_AUTHENTIK_TOKEN and JHAAS_TEST_AUTHENTIK_ADMIN name no Authentik",
)
it_sends_mails = pytest.mark.skipif(
    not MAIL, reason="JHAAS_TEST_AUTHENTIK_MAIL does not say where Authentik delivers mails"
)

PREFIX = "jhaas-trial-"
_PATIENCE = 120.0
"""Seconds for a mail: a worker sends it."""


def new_address() -> str:
    return f"{PREFIX}{secrets.token_hex(4)}@example.org"


@dataclass
class Admin:
    """What an administrator does by hand."""

    http: httpx.Client

    def do(self, method: str, path: str, status: int, /, **body: object) -> dict[str, object]:
        answer = self.http.request(method, f"/api/v3{path}", json=body or None)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
        return dict(answer.json()) if answer.content else {}

    def find(self, path: str, /, **query: str) -> list[dict[str, object]]:
        answer = self.http.get(f"/api/v3{path}", params=query)
        assert answer.is_success, answer.text[:500]
        return list(answer.json()["results"])

    def person(self) -> tuple[Person, str]:
        """A new account with a password, and its subject."""
        name, password = new_address(), secrets.token_urlsafe(16)
        made = self.do("POST", "/core/users/", 201, username=name, name="Trial", email=name, path="trial")
        self.do("POST", f"/core/users/{made['pk']}/set_password/", 204, password=password)
        return Person(name, password), str(made["uuid"])

    def account(self, person: Person) -> dict[str, object] | None:
        return next(iter(self.find("/core/users/", username=person.username)), None)

    def change(self, person: Person, **values: object) -> None:
        account = self.account(person)
        assert account is not None
        self.do("PATCH", f"/core/users/{account['pk']}/", 200, **values)


@contextmanager
def administrator() -> Iterator[Admin]:
    """Removes everybody of the trial at the end."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    with httpx.Client(base_url=URL, headers=headers, timeout=60, trust_env=False) as http:
        found = Admin(http)
        yield found
        for user in found.find("/core/users/", search=PREFIX, page_size="100"):
            found.do("DELETE", f"/core/users/{user['pk']}/", 204)


@dataclass
class Mailbox:
    """Where Authentik's mails arrive."""

    addressees: list[str] = field(default_factory=list)
    """Whom the mails that were looked at went to."""
    _came: queue.Queue[EmailMessage] = field(default_factory=queue.Queue)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.original_content
        assert content is not None
        self._came.put(message_from_bytes(content, policy=default))
        return "250 OK"

    def next(self, address: str) -> tuple[str, str]:
        """Subject and HTML of the next mail to this address."""
        while True:
            mail = self._came.get(timeout=_PATIENCE)
            self.addressees.append(str(mail["To"]))
            if address in self.addressees[-1]:
                break
        body = mail.get_body(("html",))
        assert body is not None
        return str(mail["Subject"]), str(body.get_content())

    def link(self, address: str) -> str:
        """The link of the next mail, to this address, by which somebody proves that they read it."""
        found = links(self.next(address)[1])
        assert len(found) == 1
        return found.pop()


def links(page: str) -> set[str]:
    """Links of a mail by which something goes on."""
    return {html.unescape(link) for link in re.findall(r'href="([^"]*)"', page) if "flow_token=" in link}


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    host, _, port = MAIL.rpartition(":")
    made = Mailbox()
    controller = Controller(made, hostname=host, port=int(port))
    controller.start()
    try:
        yield made
    finally:
        controller.stop()
