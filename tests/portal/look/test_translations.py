"""Every text that a person reads is translated, with the same places to fill, and none is left to be checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from portal.i18n import FOLDER, LANGUAGES, catalogue
from tools.translations import extracted, untranslated

TRANSLATED = sorted(set(LANGUAGES) - {"en"})
_PLACES = re.compile(r"%\((\w+)\)([sd])|%%|\{(\w*)(:[^}]*)?\}")


@pytest.fixture(scope="module")
def texts() -> Catalog:
    return extracted()


def stored(language: str) -> Catalog:
    with (FOLDER / language / "LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale=language)


def forms(message: Message) -> Iterator[tuple[str, str]]:
    """(English, translation) of each form of a message."""
    if isinstance(message.id, tuple | list):
        yield from zip(message.id, message.string, strict=True)
    else:
        yield message.id, str(message.string)


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_has_a_translation(texts: Catalog, language: str) -> None:
    catalogue = stored(language)
    missing = [one.id for one in texts if one.id and not catalogue.get(one.id)]
    empty = [one.id for one in untranslated(catalogue)]
    assert (missing, empty) == ([], []), "run `make translations` and translate what it prints"


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_translated_that_nobody_says_any_more(texts: Catalog, language: str) -> None:
    assert [one.id for one in stored(language) if one.id and not texts.get(one.id)] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_fill_the_same_places(language: str) -> None:
    wrong = []
    for message in stored(language):
        for english, translation in forms(message) if message.id else ():
            if not fits(english, translation, isinstance(message.id, tuple | list)):
                wrong.append((english, translation))
    assert wrong == []


def fits(english: str, translation: str, is_plural: bool) -> bool:
    """The same places, however often; a form for one thing may leave its number out."""
    ours, theirs = (({match[0] for match in _PLACES.finditer(text)}) for text in (english, translation))
    return theirs == ours or (is_plural and theirs | {"%(num)d", "%(num)s"} == ours | {"%(num)d", "%(num)s"})


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_translation_is_a_guess(language: str) -> None:
    assert [one.id for one in stored(language) if one.id and one.fuzzy] == []


def test_texts_of_every_kind_of_source_are_found(texts: Catalog) -> None:
    known = {
        "portal/lifecycle.py": "waiting for approval",
        "portal/templates/base.html": "Skip to the content",
        "course_stack/spec/model.py": "number of participants",
        "course_stack/spec/fields.py": "has two hyphens in a row; one is enough",
        "course_stack/spec/problems.py": "{input} is too little; at least {ge}{unit}",
    }
    for place, text in known.items():
        message = texts.get(text)
        assert message is not None, text
        assert place in {name for name, _line in message.locations}


def test_catalogues_need_no_application_and_unknown_languages_speak_english() -> None:
    assert catalogue("de").gettext("approved") == "genehmigt"
    assert catalogue("de").ngettext("in %(num)d day", "in %(num)d days", 3) == "in %(num)d Tagen"
    assert catalogue("en").gettext("approved") == "approved"
    assert catalogue("../../etc").gettext("approved") == "approved"
