"""Account numbers and home folders: one for each person in each course, never mixed up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_stack.local import accounts
from course_stack.local.accounts import FIRST, AccountBook, AccountError
from course_stack.local.homes import HomeOwner, ensure_home, home_index, safe_name
from course_stack.local.layout import Layout

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to other accounts")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_person_keeps_the_number_and_has_another_one_in_another_course(layout: Layout) -> None:
    book = AccountBook(layout)
    anna = book.number("biology", "anna")
    assert anna >= FIRST
    assert AccountBook(layout).number("biology", "anna") == anna
    others = {book.number("chemistry", "anna"), book.number("biology", "ben"), *book.courses()["biology"]} - {anna}
    assert len(others) == 4  # two people, two groups of the first course


def test_numbers_of_an_ended_course_are_not_given_to_the_next(layout: Layout) -> None:
    book = AccountBook(layout)
    book.number("biology", "anna")
    before = book.courses()["biology"]
    book.forget("biology")
    book.forget("biology")
    assert book.courses() == {}
    book.number("chemistry", "ben")
    assert book.courses()["chemistry"].isdisjoint(before)


def test_another_data_folder_of_the_machine_begins_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begins = iter([FIRST + 17, FIRST + 4000])
    monkeypatch.setattr(accounts.random, "randrange", lambda *_: next(begins))
    one, other = (AccountBook(Layout(tmp_path / name)).number("biology", "anna") for name in ("one", "other"))
    assert (one, other) == (FIRST + 19, FIRST + 4002)


def test_numbers_come_round_and_leave_out_those_in_use(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "LAST", FIRST + 6)
    book = AccountBook(layout)
    kept = book.courses().get("biology", frozenset()) | {book.number("biology", "anna")}
    for _ in range(3):
        book.number("passing", "ben")
        assert book.courses()["passing"].isdisjoint(kept | book.courses()["biology"])
        book.forget("passing")
    book.number("passing", "ben")
    with pytest.raises(AccountError, match="All account numbers"):
        book.number("passing", "carl")


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_different_subjects_have_different_safe_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
    assert len(safe_name(one)) <= 31
    assert safe_name(one)[0].isalpha() or safe_name(one)[0].isdigit()
    assert not set(safe_name(one)) - set("abcdefghijklmnopqrstuvwxyz0123456789_.-")


@pytest.mark.parametrize("subject", ["root", "nobody", "../x", ".ssh", "Anna", "anna--1", "a b", "ä"])
def test_a_subject_that_is_no_folder_name_gets_one_of_its_own(subject: str) -> None:
    assert safe_name(subject) != subject
    assert "--" in safe_name(subject)


@needs_root
def test_a_home_belongs_to_its_person_alone_and_is_in_the_index(layout: Layout) -> None:
    owner = HomeOwner("https://id.example.org", "Anna Müller")
    home = ensure_home(layout, "biology", owner, 200123)
    (home / "work.txt").write_text("kept")
    home.chmod(0o755)
    assert ensure_home(layout, "biology", owner, 200123) == home
    assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (200123, 0o700)
    assert (home / "work.txt").read_text() == "kept"
    assert home_index(layout, "biology") == {home.name: owner}
    assert layout.homes("biology").stat().st_mode & 0o777 == 0o711
    assert json.loads((layout.homes("biology") / ".people.json").read_text())[home.name]["subject"] == "Anna Müller"
