"""What every page has: filters, statuses, navigation by role, and the facts of its frame."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Flask, current_app, g, request, url_for
from markupsafe import Markup

from portal import i18n, show
from portal.actor import Actor
from portal.config import PortalSettings
from portal.operations.kinds import KIND_NAMES
from portal.texts import N_

VERSION = version("jhaas")


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation."""

    text: str
    """Message id."""
    icon: str
    endpoint: str
    may: Callable[[Actor], bool]
    count: str = ""
    """Key of the number beside it, where there is one (`count`)."""


def _everybody(actor: Actor) -> bool:
    return actor.user is not None


def _teachers(actor: Actor) -> bool:
    return actor.user is not None and (actor.user.may_request or actor.user.is_governance)


def _governance(actor: Actor) -> bool:
    return actor.is_governance


NAVIGATION: tuple[tuple[str, tuple[Place, ...]], ...] = (
    (
        "",
        (
            Place(N_("My courses"), "journal-text", "courses.mine", _everybody),
            Place(N_("Ask for a course"), "journal-plus", "requests.ask", _teachers),
            Place(N_("Capacity calendar"), "calendar-range", "calendar.show", _teachers),
        ),
    ),
    (
        N_("Governance"),
        (
            Place(N_("Approvals"), "inbox", "governance.queue", _governance, count="approvals"),
            Place(N_("All courses"), "collection", "governance.courses", _governance),
            Place(N_("Operations"), "list-task", "operations.index", _governance),
            Place(N_("Platform"), "heart-pulse", "platform.show", _governance),
            Place(N_("Images"), "box-seam", "images.catalogue", _governance),
            Place(N_("Mails"), "envelope", "mails.outbox", _governance),
            Place(N_("Audit log"), "shield-check", "audit.index", _governance),
        ),
    ),
)
"""Headings (message ids; empty for none) and what stands below them. Places without a view are left out."""


def set_up(app: Flask, settings: PortalSettings) -> None:
    """Languages, filters and the context of all templates. Templates may ask for numbers beside navigation entries
    from `app.extensions["jhaas-counts"]`: key → function without arguments."""
    zone = ZoneInfo(settings.timezone)
    app.extensions["jhaas-zone"] = zone
    app.extensions.setdefault("jhaas-counts", {})
    i18n.set_up(app, zone)
    app.jinja_env.filters.update(show.FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        icon=icon,
        look=show.look,
        kind_names=KIND_NAMES,
        translate=i18n.translate,
        here=here,
        exists=lambda endpoint: endpoint in current_app.view_functions,
    )
    app.context_processor(lambda: _frame(settings))
    _name_versions(app)


def icon(name: str, css: str = "") -> Markup:
    """An icon of the sprite, hidden from screen readers: words stand beside it."""
    address = url_for("static", filename="vendor/bootstrap-icons/icons.svg")
    return Markup('<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>').format(
        css, address, name
    )


def here(**changes: Any) -> str:
    """This page's address with other values in its query; None takes one out."""
    query = {**request.args.to_dict(), **changes}
    # by hand: names that somebody put into the query must not become arguments of `url_for`
    path = url_for(request.endpoint or "static", **(request.view_args or {}))
    kept = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{path}?{kept}" if kept else path


def _name_versions(app: Flask) -> None:
    """Addresses of static files change with their content, so that no browser shows new pages with an old design."""
    digest = hashlib.sha256()
    for path in sorted(Path(app.static_folder or "").rglob("*.*")):
        digest.update(path.read_bytes())
    name = digest.hexdigest()[:12]

    @app.url_defaults
    def add(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("v", name)


def _frame(settings: PortalSettings) -> dict[str, Any]:
    actor: Actor = g.get("actor") or Actor(None)
    return {
        "actor": actor,
        "site": settings,
        "version": VERSION,
        "language": i18n.language(),
        "languages": i18n.LANGUAGES,
        "navigation": _navigation(actor),
    }


def _navigation(actor: Actor) -> list[tuple[str, list[dict[str, Any]]]]:
    counts = current_app.extensions["jhaas-counts"]
    groups = []
    for heading, places in NAVIGATION:
        entries = [
            {
                "text": place.text,
                "icon": place.icon,
                "url": url_for(place.endpoint),
                "here": request.endpoint == place.endpoint,
                "count": counts[place.count]() if place.count in counts else 0,
            }
            for place in places
            if place.may(actor) and place.endpoint in current_app.view_functions
        ]
        if entries:
            groups.append((heading, entries))
    return groups
