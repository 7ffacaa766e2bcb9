"""`jhaas platform`: what would be made, for people who have no cluster yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Rehearse, sections
from tests.platform_stack.test_stack_files import EXAMPLES, write

TRY = ROOT / "examples/platform/Pulumi.try.yaml"


def jhaas(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portal", "platform", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_the_plan_is_a_tree_of_parts_in_the_order_in_which_they_are_made() -> None:
    shown = jhaas("plan", "--stack-file", str(TRY))
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == ("The platform of https://courses.192-0-2-10.sslip.io/ on the cluster of context default")
    assert any(line.endswith("── chart traefik: oci://ghcr.io/traefik/helm/traefik 41.3.0") for line in lines)
    parts = [line.split("── ")[1] for line in lines if line.startswith(("├", "└"))]
    assert {"ingress", "certificates", "dns"} <= set(parts)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_manifests_are_the_same_at_every_run_and_hold_no_secret(path: Path) -> None:
    first, second = (jhaas("manifests", "--stack-file", str(path)) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "[secret: " not in first.stdout
    documents = list(yaml.safe_load_all(first.stdout))
    assert {document["kind"] for document in documents if "kind" in document} >= {"Namespace", "ClusterIssuer"}
    assert all("values" in document for document in documents if "helm" in document)


def test_objects_alone_can_be_handed_to_kubectl() -> None:
    objects = jhaas("manifests", "--stack-file", str(TRY), "--only", "objects")
    charts = jhaas("manifests", "--stack-file", str(TRY), "--only", "charts")
    assert all("apiVersion" in one for one in yaml.safe_load_all(objects.stdout))
    assert all("helm" in one for one in yaml.safe_load_all(charts.stdout))


def test_what_is_secret_is_hidden_with_its_keys_left_to_see(rehearse: Rehearse) -> None:
    from plan import manifests

    made = manifests(rehearse(**switches.SWITCHES["certificates"]["staging rfc2136"]))
    assert switches.SECRET not in made
    (secret,) = [
        one
        for one in yaml.safe_load_all(made)
        if one.get("kind") == "Secret" and one["metadata"]["name"] == "jhaas-dns"
    ]
    assert secret["stringData"] == {"tsig": "[secret]"}


def test_secrets_that_are_still_to_be_set_are_named_beside_the_plan() -> None:
    shown = jhaas("plan", "--stack-file", str(ROOT / "examples/platform/Pulumi.university.yaml"))
    assert shown.returncode == 0
    assert (
        "Still to be set: pulumi config set --secret --path 'jhaas-platform:database.portal.password'" in shown.stderr
    )


def test_a_wrong_configuration_is_bad_input_with_the_key_and_what_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, sections(certificates={"issuer": "letsencript"}))
    shown = jhaas("plan", cwd=tmp_path)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert f"{path} cannot be used:" in shown.stderr
    assert "jhaas-platform:certificates.issuer: 'letsencript' is not allowed; allowed: 'selfsigned'" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_without_a_file_it_is_said_where_examples_are(tmp_path: Path) -> None:
    shown = jhaas("plan", cwd=tmp_path)
    assert shown.returncode == 2
    assert "there is none in this folder" in " ".join(shown.stderr.split())


def test_the_settings_page_is_up_to_date() -> None:
    shown = jhaas("settings")
    assert shown.returncode == 0
    assert shown.stdout == (ROOT / "docs/platform-settings.md").read_text(), (
        "write it anew: jhaas platform settings > docs/platform-settings.md"
    )
