"""A mail server for one machine: takes every mail, sends none on, and keeps them as files that the portal shows.

`python -m portal.mail.sink --port 1025 --folder DATA/mails`. Loopback only, unless told.
"""

from __future__ import annotations

import argparse
import signal
import threading
import uuid
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

FOLDER = "mails"
"""Name of the folder below the machine's data folder."""
_LARGEST = 2**20


@dataclass(frozen=True, slots=True)
class Received:
    """One mail of the sink. `name` is what its page is called by."""

    name: str
    recipient: str
    subject: str
    at: datetime | None
    text: str
    html: str


class Sink:
    """Keeps mails in a folder, oldest first by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Store the mail whole or not at all."""
        content = envelope.content or b""
        name = f"{datetime.now().astimezone():%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
        new = self._folder / f"{name}.new"
        new.write_bytes(content if isinstance(content, bytes) else content.encode())
        new.rename(self._folder / f"{name}.eml")
        return "250 kept"


def server(folder: Path, port: int, host: str = "127.0.0.1") -> Controller:
    """The server; `start()` and `stop()` it. Port 0 takes any that is free."""
    return Controller(Sink(folder), hostname=host, port=port, data_size_limit=_LARGEST)


def mails(folder: Path, most: int = 200) -> list[Received]:
    """The newest mails, newest first."""
    names = sorted((path.stem for path in folder.glob("*.eml")), reverse=True)[:most]
    return [found for name in names if (found := mail(folder, name))]


def mail(folder: Path, name: str) -> Received | None:
    """One mail; None where there is none of that name."""
    path = folder / f"{name}.eml"
    if not name.replace("-", "").isalnum() or not path.is_file():
        return None
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(message, EmailMessage)
    date = message["Date"]
    return Received(
        name=name,
        recipient=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        at=parsedate_to_datetime(date) if date else None,
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    return "" if part is None else str(part.get_content())


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description="A mail server that keeps every mail in a folder and sends none.")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    controller = server(given.folder, given.port, given.host)
    controller.start()
    try:
        ended.wait()
    finally:
        controller.stop()


if __name__ == "__main__":
    main()
