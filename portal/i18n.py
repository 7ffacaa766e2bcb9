"""Languages: which one a request speaks, and the translations behind it.

English texts are the message ids. `translations/LANGUAGE/LC_MESSAGES/messages.po` is the only form in which a
translation is stored: it is read and compiled in memory, once a process, so that a fresh clone needs no build step and
no compiled file can be older than its source.
"""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, g, has_request_context, request
from flask_babel import Babel, Domain, get_locale
from flask_babel import gettext as _

LANGUAGES = {"en": "English", "de": "Deutsch"}
"""Code → its own name. The first is the language of the message ids."""

LOCALES = {"en": "en_GB", "de": "de_DE"}
"""Language → how dates and numbers are written: days before months, Monday first."""

COOKIE = "__Host-language"
"""Holds the language that somebody chose who has not signed in."""

FOLDER = Path(__file__).parent / "translations"


@lru_cache
def catalogue(language: str) -> NullTranslations:
    """The translations into a language; the texts themselves for English and for unknown languages.

    Needs no request and no application: `catalogue("de").gettext("approved")`.
    """
    path = FOLDER / language / "LC_MESSAGES" / "messages.po"
    if language not in LANGUAGES or not path.exists():
        return NullTranslations()
    with path.open("rb") as file:
        content = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, content)
    compiled.seek(0)
    return Translations(compiled)


def language() -> str:
    """The language of this request; English outside of requests."""
    locale = get_locale()
    return locale.language if locale and locale.language in LANGUAGES else "en"


def locale_of(code: str | None) -> Locale:
    """How a language writes dates and numbers; English for none and for an unknown one."""
    return Locale.parse(LOCALES.get(code or "", LOCALES["en"]))


def translate(text: str, **values: object) -> str:
    """A text that was marked with `N_` elsewhere, in the language of this request, with its places filled."""
    # a variable, so that the extraction of texts does not look for them here
    return _(text, **values) if text else ""


def set_up(app: Flask, zone: ZoneInfo) -> None:
    """Flask-Babel with our catalogues; times are shown in the site's `zone` for everybody."""
    _Languages(
        app,
        default_locale=LOCALES["en"],
        default_timezone=str(zone),
        locale_selector=_chosen,
    )


class _Catalogues(Domain):
    """Flask-Babel's own reads compiled files, again in each request."""

    def get_translations(self) -> NullTranslations:
        return catalogue(language())


class _Languages(Babel):
    @property
    def domain_instance(self) -> Domain:
        return _Catalogues()


def _chosen() -> str:
    """What the person chose, else this browser's choice, else the first of its languages that we have."""
    if not has_request_context():
        return LOCALES["en"]
    user = getattr(g.get("actor"), "user", None)
    for code in (getattr(user, "locale", None), request.cookies.get(COOKIE)):
        if code in LOCALES:
            return LOCALES[code]
    return LOCALES[request.accept_languages.best_match(list(LANGUAGES), default="en") or "en"]
