"""Files and folders of one machine: written whole or not at all, and never readable for longer than meant."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def private_folder(path: Path, mode: int = 0o700) -> Path:
    """The folder, made with its parents where missing, with exactly this mode."""
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_mode & 0o7777 != mode:
        path.chmod(mode)
    return path


def remove_folder(path: Path) -> None:
    """Delete a folder with everything in it, however deep; fine where it is gone. Links in it are deleted, not
    followed. Raises `OSError`."""
    # shutil.rmtree calls itself for each level: a thousand folders in each other, which anybody can make, end it
    done = subprocess.run(["rm", "-rf", "--", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip().partition("\n")[0] or f"{path} could not be removed")


def write_file(path: Path, text: str, mode: int = 0o600) -> bool:
    """Replace the file's content in one step; whoever reads sees the old text or the new one.

    Returns whether anything changed. The text never lies in a file with a wider mode than `mode`.
    """
    if path.is_file() and path.stat().st_mode & 0o7777 == mode and path.read_text() == text:
        return False
    # the leading dot and the ending keep programs that watch the folder from reading it early
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; waits for it. The lock ends with this process and is not passed on to its children."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
