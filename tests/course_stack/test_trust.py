"""Whom processes believe: every client of ours asks a server whose certificate an authority of a site's own signed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.failures import StoreDown, WrongCredentials
from automation.settings import StateSettings
from automation.state import StateStore
from course_stack.credentials import CredentialsError
from course_stack.hub_files.trust import AWS_ENV, FILE_ENV, believed, bundle, with_authority
from course_stack.identity import IdentityError
from course_stack.identity.authentik import Authentik
from course_stack.identity.canaille import Canaille
from course_stack.kubernetes.check import handshake
from course_stack.local.layout import Layout
from course_stack.object_store import ObjectStoreError
from course_stack.object_store.minio import MinioStore
from course_stack.object_store.s3 import S3Store
from course_stack.target import IdentityTarget, ObjectStoreTarget
from course_stack.trust import authority, certificates, context, environment
from portal.config import PortalSettings
from portal.hub_api import HubApi, HubRefused, HubUnreachable
from portal.identity.oidc import Provider, ProviderUnreachable
from portal.worker.notebook import NotebookFailed, NotebookServer
from portal.worker.run import Hub
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.tls import Authority, refusing

Ask = Callable[[str], object]


@pytest.fixture(scope="module")
def own() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(own: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with refusing(own, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (FILE_ENV, AWS_ENV, "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")  # so that it is put back whatever a test writes there
        monkeypatch.delenv(name)
    return monkeypatch


def believe(own: Authority, folder: Path) -> None:
    os.environ.update(bundle(own.pem, folder / "authorities.crt"))


def _authentik(url: str) -> object:
    return Authentik(IdentityTarget(kind="authentik", url=url), {"token": "t"}).group_names("jhaas-")


def _canaille(url: str) -> object:
    keys = {"registration_token": "t", "client_id": "i", "client_secret": "s"}
    return Canaille(IdentityTarget(kind="canaille", url=url), keys).group_names("jhaas-")


def _store(url: str) -> ObjectStoreTarget:
    return ObjectStoreTarget(kind="minio", endpoint=url)


def _s3(url: str) -> object:
    return S3Store(_store(url), "key", "secret").bucket_names("jhaas-")


def _minio(url: str) -> object:
    return MinioStore(_store(url), "key", "secret").user_names("jhaas-")


def _hub(url: str) -> object:
    with HubApi(Hub(f"{url}/", f"{url}/hub/api/", "token")) as api:
        return list(api.users())


def _notebook(url: str) -> object:
    with NotebookServer(f"{url}/user/check/", "token", between=lambda: None) as notebook:
        notebook._connect(f"{url}/user/check/api/kernels/1/channels")
        return None


def _state(url: str) -> object:
    settings = StateSettings.model_validate(
        {
            "url": f"s3://state?endpoint={url}&region=eu-central-1",
            "access_key_id": "key",
            "secret_access_key": "secret",
            "passphrase": "p",
        }
    )
    return StateStore.of(settings, "jhaas-course").names()


def _sign_in(url: str) -> object:
    settings = PortalSettings(
        database_url="postgresql://nobody@127.0.0.1/none",
        secret_key="of this test and of nothing else at all",
        public_url="https://courses.example.org",
        oidc_issuer=url,
        oidc_client_id="portal",
        oidc_client_secret="of this test",
    )
    return Provider(settings).authorization_url(redirect_uri="https://x/", state="s", nonce="n", verifier="v" * 43)


ASKING: dict[str, tuple[Ask, type[Exception], str]] = {
    "Authentik": (_authentik, IdentityError, "refuses"),
    "Canaille": (_canaille, IdentityError, "refuses"),
    "object store": (_s3, ObjectStoreError, "refuses"),
    "keys of MinIO": (_minio, ObjectStoreError, "refuses"),
    "hub": (_hub, HubRefused, "403"),
    "sign-in of the portal": (_sign_in, ProviderUnreachable, "HTTP 403"),
}
"""Who asks; what is raised where the server is believed, and says no, with a word of it."""


@pytest.mark.parametrize("who", ASKING)
def test_an_authority_of_the_sites_own_is_believed_where_it_is_named_and_else_told(
    who: str, own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    ask, failure, word = ASKING[who]
    told = r"its certificate is not believed here \(.*\): give who signed it by the target's cluster\.authority"
    with pytest.raises(HubUnreachable if failure is HubRefused else failure, match=told):
        ask(server)
    believe(own, tmp_path)
    with pytest.raises(failure, match=word) as refused:
        ask(server)
    assert "certificate" not in str(refused.value)


def test_the_state_of_stacks_is_reached_by_an_authority_of_the_sites_own(
    own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreDown, match="its certificate is not believed here"):
        _state(server)
    believe(own, tmp_path)
    with pytest.raises(WrongCredentials):
        _state(server)


def test_a_kernel_is_reached_by_an_authority_of_the_sites_own(
    own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotebookFailed, match="SSLCertVerificationError"):
        _notebook(server)
    believe(own, tmp_path)
    with pytest.raises(NotebookFailed, match="403"):
        _notebook(server)


def test_a_check_sees_what_calls_would_see(
    own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server)
    believe(own, tmp_path)
    handshake(server)


def test_what_is_believed_in_addition_takes_no_public_authority_away(
    own: Authority, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    public = believed()
    assert public is not None
    path = tmp_path / "authorities.crt"
    believe(own, tmp_path)
    assert path.read_text() == Path(public).read_text().rstrip() + "\n" + own.pem
    known = {one["serialNumber"] for one in context().get_ca_certs()}
    assert len(known) > 50
    # what is believed already is not added again
    believe(own, tmp_path)
    assert path.read_text().count(own.pem) == 1


def test_what_clients_of_s3_were_told_before_is_believed_on(
    own: Authority, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    others = Authority("Of the store").pem
    (tmp_path / "store.crt").write_text(others)
    surroundings.setenv(AWS_ENV, str(tmp_path / "store.crt"))
    believe(own, tmp_path)
    assert os.environ[AWS_ENV] == os.environ[FILE_ENV]
    assert Path(os.environ[AWS_ENV]).read_text().endswith(others + own.pem)


def test_an_authority_that_was_renewed_is_believed_without_a_new_start(
    own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authorities.crt"
    path.write_text(Authority("Somebody else").pem)
    surroundings.setenv(FILE_ENV, str(path))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server)
    fresh = tmp_path / "fresh.crt"
    fresh.write_text(own.pem)
    fresh.replace(path)
    handshake(server)


# --- the target's


def test_a_target_names_a_file_of_the_credentials_folder_or_any_other(own: Authority, tmp_path: Path) -> None:
    keys, elsewhere = tmp_path / "keys", tmp_path / "elsewhere.crt"
    keys.mkdir()
    (keys / "campus.crt").write_text(f"Universität, gültig bis 2040\n{own.pem}")
    elsewhere.write_text(own.pem)
    assert authority(cluster_target(), keys) is None
    for name in ("campus.crt", str(elsewhere)):
        assert authority(cluster_target(authority=name), keys) == own.pem


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        ("", "holds no certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nabcd\n-----END CERTIFICATE-----\n", "or a damaged one"),
        ("-----BEGIN PRIVATE KEY-----\nabcd\n-----END PRIVATE KEY-----\n", "holds a private key: everybody's"),
    ],
)
def test_a_file_that_is_no_authority_is_told_with_the_key_that_names_it(
    content: str | None, why: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "campus.crt").write_text(content)
    with pytest.raises(CredentialsError, match=rf"cluster\.authority of target campus is .*campus\.crt, which .*{why}"):
        authority(cluster_target(authority="campus.crt"), tmp_path)


def test_several_authorities_are_all_believed(own: Authority) -> None:
    other = Authority("Another")
    assert certificates(f"# one\n{own.pem}\n# two\n{other.pem}") == own.pem + other.pem


def test_operations_believe_their_targets_authority_and_only_theirs(
    own: Authority, server: str, tmp_path: Path, surroundings: pytest.MonkeyPatch
) -> None:
    (tmp_path / "campus.crt").write_text(own.pem)
    layout = Layout(tmp_path / "data")
    assert environment(cluster_target(), layout, tmp_path) == {}
    found = environment(cluster_target(authority="campus.crt"), layout, tmp_path)
    assert found == dict.fromkeys((FILE_ENV, AWS_ENV), str(layout.authorities / "campus.crt"))
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server)
    surroundings.setenv(FILE_ENV, found[FILE_ENV])
    handshake(server)


def test_a_hub_that_was_given_an_authority_believes_it_beside_the_public_ones(own: Authority, tmp_path: Path) -> None:
    def settings(path: Path) -> Any:
        c = SimpleNamespace(CourseAuthenticator=SimpleNamespace(authorities=""))
        with_authority(cast(Any, c), path)
        return c.CourseAuthenticator.authorities

    assert settings(tmp_path / "authority.crt") == ""
    (tmp_path / "authority.crt").write_text(own.pem)
    content = Path(settings(tmp_path / "authority.crt")).read_text()
    assert content.endswith(own.pem)
    assert content.count("BEGIN CERTIFICATE") > 50
