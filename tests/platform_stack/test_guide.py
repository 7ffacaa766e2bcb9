"""The operator's guide: what can be run without a cluster runs, and what it shows is what is said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform_stack.conftest import ROOT, sections

GUIDE = (ROOT / "docs/platform.md").read_text()
RUN = re.findall(r"<!-- run -->\n```console\n(.+?)```", GUIDE, re.DOTALL)


def commands(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def test_there_are_commands_to_run() -> None:
    assert len(RUN) == 2


NOT_RUN = (
    # gets the program itself
    *("git clone ", "make setup", "export PATH="),
    # Pulumi's CLI, and a cluster for most
    *("mkdir -p ~/jhaas-state && pulumi login", "pulumi "),
    # a cluster
    "kubectl get ",
)
"""Commands of the guide that need what a test has not: the table of what was tried says of these what they ran on."""


def test_each_command_of_the_guide_is_run_or_known_to_need_more() -> None:
    told = [line for block in re.findall(r"```console\n(.+?)```", GUIDE, re.DOTALL) for line in commands(block)]
    run = {line for block in RUN for line in commands(block)}
    others = [line for line in told if line not in run]
    assert [line for line in others if not line.startswith(NOT_RUN)] == []
    assert [begin for begin in NOT_RUN if not any(line.startswith(begin) for line in others)] == []
    assert [line for line in run if line.startswith(NOT_RUN)] == []


@pytest.mark.parametrize("block", RUN, ids=["look at it", "say what you want"])
def test_a_new_operator_can_type_what_the_guide_says(block: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands(block):
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=tmp_path,
            env={**os.environ, "PATH": programs},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    if (tmp_path / "Pulumi.try.yaml").exists():
        assert "https://courses.198-51-100-7.sslip.io/" in done.stdout


def test_the_mistakes_in_the_guide_are_told_so() -> None:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError) as caught:
        parsed(
            sections(
                ingress={"replica": 3},
                certificates={"issuer": "letsencript"},
                site={"hub_domain": "hubs.courses.example.org"},
            )
        )
    told = str(caught.value).splitlines()
    shown = [line.removesuffix("…") for line in GUIDE.splitlines() if line.startswith("jhaas-platform:")]
    assert len(shown) == 3
    for line in shown:
        assert any(one.startswith(line) for one in told), line


def test_the_records_in_the_guide_are_written_so() -> None:
    from config import Site
    from dns_records import hosts, record

    site = Site(portal_host="courses.example.org", hub_domain="example-hubs.org", contact="help@example.org")
    for host in hosts(site):
        assert f"  {record(host, '203.0.113.7')}\n" in GUIDE


def test_every_key_in_the_guide_is_there() -> None:
    from config import PlatformConfig
    from portal.config import PortalSettings
    from tests.platform_stack.test_jhaas_variables import paths

    known = set(paths(PlatformConfig)) | {f"portal.settings.{name}" for name in PortalSettings.model_fields}
    for key in re.findall(r"`([a-z_]+\.[a-z_.]+)(?:: \w+)?`", GUIDE):
        if key.partition(".")[0] in PlatformConfig.model_fields:
            assert key in known, key
