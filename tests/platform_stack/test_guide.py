"""The operator's guide: what can be run without a cluster runs, and what it shows is what is said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.platform_stack.conftest import ROOT, sections

GUIDE = (ROOT / "docs/platform.md").read_text()
PEOPLE = (ROOT / "docs/identity.md").read_text()
RUN = re.findall(r"<!-- run -->\n```console\n(.+?)```", GUIDE, re.DOTALL)


def commands(block: str) -> list[str]:
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def test_there_are_commands_to_run() -> None:
    assert len(RUN) == 2


TRIED = {
    # gets the program itself
    "git clone ": "`git clone`",
    "make setup": "`make setup`",
    "export PATH=": "`make setup`",
    # Pulumi's CLI, and a cluster for most
    "mkdir -p ~/jhaas-state && pulumi login": "`pulumi login`",
    "pulumi stack init": "`pulumi stack init`",
    "pulumi config set --secret": "`pulumi config set --secret`",
    "pulumi up": "`up` from empty",
    "pulumi stack output": "`pulumi stack output`",
    "pulumi destroy": "`destroy`",
    "pulumi up --refresh": "`pulumi up --refresh`",
    "pulumi stack change-secrets-provider passphrase": "`change-secrets-provider`",
    # a cluster
    "kubectl get secret": "`kubectl get secret`",
    "kubectl get backups": "`kubectl get` of backups",
    "kubectl create -f -": "(`kubectl create`)",
    "kubectl get cluster": "`kubectl get` of backups",
    "kubectl exec -n jhaas-object-storage": "`kubectl exec` at the store",
    # between backticks, in the text
    "… | kubectl apply --dry-run=server": "`kubectl apply --dry-run=server`",
    "pulumi login s3://": "`pulumi login`",
    "pulumi up --replace": "`pulumi up --replace`",
    "pulumi up --ignore-protect": "`pulumi up --ignore-protect`",
    "pulumi up --ignore-protect --target-replace": "`--target-replace` of the courses' passphrase",
    "pulumi stack export --show-secrets": "`pulumi stack export --show-secrets`",
    "kubectl get secret portal-worker": "`kubectl get secret portal-worker`",
    "kubectl exec -n jhaas-portal": "`jhaas courses upgrade` in a worker's pod",
    "kubectl scale deployment": "the way back to a moment",
    "kubectl get deployments": "the way back to a moment",
    "kubectl get crd": "`kubectl get crd`",
    "pulumi cancel": "`pulumi cancel`",
    "kubectl delete secrets": "an `up` that was killed",
    "pulumi refresh": "`pulumi refresh`",
    "PULUMI_K8S_UPSERT_EXISTING_OBJECTS=true pulumi up": "an `up` that was killed",
    # docs/identity.md
    "pulumi stack --show-urns": "`pulumi stack --show-urns`",
    "kubectl -n jhaas-identity logs": "`kubectl logs`",
    "kubectl -n jhaas-identity create job": "`kubectl create job`",
    "kubectl exec -it -n jhaas-identity": "`ak changepassword`",
}
"""How a command of the guide begins that needs what a test has not → where the table says what it was tried on."""


def test_each_command_of_the_guide_is_run_or_marked_with_what_it_was_tried_on() -> None:
    guide, _, table = GUIDE.partition("## What was tried, and on what")
    steps = f"{guide}\n{PEOPLE}"
    told = [line for block in re.findall(r"```console\n(.+?)```", steps, re.DOTALL) for line in commands(block)]
    told += re.findall(r"`((?:… \| )?(?:pulumi|kubectl|helm|docker) \w+ [^`\n]+)`", steps)
    run = {line for block in RUN for line in commands(block)}
    others = [line for line in told if line not in run]
    assert [line for line in others if not line.startswith((*TRIED,))] == []
    assert [begin for begin in TRIED if not any(line.startswith(begin) for line in others)] == []
    assert [line for line in run if line.startswith((*TRIED,))] == []
    assert [place for place in TRIED.values() if place not in table] == []


def test_each_piece_of_a_stacks_file_in_the_guide_is_one_that_is_taken() -> None:
    from stack_file import parsed

    pieces = [yaml.safe_load(textwrap.dedent(piece)) for piece in re.findall(r"```yaml\n(.+?)```", GUIDE, re.DOTALL)]
    assert pieces
    for piece in pieces:
        keys = piece.get("config", piece)
        parsed(sections(**{name.removeprefix("jhaas-platform:"): value for name, value in keys.items()}))


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
