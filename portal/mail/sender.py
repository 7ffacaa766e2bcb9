"""Sends what lies in the outbox.

Each mail is claimed by a lock on its row (`SKIP LOCKED`: any number of senders may run), handed to the mail server, and
marked as sent in the same transaction. If the sender dies after the server took a mail and before the mark is
committed, the mail is sent once more with the same Message-ID, by which mail programs and servers know a duplicate: at
most one, and never a mail that is lost.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime
from typing import Protocol

import structlog
from sqlalchemy import Select, select, update

from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.mail.render import list_id, mail_host, render
from portal.models import Mail

MAX_TRIES = 10
"""Tries before a mail is given up; with the pauses below that takes about a day and a half."""
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)
SERVER_PAUSE = timedelta(minutes=1)
"""Pause of all mails while the mail server cannot be reached: that is no mail's fault, and counts as no try."""
TIMEOUT = 20.0
"""Seconds for each answer of the mail server."""

_log = structlog.get_logger(__name__)


class Channel(Protocol):
    """An open way to a mail server. Raises `smtplib.SMTPException` or `OSError`."""

    def send_message(self, message: EmailMessage) -> object: ...


Connect = Callable[[PortalSettings], AbstractContextManager[Channel]]


@contextmanager
def smtp(settings: PortalSettings) -> Iterator[Channel]:
    """A connection to the mail server of the settings, signed in where it wants that."""
    context = ssl.create_default_context()
    if settings.smtp_tls == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.smtp_host, settings.smtp_port, timeout=TIMEOUT, context=context
        )
    else:
        server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT)
    with server:
        if settings.smtp_tls == "starttls":
            server.starttls(context=context)
        if settings.smtp_user:
            server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
        yield server


def send_due(
    sessions: Sessions, clock: SiteClock, settings: PortalSettings, *, connect: Connect = smtp, most: int = 100
) -> int:
    """Send up to `most` mails that are due, over one connection; how many went out.

    A mail that the server refuses is tried again with growing pauses, or given up where it says that this is final
    (5xx) or after `MAX_TRIES`. A server that cannot be reached delays everything and is no try. Without a server of the
    settings all is given up at once: people are told on pages.
    """
    with sessions() as session:
        if session.scalar(_due(clock.now()).limit(1)) is None:
            return 0
    if not settings.smtp_host:
        return _give_up_all(sessions, clock)
    sent = 0
    try:
        with connect(settings) as channel:
            for _ in range(most):
                outcome = _send_one(sessions, clock, settings, channel)
                if outcome is None:
                    break
                sent += outcome
    except (smtplib.SMTPException, OSError) as error:
        _delay_all(sessions, clock, _reason(error))
    return sent


def message_of(mail: Mail, settings: PortalSettings, wall: datetime) -> EmailMessage:
    """The mail as it goes over the wire: text and HTML, and the headers by which nobody's holiday note answers it."""
    rendered = render(mail.event, mail.facts, mail.locale, settings, course_id=mail.course_id)
    message = EmailMessage(POLICY)
    message["From"] = settings.mail_from
    message["To"] = mail.recipient
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(wall)
    message["Message-ID"] = f"<{mail.id}@{mail_host(settings)}>"
    message["List-Id"] = list_id(settings)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(rendered.text)
    message.add_alternative(rendered.html, subtype="html")
    message["Content-Language"] = rendered.language  # last: new content takes older Content- headers away
    return message


def retry(clock: SiteClock, mail: Mail) -> None:
    """Let a mail that waits or was given up begin anew, at once. Its row is locked by the caller."""
    if mail.sent_at is None:
        mail.given_up_at, mail.tries, mail.not_before = None, 0, clock.now()


def pause_after(tries: int) -> timedelta:
    """Before the next try of a mail that failed so often: 1, 3, 9, … minutes, 6 hours at most."""
    factor: int = 3 ** min(tries - 1, 10)
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def _send_one(sessions: Sessions, clock: SiteClock, settings: PortalSettings, channel: Channel) -> int | None:
    """1 for a mail that went out, 0 for one that did not, None where no more is due.

    Raises where the connection itself is broken; that counts as a try of this mail too, or one on which the server
    hangs up would hold all the others for ever.
    """
    broken: smtplib.SMTPException | OSError | None = None
    with transaction(sessions) as session:
        mail = session.scalar(_due(clock.now()).limit(1).with_for_update(skip_locked=True))
        if mail is None:
            return None
        try:
            message = message_of(mail, settings, clock.wall())
        except (LookupError, ValueError, TypeError) as error:
            # of this one mail: an address that is none, a fact that is missing
            _failed(mail, clock, f"The mail could not be written: {type(error).__name__}: {error}", final=True)
            return 0
        try:
            channel.send_message(message)
        except smtplib.SMTPRecipientsRefused as refused:
            code, said = next(iter(refused.recipients.values()), (550, b""))
            _failed(mail, clock, f"The mail server refuses the address: {code} {_text(said)}", final=code >= 500)
            return 0
        except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as refused:
            _failed(
                mail,
                clock,
                f"The mail server refuses the mail: {refused.smtp_code} {_text(refused.smtp_error)}",
                final=isinstance(refused, smtplib.SMTPDataError) and refused.smtp_code >= 500,
            )
            return 0
        except (smtplib.SMTPNotSupportedError, UnicodeError) as error:
            _failed(mail, clock, f"The mail server cannot take this address: {error}", final=True)
            return 0
        except (smtplib.SMTPException, OSError) as error:
            _failed(mail, clock, _reason(error), final=False)
            broken = error
        else:
            mail.sent_at, mail.failure = clock.now(), ""
            mail.tries += 1
    if broken is not None:
        raise broken
    return 1


def _failed(mail: Mail, clock: SiteClock, failure: str, *, final: bool) -> None:
    mail.tries += 1
    mail.failure = failure[:1000]
    if final or mail.tries >= MAX_TRIES:
        mail.given_up_at = clock.now()
    else:
        mail.not_before = clock.now() + pause_after(mail.tries)
    _log.warning("mail failed", mail=str(mail.id), mail_event=mail.event, tries=mail.tries, failure=mail.failure)


def _give_up_all(sessions: Sessions, clock: SiteClock) -> int:
    """The site sends no mail: nothing waits for the day on which it does, and is late then."""
    with transaction(sessions) as session:
        due = _due(clock.now()).with_for_update(skip_locked=True).subquery()
        session.execute(
            update(Mail)
            .where(Mail.id.in_(select(due.c.id)))
            .values(given_up_at=clock.now(), failure="This site sends no mail: no mail server is set.")
            .execution_options(synchronize_session=False)
        )
    return 0


def _delay_all(sessions: Sessions, clock: SiteClock, reason: str) -> None:
    """The server cannot be reached: everything that is due waits for a while."""
    _log.warning("mail server cannot be reached", failure=reason)
    with transaction(sessions) as session:
        due = _due(clock.now()).with_for_update(skip_locked=True).subquery()
        session.execute(
            update(Mail)
            .where(Mail.id.in_(select(due.c.id)))
            .values(not_before=clock.now() + SERVER_PAUSE, failure=reason[:1000])
            .execution_options(synchronize_session=False)
        )


def _due(now: datetime) -> Select[Mail]:
    return (
        select(Mail)
        .where(Mail.sent_at.is_(None), Mail.given_up_at.is_(None), Mail.not_before <= now)
        .order_by(Mail.not_before)
    )


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"The mail server refuses our name and password ({error.smtp_code})."
    return f"The mail server cannot be reached: {type(error).__name__}: {error}"


def _text(said: object) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
