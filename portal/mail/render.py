"""A mail's words, filled in and in the recipient's language: a pure function of the event, its facts and the site."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from portal.config import PortalSettings
from portal.i18n import LANGUAGES, catalogue, locale_of
from portal.mail.events import EVENTS, LINK_NAMES, Link, MailEvent, facts_in
from portal.texts import N_

_PORTAL = Path(__file__).parents[1]

_PATHS: dict[Link, str] = {
    "home": "/",
    "course": "/courses/{course_id}",
    "people": "/courses/{course_id}/people",
    "approvals": "/governance/",
    "operation": "/operations/{operation_id}",
    "hub": "{hub_url}",
}
"""Where links lead, below the portal's public address."""

_GREETING = N_("Hello %(person)s,")
_CONTACT = N_("Questions? Write to %(contact)s.")
_WHY = N_("You get this mail because you have an account at %(portal_url)s.")

Text = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail, ready to be sent."""

    subject: str
    text: str
    html: str
    language: str


def render(
    event: str, facts: Mapping[str, Any], locale: str, settings: PortalSettings, *, course_id: object = None
) -> Rendered:
    """The mail of an event in a language; a locale without translations reads English.

    Plain text is not escaped, HTML is. Links are absolute, below `settings.public_url`. Raises `KeyError` for an
    unknown event, and for a fact that is missing from a needed sentence.
    """
    kind = EVENTS[event]
    language, say = _translator(locale)
    zone = ZoneInfo(settings.timezone)
    public_url = settings.public_url.rstrip("/")
    values = {
        "site_name": settings.site_name,
        "contact": settings.contact,
        "portal_url": public_url,
        **{name: _in_words(name, value, language, zone, say) for name, value in facts.items()},
    }
    link = _link(kind, facts, public_url, course_id)
    content = {
        "language": language,
        "subject": _line(say(kind.subject) % values),
        "greeting": say(_GREETING) % values if values.get("person") else None,
        "paragraphs": [say(one.text) % values for one in kind.paragraphs if one.needed or one.facts <= values.keys()],
        "link": link,
        "link_name": say(LINK_NAMES[kind.link]),
        "signature": settings.site_name,
        "contact": say(_CONTACT) % values if settings.contact else None,
        "why": say(_WHY) % values,
    }
    templates = _templates()
    return Rendered(
        subject=str(content["subject"]),
        text=templates.get_template("layout.txt").render(content),
        html=templates.get_template("layout.html").render(content),
        language=language,
    )


def list_id(settings: PortalSettings) -> str:
    """The list that mail programs sort these mails by (RFC 2919)."""
    return f"<courses.{mail_host(settings)}>"


def mail_host(settings: PortalSettings) -> str:
    """The portal's host name: the right side of Message-IDs."""
    return urlsplit(settings.public_url).hostname or "localhost"


def _link(kind: MailEvent, facts: Mapping[str, Any], public_url: str, course_id: object) -> str:
    path = _PATHS[kind.link]
    given = {"course_id": course_id, **facts}
    if any(given.get(name) is None for name in facts_in(path.replace("{", "%(").replace("}", ")s"))):
        path = "/"
    filled = path.format(**{name: value for name, value in given.items() if isinstance(name, str)})
    return filled if filled.startswith(("http://", "https://")) else public_url + filled


def _in_words(name: str, value: Any, language: str, zone: ZoneInfo, say: Text) -> str:
    if name.endswith("_day"):
        return str(format_date(dt.date.fromisoformat(value), format="full", locale=locale_of(language)))
    if name.endswith("_at"):
        return str(
            format_datetime(datetime.fromisoformat(value), format="long", tzinfo=zone, locale=locale_of(language))
        )
    if name in ("kind", "failure"):  # message ids of ours, where they are any
        return say(str(value)) if value else ""
    return str(value)


def _line(text: str) -> str:
    """One line: what a header can hold."""
    return " ".join(text.split())


def _translator(locale: str) -> tuple[str, Text]:
    language = locale.replace("-", "_").partition("_")[0].lower()
    return (language if language in LANGUAGES else "en"), catalogue(language).gettext


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_PORTAL / "templates" / "mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
