"""Collect every text of the portal and bring the catalogues up to date: `python -m tools.translations`.

English texts are the message ids. They stand in Python (`_`, `ngettext`, `N_`, and the steps that workers tell), in
templates, and in `course_stack.spec`, which knows no translations: its errors, titles and descriptions are found by
their form. What is new is printed; what is gone is dropped.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
TRANSLATIONS = ROOT / "portal/translations"
LANGUAGES = ("de",)

KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "N_": None,
    "gettext": None,
    "lazy_gettext": None,
    "ngettext": (1, 2),
    "step": None,
}
"""Functions whose first argument (or both, for `ngettext`) is a text."""
FAILURES: dict[str, tuple[int, ...] | None] = dict.fromkeys(
    ("OperationFailed", "HubFailed", "NotebookFailed", "ServerFailed", "ObjectStoreFailed")
)
"""Failures that people read: translated where they are whole sentences with nothing to fill in."""
_WHOLE = re.compile(r"[A-Z].*\.", re.DOTALL)

_TEMPLATES = {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}
_NOT_KEPT = ('"POT-Creation', '"PO-Revision', '"Report-Msgid', '"Last-Translator', '"Language-Team', '"Generated-By')
_SAYING = frozenset({"refuse", "_problem", "ValueError"})
"""Functions of `course_stack.spec` that are given a sentence."""
_NAMING = frozenset({"title", "description", "unit"})
"""Keywords and keys of `course_stack.spec` that hold a text."""


def extracted() -> Catalog:
    """A catalogue of everything that there is to translate, with the files in which it stands."""
    catalogue = Catalog(project="JupyterHub as a Service", charset="utf-8", fuzzy=False)
    for path in sorted((ROOT / "portal").rglob("*.py")):
        _add(catalogue, path, _python(path))
    for path in sorted((ROOT / "portal/templates").rglob("*.*")):
        _add(catalogue, path, _template(path))
    for path in sorted((ROOT / "course_stack/spec").glob("*.py")):
        _add(catalogue, path, _spec(path))
    return catalogue


def main() -> int:
    """Write the catalogues; 1 if texts wait for a translation."""
    template = extracted()
    waiting = 0
    for language in LANGUAGES:
        path = TRANSLATIONS / language / "LC_MESSAGES" / "messages.po"
        catalogue = _read(path, language)
        catalogue.update(template, no_fuzzy_matching=True, update_header_comment=False)
        catalogue.obsolete.clear()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(file, catalogue, width=116, include_lineno=False, ignore_obsolete=True, sort_by_file=True)
        # no times, which would make each run a change, and no lines that nobody filled in
        kept = [line for line in path.read_text().splitlines() if not line.startswith(_NOT_KEPT)]
        path.write_text("\n".join(kept) + "\n")
        for message in untranslated(catalogue):
            waiting += 1
            print(f"{language}: {message.id!r}")
    print(f"{len(template)} texts, {waiting} without a translation")
    return 1 if waiting else 0


def untranslated(catalogue: Catalog) -> Iterator[Message]:
    """Messages of which a form is missing."""
    for message in catalogue:
        strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
        if message.id and not all(strings):
            yield message


def _read(path: Path, language: str) -> Catalog:
    if not path.exists():
        return Catalog(locale=language, project="JupyterHub as a Service", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def _add(catalogue: Catalog, path: Path, texts: Iterable[str | tuple[str, str]]) -> None:
    for text in texts:
        catalogue.add(text, locations=[(path.relative_to(ROOT).as_posix(), 1)])


def _python(path: Path) -> Iterator[str | tuple[str, str]]:
    with path.open("rb") as file:
        yield from _found(file, "python", KEYWORDS)
        file.seek(0)
        yield from (
            text for text in _found(file, "python", FAILURES) if isinstance(text, str) and _WHOLE.fullmatch(text)
        )


def _template(path: Path) -> Iterator[str | tuple[str, str]]:
    with path.open("rb") as file:
        yield from _found(file, "jinja2", KEYWORDS, _TEMPLATES)


def _found(
    file: BinaryIO, method: str, keywords: dict[str, tuple[int, ...] | None], options: dict[str, str] | None = None
) -> Iterator[str | tuple[str, str]]:
    for _line, text, _comments, _context in extract(method, file, keywords, options=options):
        if isinstance(text, str):
            yield text
        elif len(text) >= 2:
            yield str(text[0]), str(text[1])


def _spec(path: Path) -> Iterator[str]:
    """Sentences, titles, descriptions and units of the spec."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                if name in _SAYING:
                    yield from (text for text in map(_text, arguments[:2]) if " " in text)
                if name == "Field":
                    yield from filter(None, (_text(one.value) for one in keywords if one.arg in _NAMING))
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if key is not None and _text(key) in _NAMING and _text(value):
                        yield _text(value)
            case (
                ast.AnnAssign(target=ast.Name(id="_SENTENCES"), value=ast.Dict(values=values))
                | ast.Assign(targets=[ast.Name(id="_SENTENCES")], value=ast.Dict(values=values))
            ):
                yield from map(_text, values)
            case ast.FunctionDef(name="_sentence"):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Tuple):
                        yield from filter(lambda text: re.search("[a-z] ", text), map(_text, inner.value.elts))


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


if __name__ == "__main__":
    sys.exit(main())
