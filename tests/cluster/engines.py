"""The engines by which a course comes to a cluster, and the programs that each needs on PATH."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest

Engine = Literal["cli", "embedded"]
ENGINES: tuple[Engine, ...] = ("cli", "embedded")
_NEEDED = {
    "cli": ("pulumi", "pulumi-resource-pulumi-python", "pulumi-resource-kubernetes"),
    "embedded": ("pulumi-resource-kubernetes",),
}


def skip_without(engine: Engine) -> None:
    """Skip the test where the engine lacks a program."""
    if missing := [name for name in _NEEDED[engine] if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not on PATH")
