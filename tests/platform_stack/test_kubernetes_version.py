"""A cluster that is too old, or does not answer, is refused before anything is made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pulumi
import pytest
import yaml

from tests.platform_stack.conftest import ROOT


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in, first on PATH; what is written into this file, it runs."""
    path = tmp_path / "kubectl"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return path


def says(kubectl: Path, minor: str) -> None:
    told = {"clientVersion": {"minor": "34"}, "serverVersion": {"major": "1", "minor": minor}}
    noted = kubectl.with_name("arguments")
    kubectl.write_text(f"#!/bin/sh\necho \"$@\" >{noted}\ncat <<'END'\n{json.dumps(told)}\nEND\n")


@pytest.mark.parametrize("minor", ["30", "30+", "34"])
def test_a_cluster_that_knows_what_holds_workers_down_is_taken(kubectl: Path, minor: str) -> None:
    from kubernetes_version import refusal

    says(kubectl, minor)
    assert refusal("campus") is None
    assert kubectl.with_name("arguments").read_text().startswith("--context campus version -o json")


def test_an_older_one_is_refused_with_the_bound_before_anything_is_made(kubectl: Path) -> None:
    from config import Cluster
    from kubernetes_version import refuse_old

    says(kubectl, "29")
    told = r"^jhaas-platform:cluster\.context is campus: Kubernetes 1\.29, and 1\.30 or newer is needed\.$"
    with pytest.raises(pulumi.RunError, match=told):
        refuse_old(Cluster(context="campus"))
    program = (ROOT / "platform/__main__.py").read_text()
    assert program.index("refuse_old(config.cluster)") < program.index("cluster_provider(config.cluster)")


def test_one_that_does_not_answer_is_refused_in_kubectls_words(kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes_version import refusal

    kubectl.write_text("#!/bin/sh\necho 'error: context \"campus\" does not exist' >&2; exit 1\n")
    assert refusal("campus") == (
        "jhaas-platform:cluster.context is campus, and its cluster cannot be asked: "
        'error: context "campus" does not exist'
    )
    monkeypatch.setenv("PATH", "")
    assert str(refusal("campus")).endswith("kubectl is not on PATH")


def test_the_bound_is_that_of_the_policy_and_of_the_guide() -> None:
    """ValidatingAdmissionPolicy of the version v1, of which rights.yaml makes one, came with Kubernetes 1.30."""
    from config import OLDEST_KUBERNETES

    rights = list(yaml.safe_load_all((ROOT / "examples/cluster/rights.yaml").read_text()))
    (policy,) = [one for one in rights if one["kind"] == "ValidatingAdmissionPolicy"]
    assert policy["apiVersion"] == "admissionregistration.k8s.io/v1"
    assert OLDEST_KUBERNETES == (1, 30)
    assert "(Kubernetes 1.30 or newer)" in (ROOT / "docs/platform.md").read_text()
