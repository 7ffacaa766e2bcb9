"""The day on which the portal is down: a course on a cluster, by the Pulumi CLI alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from automation.checkout import checkout_files, write_checkout
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from tests.cluster.course import ClusterCourse
from tests.cluster.trial import Trial

PARTS = (
    "pulumi",
    "pulumi-language-python",
    *(f"pulumi-resource-{name}" for name in ("pulumi-python", "random", "kubernetes")),
)
MISSING = [part for part in PARTS if shutil.which(part) is None]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.machine,
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]


def test_a_course_is_previewed_updated_refreshed_and_destroyed_by_the_cli_alone(trial: Trial, tmp_path: Path) -> None:
    layout = trial.machine.layout
    settings = StateSettings.of_machine(layout)
    stacks = CourseStacks(settings, trial.target, layout)
    course = ClusterCourse.at(trial, "lab-by-hand")
    slug, folder = course.spec.slug, tmp_path / "by-hand"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))}
    environ |= {"PULUMI_HOME": str(tmp_path / "pulumi"), "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true"}

    def pulumi(arguments: str) -> str:
        command = f". ./settings.sh && pulumi {arguments} --non-interactive --color never"
        outcome = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    try:
        stacks.deploy(course.spec)
        state = stacks.state(slug)
        assert state is not None
        files = checkout_files(state, settings, layout)
        write_checkout(folder, files)
        secrets = [one.value for one in stacks.outputs(slug).values() if one.secret]
        assert [secret for secret in (*settings.secrets(), *secrets) if secret in "".join(files.values())] == []

        assert slug in pulumi("stack ls")
        pulumi("preview --expect-no-changes")
        pulumi("up --yes --skip-preview --expect-no-changes")
        pulumi("refresh --yes --skip-preview --expect-no-changes")
        (folder / "course.yaml").write_text((folder / "course.yaml").read_text().replace("seats: 3", "seats: 4"))
        pulumi("up --yes --skip-preview")
        assert stacks.refresh(slug) == []
        pulumi("destroy --yes --skip-preview")
        pulumi("stack rm --yes --remove-backups")
        assert course.traces() == []
        assert slug not in stacks.names()
    finally:
        stacks.destroy(slug)
