"""What is written for people holds: links lead somewhere; commands, options and files that are named are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
CODE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in addresses, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", document.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        led_to = (document.parent / path).resolve() if path else document
        assert led_to.exists(), target
        assert led_to.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(led_to), target


def told(document: Path, program: str) -> Iterator[list[str]]:
    """Words behind the name of a program, wherever the document says what to type: in blocks and between backticks."""
    text = re.sub(r" *\\\n *", " ", document.read_text())
    blocks = "\n".join(re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    typed = [*re.findall(r"`([^`\n]+)`", CODE.sub("", text)), *blocks.splitlines()]
    for line in typed:
        for found in re.findall(rf"(?:^|[|&$] ?|/bin/|\w=\S+ ){program} ([^|&>#;]+)", line):
            yield shlex.split(found)


@each_document
def test_every_command_of_ours_is_one_that_there_is(document: Path) -> None:
    from portal.cli import app

    for words in told(document, "jhaas"):
        command = get_command(app)
        rest = list(words)
        while rest and isinstance(command, TyperGroup):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {option for one in command.params for option in one.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, words


@each_document
def test_every_target_of_make_is_one_that_there_is(document: Path) -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in told(document, "make")} <= there


@each_document
def test_every_file_of_ours_that_is_named_is_there(document: Path) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    named = re.findall(r"`([\w./-]+/[\w./*-]*)(?:::\w+)?`", CODE.sub("", document.read_text()))
    if document.name == "defects.md":
        # paths below tests/, which a test of its own looks for (tests/portal/test_defects.py)
        folders = {"docs"}
    for path in named:
        if path.partition("/")[0] in folders:
            assert list(ROOT.glob(path)), path
