"""What is said where a cluster cannot be spoken with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from course_stack.kubernetes import api
from course_stack.kubernetes.api import ClusterError, connect, kubeconfig_path
from course_stack.target import CREDENTIALS_ENV, Target
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import SERVER, FakeCluster, write_kubeconfig


@pytest.fixture
def target() -> Target:
    return cluster_target()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (CREDENTIALS_ENV, "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(api, "ACCOUNT", tmp_path / "no-account")


def test_the_kubeconfig_is_the_credentials_folders_own_and_else_the_environments(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, own = tmp_path / "elsewhere", tmp_path / "kubeconfig"
    write_kubeconfig(elsewhere)
    monkeypatch.setenv("KUBECONFIG", str(elsewhere))
    assert kubeconfig_path(target, tmp_path) == elsewhere
    write_kubeconfig(own)
    assert kubeconfig_path(target, tmp_path) == own


def test_a_pod_without_a_kubeconfig_uses_its_own_account(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = tmp_path / "account"
    account.mkdir()
    monkeypatch.setattr(api, "ACCOUNT", account)
    assert kubeconfig_path(target, tmp_path) is None


def test_no_kubeconfig_at_all_says_where_one_is_looked_for(target: Target, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=rf"no kubeconfig of target campus \({tmp_path}/kubeconfig\): put it as"):
        kubeconfig_path(target, tmp_path)


def test_several_kubeconfigs_at_once_are_refused(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/one:/two")
    with pytest.raises(ClusterError, match="names several files"):
        kubeconfig_path(target, tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "cannot be read: it is not a kubeconfig"),
        ("just text", "cannot be read: it is not a kubeconfig"),
        ("{}", "cannot be read: it is not a kubeconfig"),
        (yaml.safe_dump({"contexts": [], "clusters": []}), "has no current context: name one by `context` of campus"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named(target: Target, tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(ClusterError, match=why):
        connect(target, tmp_path)


def test_a_context_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig")
    with pytest.raises(ClusterError, match="has no context there; it has: here"):
        connect(cluster_target(context="there"), tmp_path)


def test_a_context_that_leads_nowhere_is_named(target: Target, tmp_path: Path) -> None:
    write_kubeconfig(tmp_path / "kubeconfig", user="somebody-else")
    with pytest.raises(ClusterError, match=r"ontext here .* names 'somebody-else', which is not there"):
        connect(target, tmp_path)


@pytest.mark.parametrize(
    ("status", "sentence", "passing"),
    [
        (401, "does not accept who we are: the credential in .*kubeconfig has ended or is wrong", False),
        (403, r"does not allow us to list Namespaces \(refused by the test\): give the account this right", False),
        (500, r"did not list Namespaces: it fails itself \(HTTP 500", True),
        (503, r"did not list Namespaces: it fails itself \(HTTP 503", True),
        (422, "did not list Namespaces: refused by the test", False),
    ],
)
def test_a_refusal_is_one_sentence_without_the_token(
    target: Target, tmp_path: Path, status: int, sentence: str, passing: bool
) -> None:
    from lightkube.resources.core_v1 import Namespace

    fake = FakeCluster()
    fake.refuse = lambda _method, _path: status
    with fake.connect(target, tmp_path) as cluster, pytest.raises(ClusterError, match=sentence) as caught:
        cluster.objects(Namespace)
    assert caught.value.passing is passing
    assert "very-secret-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (httpx2.ConnectError("refused"), "does not answer: is it running, and its address in .* right"),
        (httpx2.ReadTimeout("late"), "did not answer in time"),
    ],
)
def test_a_cluster_that_does_not_answer_may_do_so_later(
    target: Target, tmp_path: Path, failure: Exception, sentence: str
) -> None:
    def fail(_: httpx2.Request) -> httpx2.Response:
        raise failure

    write_kubeconfig(tmp_path / "kubeconfig")
    with connect(target, tmp_path, transport=httpx2.MockTransport(fail)) as cluster:
        with pytest.raises(ClusterError, match=f"The cluster at {SERVER} was asked to tell its version") as caught:
            cluster.version()
        assert caught.value.passing
        with pytest.raises(ClusterError, match=sentence):
            cluster.version()


def test_another_certificate_is_told_as_such(target: Target, tmp_path: Path, other_authority: str) -> None:
    write_kubeconfig(tmp_path / "kubeconfig")
    content = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    content["clusters"][0]["cluster"]["server"] = other_authority
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(content))
    with connect(target, tmp_path) as cluster, pytest.raises(ClusterError, match=r"has a certificate that .* vouch"):
        cluster.version()


@pytest.fixture
def other_authority(tmp_path: Path) -> Iterator[str]:
    """Address of a server whose certificate nobody vouches for."""
    import http.server
    import ssl
    import threading

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # the client goes: that is the test
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_not_there_is_none_and_what_a_cluster_does_not_know_is_empty(target: Target, tmp_path: Path) -> None:
    from lightkube.resources.core_v1 import ConfigMap, Namespace

    with FakeCluster().connect(target, tmp_path) as cluster:
        assert cluster.get(Namespace, "nothing") is None
        assert cluster.objects(ConfigMap, "nothing") == []
        assert cluster.delete(ConfigMap, "nothing", "nowhere") is False
        assert cluster.log("nothing", "nowhere") == []
        assert cluster.version() == (1, 34)


def test_whoever_only_knows_of_clusters_does_not_load_their_client() -> None:
    program = (
        "import sys; import course_stack.kubernetes.api, course_stack.prepare, automation.work, automation.reality, "
        "portal.archives.storage, portal.app; "
        "sys.exit([name for name in ('lightkube', 'httpx2', 'pulumi_kubernetes', 'msgspec') if name in sys.modules] "
        "or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
