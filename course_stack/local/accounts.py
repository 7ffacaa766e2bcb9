"""Account numbers of notebooks: one for each person in each course, none of them in the machine's user list.

Where the product runs as root, a notebook runs under a number of its own. The same person has another number in
another course, so that one course's files and processes mean nothing to the next.
"""

from __future__ import annotations

import grp
import json
import pwd
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict

from course_stack.local.files import locked, private_folder, write_file
from course_stack.local.layout import Layout

FIRST = 200_000
"""Above ordinary users, below the ranges that `useradd` and systemd hand out for containers (524288 and up)."""
LAST = 500_000


class AccountError(Exception):
    """No account could be given; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class CourseGroups:
    """Numbers of a course's two groups: everybody, and the leads (who write to the material)."""

    everybody: int
    leads: int


class _Course(TypedDict):
    everybody: int
    leads: int
    people: dict[str, int]


class _Book(TypedDict):
    next: int
    courses: dict[str, _Course]


class AccountBook:
    """Who has which number: `hubs/accounts.json`. Numbers are not used again until all have been used once."""

    def __init__(self, layout: Layout) -> None:
        self._file = layout.hubs / "accounts.json"

    def groups(self, slug: str) -> CourseGroups:
        """The course's groups, made where they are missing."""
        with self._open() as book:
            course = self._course(book, slug)
            return CourseGroups(course["everybody"], course["leads"])

    def number(self, slug: str, subject: str) -> int:
        """Account number (and number of the primary group) of a person in a course, made where it is missing."""
        with self._open() as book:
            people = self._course(book, slug)["people"]
            if subject not in people:
                people[subject] = _next(book)
            return people[subject]

    def forget(self, slug: str) -> None:
        """Give the course's numbers back; nothing happens where it has none."""
        if self._file.exists():
            with self._open() as book:
                book["courses"].pop(slug, None)

    def courses(self) -> dict[str, frozenset[int]]:
        """All numbers in use, by course: the independent look."""
        return {
            slug: frozenset([course["everybody"], course["leads"], *course["people"].values()])
            for slug, course in self._read()["courses"].items()
        }

    def _course(self, book: _Book, slug: str) -> _Course:
        if slug not in book["courses"]:
            book["courses"][slug] = {"everybody": _next(book), "leads": _next(book), "people": {}}
        return book["courses"][slug]

    @contextmanager
    def _open(self) -> Iterator[_Book]:
        with locked(private_folder(self._file.parent) / ".accounts.lock"):
            book = self._read()
            yield book
            write_file(self._file, json.dumps(book, indent=1, sort_keys=True) + "\n")

    def _read(self) -> _Book:
        try:
            content: _Book = json.loads(self._file.read_text())
        except FileNotFoundError:
            # anywhere: another data folder of this machine gives numbers too, and knows nothing of ours
            return {"next": random.randrange(FIRST, LAST), "courses": {}}  # noqa: S311 (no secret)
        except ValueError as error:
            raise AccountError(f"{self._file} cannot be read ({error}): restore it from a backup.") from error
        return content


def _next(book: _Book) -> int:
    used = {
        number
        for course in book["courses"].values()
        for number in (course["everybody"], course["leads"], *course["people"].values())
    }
    for step in range(LAST - FIRST):
        number = FIRST + (book["next"] - FIRST + step) % (LAST - FIRST)
        if number not in used and not _known_to_system(number):
            book["next"] = number + 1
            return number
    raise AccountError(f"All account numbers from {FIRST} to {LAST - 1} are in use: destroy courses that have ended.")


def _known_to_system(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        try:
            grp.getgrgid(number)
        except KeyError:
            return False
    return True
