"""A file that is touched while a process goes on: whoever watches over processes sees one that hangs by its age."""

from __future__ import annotations

from pathlib import Path


def beat(file: Path | None) -> None:
    """Touch the file of the settings, if there is one."""
    if file is not None:
        file.touch()
