"""What an operation's processes are told of the target's keys: where they lie, and nothing of what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from automation.engine import credentials_folder, target_environment
from automation.failures import ClusterFailed
from course_stack.credentials import in_folder
from course_stack.local.layout import Layout
from course_stack.target import CREDENTIALS_ENV
from tests.automation.conftest import TARGET
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.tls import Authority

CAMPUS = cluster_target()


def test_a_cluster_s_keys_lie_where_the_setting_says_and_this_machine_s_in_the_data_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    surroundings = {CREDENTIALS_ENV: "/etc/jhaas/credentials"}
    assert credentials_folder(CAMPUS, layout, surroundings) == Path("/etc/jhaas/credentials")
    assert credentials_folder(CAMPUS, layout, {}) == tmp_path / "credentials"
    assert credentials_folder(TARGET, layout, surroundings) == tmp_path / "credentials"


def test_each_target_has_its_own_kubeconfig_in_a_folder_of_its_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.credentials / "campus").mkdir(parents=True)
    (layout.credentials / "kubeconfig").write_text("of another")
    (layout.credentials / "campus/kubeconfig").write_text("of campus")
    found = target_environment(CAMPUS, layout, {})
    assert found == {
        CREDENTIALS_ENV: str(layout.credentials),
        "KUBECONFIG": str(layout.credentials / "campus/kubeconfig"),
    }
    assert in_folder("identity.json", layout.credentials, of="campus") == layout.credentials / "campus/identity.json"


def test_with_one_cluster_the_keys_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.credentials.mkdir()
    (layout.credentials / "kubeconfig").write_text("of campus")
    found = target_environment(CAMPUS, layout, {})
    assert found["KUBECONFIG"] == str(layout.credentials / "kubeconfig")
    assert in_folder("identity.json", layout.credentials, of="campus") == layout.credentials / "identity.json"


def test_without_a_kubeconfig_among_the_keys_the_caller_s_own_stands(tmp_path: Path) -> None:
    assert target_environment(CAMPUS, Layout(tmp_path), {}) == {CREDENTIALS_ENV: str(tmp_path / "credentials")}
    assert target_environment(TARGET, Layout(tmp_path), {}) == {CREDENTIALS_ENV: str(tmp_path / "credentials")}


def test_an_operation_believes_its_targets_authority(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.credentials.mkdir()
    campus, own = cluster_target(authority="campus.crt"), Authority()
    with pytest.raises(ClusterFailed, match=r"cluster\.authority of target campus is .*, which cannot be read"):
        target_environment(campus, layout, {})
    (layout.credentials / "campus.crt").write_text(own.pem)
    found = target_environment(campus, layout, {})
    assert own.pem in Path(found["SSL_CERT_FILE"]).read_text()
