"""What the embedded engine costs where it has nothing to do."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, seconds

if TYPE_CHECKING:
    from pulumi.automation import Stack

ROUNDS = 5


def measure() -> list[Figure]:
    """Seconds of `up` for a program without resources, on a state store in a folder.

    Every operation is a process of its own, so that each sample is the first `up` of a process: it derives the key of
    the stack's secrets from the passphrase, which Pulumi makes slow on purpose, and parses what it needs.
    """
    with tempfile.TemporaryDirectory() as folder:
        _stack(folder).up()
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            taken = pool.map(_one_up, [folder] * ROUNDS, chunksize=1)
    return [Figure("engine without resources", "s", tuple(taken), bound=0.3, note="first of a process")]


def _one_up(folder: str) -> float:
    stack = _stack(folder)
    return seconds(stack.up)[0]


def _stack(folder: str) -> Stack:
    from pulumi.automation import LocalWorkspaceOptions, ProjectSettings, create_or_select_stack

    from automation.embedded import EmbeddedPulumi

    return create_or_select_stack(
        "empty",
        project_name="benchmark",
        program=lambda: None,
        opts=LocalWorkspaceOptions(
            pulumi_command=EmbeddedPulumi(),
            work_dir=folder,
            env_vars={"PULUMI_CONFIG_PASSPHRASE": "benchmark", "PULUMI_BACKEND_URL": Path(folder).as_uri()},
            project_settings=ProjectSettings("benchmark", "python", main=folder),
        ),
    )
