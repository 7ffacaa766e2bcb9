"""Files are written whole or not at all, and are never more open than meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from course_stack.local.files import private_folder, remove_folder, write_file


def test_writing_says_whether_anything_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_file(path, "one")
    assert not write_file(path, "one")
    assert write_file(path, "two")
    assert path.read_text() == "two"


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_file(tmp_path / "file", "secret")
        private_folder(tmp_path / "folder")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_a_file_that_was_too_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("same")
    path.chmod(0o644)
    assert write_file(path, "same")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "new \udc80")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_folders_in_each_other_beyond_any_depth_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, kept = tmp_path / "folder", tmp_path / "kept"
    for one in (folder, kept):
        one.mkdir()
    (kept / "file").touch()
    (folder / "link").symlink_to(kept)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_folder(folder)
    assert not folder.exists()
    assert (kept / "file").exists()
    remove_folder(folder)
