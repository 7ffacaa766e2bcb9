"""How values look on pages: days, instants, sizes, people, statuses. Used by templates as filters of the same names.

Filters follow the language and time zone of the request.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, dates, numbers
from flask import current_app
from flask_babel import get_locale, ngettext
from flask_babel import gettext as _
from markupsafe import Markup

from portal.archives import causes as archives_causes
from portal.i18n import locale_of, translate
from portal.lifecycle import STATUS_NAMES, Status
from portal.models import Archive, Attempt, Operation
from portal.operations import causes
from portal.texts import N_


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: in words, with an icon, in a tone. Never by colour alone."""

    text: str
    """Message id."""
    icon: str
    tone: str
    """neutral, wait (somebody has to act), busy (the portal acts), good, bad, or over."""


COURSE: dict[str, Look] = {
    Status.REQUESTED: Look(STATUS_NAMES[Status.REQUESTED], "hourglass-split", "wait"),
    Status.REJECTED: Look(STATUS_NAMES[Status.REJECTED], "x-circle", "over"),
    Status.WITHDRAWN: Look(STATUS_NAMES[Status.WITHDRAWN], "dash-circle", "over"),
    Status.EXPIRED: Look(STATUS_NAMES[Status.EXPIRED], "clock-history", "over"),
    Status.APPROVED: Look(STATUS_NAMES[Status.APPROVED], "calendar-check", "busy"),
    Status.DEPLOYING: Look(STATUS_NAMES[Status.DEPLOYING], "arrow-repeat", "busy"),
    Status.DEPLOY_FAILED: Look(STATUS_NAMES[Status.DEPLOY_FAILED], "exclamation-octagon", "bad"),
    Status.ACTIVE: Look(STATUS_NAMES[Status.ACTIVE], "check-circle", "good"),
    Status.CLOSING: Look(STATUS_NAMES[Status.CLOSING], "door-open", "wait"),
    Status.CLOSED: Look(STATUS_NAMES[Status.CLOSED], "door-closed", "over"),
    Status.REMOVING: Look(STATUS_NAMES[Status.REMOVING], "arrow-repeat", "busy"),
    Status.REMOVAL_FAILED: Look(STATUS_NAMES[Status.REMOVAL_FAILED], "exclamation-octagon", "bad"),
    Status.ARCHIVED: Look(STATUS_NAMES[Status.ARCHIVED], "archive", "over"),
    Status.PURGED: Look(STATUS_NAMES[Status.PURGED], "trash", "over"),
}
"""Statuses of a course."""

OPERATION: dict[str, Look] = {
    "waiting": Look(N_("waiting"), "hourglass-split", "wait"),
    "running": Look(N_("running"), "arrow-repeat", "busy"),
    "succeeded": Look(N_("succeeded"), "check-circle", "good"),
    "failed": Look(N_("failed"), "exclamation-octagon", "bad"),
    "superseded": Look(N_("replaced by another"), "skip-forward", "over"),
    "cancelled": Look(N_("cancelled"), "stop-circle", "over"),
    "lost": Look(N_("worker lost"), "exclamation-triangle", "bad"),
}
"""Statuses of an operation, and results of an attempt."""

PARTICIPATION: dict[str, Look] = {
    "waiting": Look(N_("waiting for a lead"), "hourglass-split", "wait"),
    "accepted": Look(N_("participant"), "person-check", "good"),
    "rejected": Look(N_("rejected"), "person-x", "over"),
    "removed": Look(N_("removed"), "person-dash", "over"),
    "left": Look(N_("left"), "box-arrow-right", "over"),
}
"""Statuses of a person in a course."""

CHANGE: dict[str, Look] = {
    "open": Look(N_("waiting for approval"), "hourglass-split", "wait"),
    "approved": Look(N_("approved"), "check-circle", "good"),
    "rejected": Look(N_("rejected"), "x-circle", "over"),
    "withdrawn": Look(N_("withdrawn"), "dash-circle", "over"),
    "void": Look(N_("void: the course closed first"), "clock-history", "over"),
}
"""Statuses of a change request."""

ARCHIVE: dict[str, Look] = {
    "waiting": Look(N_("waiting"), "hourglass-split", "wait"),
    "running": Look(N_("running"), "arrow-repeat", "busy"),
    "verified": Look(N_("verified"), "check-circle", "good"),
    "failed": Look(N_("failed"), "exclamation-octagon", "bad"),
}
"""Statuses of an archive."""

_CAUSES = causes.CAUSES | archives_causes.CAUSES

MAIL: dict[str, Look] = {
    "waiting": Look(N_("waiting"), "hourglass-split", "wait"),
    "sent": Look(N_("sent"), "check-circle", "good"),
    "given_up": Look(N_("given up"), "exclamation-octagon", "bad"),
}
"""Of a mail in the outbox."""


def day(value: dt.date, *, weekday: bool = True) -> Markup:
    """A calendar day: “Mon, 5 Oct 2026”."""
    return _marked(value, "yMMMEd" if weekday else "yMMMd", _locale())


