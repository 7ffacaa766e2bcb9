"""A disk that is full: one clear error, nothing lost, and it works again afterwards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.failures import DiskFull
from automation.settings import StateSettings
from tests.automation.conftest import PASSPHRASE, Site


@pytest.fixture
def small_site(tmp_path: Path) -> Iterator[Site]:
    """A site on a disk of its own of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, stderr=-3)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (no rights)")
    try:
        (disk / "state").mkdir()
        yield Site(disk, StateSettings(url=f"file://{disk}/state", passphrase=PASSPHRASE))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, spare: int) -> Path:
    """Fill the disk but for some bytes."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(b"x" * max(0, free - spare))
    return ballast


@pytest.mark.parametrize("spare", [0, 24_000, 40_000], ids=lambda spare: f"{spare} bytes free")
def test_a_full_disk_is_told_and_the_next_run_goes_on(small_site: Site, spare: int) -> None:
    small_site.stacks().deploy(small_site.spec())
    ballast = fill(small_site.home, spare)

    with pytest.raises(DiskFull, match="Make space"):
        small_site.stacks().update(small_site.spec(content="second", names=["one", "two", "x" * 100, "y" * 100]))

    ballast.unlink()
    small_site.stacks().update(small_site.spec(content="third"))
    assert small_site.files() == {"one": "third", "two": "third"}
    assert small_site.store.locks("course-one") == []
    small_site.stacks().destroy("course-one")
    assert small_site.state_keys() == []
