"""What the embedded engine costs where it has nothing to do."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pulumi.automation import LocalWorkspaceOptions, ProjectSettings, create_or_select_stack

from automation.embedded import EmbeddedPulumi
from benchmarks.figure import Figure, seconds


def measure() -> list[Figure]:
    """Seconds of `up` for a program without resources, on a state store in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        stack = create_or_select_stack(
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
        stack.up()
        taken = seconds(stack.up, times=5)
    return [Figure("engine without resources", "s", taken, bound=0.3)]