def plain_day(value: dt.date) -> str:
    """A calendar day without markup, for titles and attributes: “Mon, 5 Oct 2026”."""
    return _written(value, "yMMMEd", _locale())


def weekday(value: dt.date) -> str:
    """“Mon 5”."""
    return _written(value, "Ed", _locale())


def month(value: dt.date, *, long: bool = False) -> str:
    """“Oct”, or “October 2026”."""
    return str(
        dates.format_skeleton("yMMMM" if long else "yMMM" if value.month == 1 else "MMM", value, locale=_locale())
    )


def instant(value: datetime, *, seconds: bool = False) -> Markup:
    """A moment at the site: “5 Oct 2026, 14:05”; its zone is in the title."""
    local = value.astimezone(_zone())
    date = dates.format_skeleton("yMMMd", local, locale=_locale(), tzinfo=_zone())
    time = local.strftime("%H:%M:%S" if seconds else "%H:%M")
    return Markup('<time datetime="{}" title="{}">{}, {}</time>').format(
        value.astimezone(UTC).isoformat(timespec="seconds"), f"{date}, {time} {_zone()}", date, time
    )


def clock_time(value: datetime) -> Markup:
    """The time of day at the site, with seconds: for logs."""
    return Markup('<time datetime="{}">{}</time>').format(
        value.astimezone(UTC).isoformat(timespec="milliseconds"), value.astimezone(_zone()).strftime("%H:%M:%S")
    )


def distance(value: dt.date, today: dt.date) -> str:
    """A day as seen from another: “today”, “tomorrow”, “in 5 days”, “3 days ago”."""
    days = (value - today).days
    if days == 0:
        return _("today")
    if days == 1:
        return _("tomorrow")
    if days == -1:
        return _("yesterday")
    if days > 0:
        return ngettext("in %(num)d day", "in %(num)d days", days)
    return ngettext("%(num)d day ago", "%(num)d days ago", -days)


def duration(value: timedelta | float) -> str:
    """A length of time (a `timedelta`, or seconds): “3 minutes”; below a minute in seconds."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return str(dates.format_timedelta(timedelta(seconds=max(1, round(seconds))), threshold=1.5, locale=_locale()))


def number(value: float, digits: int = 0) -> str:
    """A number with at most `digits` decimal places, as the language writes it."""
    return _written_number(round(value, digits), _locale())


@lru_cache(maxsize=10_000)
def _written(value: dt.date, skeleton: str, locale: Locale) -> str:
    # a calendar of a term writes the same days hundreds of times, and Babel takes longer than all else of the page
    return str(dates.format_skeleton(skeleton, value, locale=locale))


@lru_cache(maxsize=10_000)
def _marked(value: dt.date, skeleton: str, locale: Locale) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), _written(value, skeleton, locale))


@lru_cache(maxsize=10_000)
def _written_number(value: float, locale: Locale) -> str:
    return str(numbers.format_decimal(value, locale=locale, decimal_quantization=False))


def gib(mebibytes: float) -> str:
    """MiB as “1.5 GiB”; large amounts as TiB."""
    if mebibytes >= 10 * 1024 * 1024:
        return f"{number(mebibytes / 1024 / 1024, 1)} TiB"
    return f"{number(mebibytes / 1024, 1 if mebibytes >= 1024 else 2)} GiB"


def cores(millicores: float) -> str:
    """Thousandths of a core as “1.5 cores”."""
    count = millicores / 1000
    return ngettext("%(count)s core", "%(count)s cores", 1 if count == 1 else 2, count=number(count, 2))


def file_size(count: float) -> str:
    """Bytes as “12.3 MiB”."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{number(count, 0 if unit == 'B' else 1)} {unit}"
        count /= 1024
    return f"{number(count, 1)} TiB"


def cause(failed: Operation | Attempt | Archive) -> str:
    """Why it did not succeed, for everybody; nothing where it did."""
    return translate(_CAUSES.get(failed.failure_kind, ""))


def initials(name: str) -> str:
    """Up to two letters for a person's mark."""
    words = [word for word in name.split() if word[0].isalnum()] or ["?"]
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


FILTERS = {
    "day": day,
    "plain_day": plain_day,
    "weekday": weekday,
    "month": month,
    "instant": instant,
    "clock_time": clock_time,
    "distance": distance,
    "duration": duration,
    "number": number,
    "gib": gib,
    "cores": cores,
    "file_size": file_size,
    "initials": initials,
    "cause": cause,
}
"""What templates know."""

LOOKS = {
    "course": COURSE,
    "operation": OPERATION,
    "participation": PARTICIPATION,
    "change": CHANGE,
    "archive": ARCHIVE,
    "mail": MAIL,
}
"""What `status(kind, state)` of macros/status.html knows."""


def look(kind: str, state: str) -> Look:
    """How a state is shown; an unknown one by its own name."""
    return LOOKS[kind].get(state) or Look(state, "question-circle", "neutral")


def _locale() -> Locale:
    return get_locale() or locale_of(None)


def _zone() -> ZoneInfo:
    zone: ZoneInfo = current_app.extensions["jhaas-zone"]
    return zone
