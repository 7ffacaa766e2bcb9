"""The table of weaknesses that must not come back names a test for each, and the tests are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs/defects.md").read_text()
ROWS = dict(re.findall(r"^\| ([A-I]\d+) \| .+? \| (.+) \|$", TABLE, re.MULTILINE))
NUMBERS = {
    "A": range(1, 29),
    "B": range(1, 21),
    "C": range(1, 20),
    "D": [*range(1, 8), *range(9, 12)],
    "E": range(1, 20),
    "F": range(1, 7),
    "G": range(1, 15),
    "H": range(1, 22),
    "I": range(1, 12),
}


def test_every_weakness_is_in_the_table_once() -> None:
    wanted = [f"{letter}{number}" for letter, numbers in NUMBERS.items() for number in numbers]
    assert re.findall(r"^\| ([A-I]\d+) \|", TABLE, re.MULTILINE) == wanted


def test_every_test_that_the_table_names_is_there() -> None:
    missing = []
    for number, guard in ROWS.items():
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", guard)
        assert named or "`" in guard or guard.endswith("."), f"{number} says neither a test nor a reason"
        missing += [f"{number}: {file}::{name}" for file, name in named if name not in _tests(TESTS / file)]
    assert missing == []


def test_everything_that_is_installed_is_pinned() -> None:
    loose = []
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        lines = (TESTS.parent / name).read_text().splitlines()
        wanted = [line for line in lines if line.strip() and not line.startswith(("#", "-r"))]
        assert len(wanted) > 5, name
        loose += [
            f"{name}: {line}" for line in wanted if not re.match(r"^[\w.-]+(\[[\w,-]+\])?==[\w.+]+(\s*;.*)?$", line)
        ]
    assert loose == []


def _tests(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
