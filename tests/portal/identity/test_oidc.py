"""What is believed of the identity provider's answers, and what happens when it gives none."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from portal.config import PortalSettings
from portal.identity import oidc
from portal.identity.oidc import Provider, ProviderRefused, ProviderUnreachable, Tokens
from tests.portal.identity import issuer as issuers
from tests.portal.identity.issuer import CLIENT, SECRET, SUBJECT, Issuer, foreign, issuer, symmetric, unsigned

BACK = "https://portal.example.org/sign-in/callback"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class Ticks:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[Issuer]:
    with issuer() as found:
        yield found


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def settings_for(url: str, **changes: Any) -> PortalSettings:
    return PortalSettings(
        database_url="postgresql://nowhere",
        secret_key="not a secret, but long enough for a test",
        public_url="https://portal.example.org",
        oidc_issuer=url,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,
        **changes,
    )


@pytest.fixture
def provider(server: Issuer, ticks: Ticks) -> Provider:
    return Provider(settings_for(server.url), ticks=ticks)


def exchange(provider: Provider) -> Tokens:
    return provider.exchange("code", redirect_uri=BACK, nonce="the nonce", verifier="v" * 43)


def test_the_browser_is_sent_with_state_nonce_and_a_hashed_verifier(provider: Provider) -> None:
    url = provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)
    query = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
    assert query["state"] == "s"
    assert query["nonce"] == "n"
    assert query["code_challenge_method"] == "S256"
    assert query["code_challenge"] not in ("", "v" * 43)
    assert "v" * 43 not in url
    assert query["response_type"] == "code"
    assert query["redirect_uri"] == BACK
    assert query["scope"].split()[0] == "openid"


def test_only_scopes_that_the_provider_knows_are_asked_for(server: Issuer, provider: Provider) -> None:
    server.metadata = {"scopes_supported": ["openid", "email"]}
    url = provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)
    assert parse_qs(urlsplit(url).query)["scope"] == ["openid email"]


def test_a_code_becomes_tokens_with_our_verifier_and_our_secret_in_the_header(
    server: Issuer, provider: Provider
) -> None:
    tokens = exchange(provider)
    assert tokens.claims["sub"] == SUBJECT
    assert tokens.refresh == "another refresh token"
    path, fields, headers = server.asked[-1]
    assert path == "/token"
    assert fields["code_verifier"] == ["v" * 43]
    assert headers["Authorization"].startswith("Basic ")
    assert "client_secret" not in fields


def test_tokens_are_not_shown_where_they_are_printed(provider: Provider) -> None:
    shown = repr(exchange(provider))
    assert "access" not in shown.replace("access=", "")
    assert "refresh token" not in shown


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example.org"},
        {"iss": ""},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": ""},
        {"aud": [CLIENT, "another-client"]},  # two parties, and none is named as the one it was made for
        {"azp": "another-client"},
        {"aud": [CLIENT, "another-client"], "azp": "another-client"},
        {"exp": int(time.time()) - 3600},
        {"exp": ""},
        {"iat": ""},
        {"nonce": "another nonce"},
        {"nonce": ""},
        {"sub": ""},
        {"nbf": int(time.time()) + 3600},
        {"at_hash": "not-that-of-the-access-token"},
    ],
    ids=" ".join,  # names of claims: times among the values differ from process to process
)
def test_an_id_token_that_is_not_for_us_now_is_refused(
    server: Issuer, provider: Provider, claims: dict[str, Any]
) -> None:
    server.claims = claims
    with pytest.raises(ProviderRefused):
        exchange(provider)


@pytest.mark.parametrize("sign", [symmetric, unsigned, foreign], ids=lambda sign: sign.__name__)
def test_an_id_token_that_the_provider_did_not_sign_is_refused(
    server: Issuer, provider: Provider, sign: Callable[[dict[str, Any]], str]
) -> None:
    server.sign = sign
    with pytest.raises(ProviderRefused, match="not signed"):
        exchange(provider)


def test_new_keys_of_the_provider_are_found_at_once(server: Issuer, provider: Provider) -> None:
    exchange(provider)
    server.key = RSAKey.generate_key(2048, auto_kid=True)
    assert exchange(provider).claims["sub"] == SUBJECT


def test_an_answer_without_an_id_token_signs_nobody_in(server: Issuer, provider: Provider) -> None:
    server.token_answer = (200, {"access_token": "access", "token_type": "Bearer"})
    with pytest.raises(ProviderRefused, match="no ID token"):
        exchange(provider)


def test_a_refusal_is_told_from_a_failure(server: Issuer, provider: Provider, ticks: Ticks) -> None:
    server.token_answer = (400, {"error": "invalid_grant"})
    with pytest.raises(ProviderRefused, match="invalid_grant"):
        provider.refresh("old", subject=SUBJECT)
    server.token_answer = (503, {"error": "try again"})
    with pytest.raises(ProviderUnreachable, match="503"):
        provider.refresh("old", subject=SUBJECT)
    asked = len(server.asked)
    with pytest.raises(ProviderUnreachable):
        provider.refresh("old", subject=SUBJECT)
    assert len(server.asked) == asked, "right after a failure not every request waits for it"
    ticks.now += 11
    server.token_answer = None
    server.claims = {"nonce": ""}
    assert provider.refresh("old", subject=SUBJECT).access == "access"


def test_a_refresh_token_that_stays_is_kept(server: Issuer, provider: Provider) -> None:
    server.token_answer = (200, {"access_token": "new"})
    assert provider.refresh("old", subject=SUBJECT).refresh == "old"


def test_answers_about_somebody_else_are_refused(server: Issuer, provider: Provider) -> None:
    tokens = exchange(provider)
    server.userinfo = {"sub": "somebody-else", "groups": ["jhaas-governance"]}
    with pytest.raises(ProviderRefused, match="somebody else"):
        provider.person(tokens, subject=SUBJECT)
    server.claims = {"sub": "somebody-else"}
    with pytest.raises(ProviderRefused, match="somebody else"):
        provider.refresh("old", subject=SUBJECT)


def test_a_person_that_the_provider_no_longer_knows_is_refused(server: Issuer, provider: Provider) -> None:
    tokens = exchange(provider)
    server.userinfo_status = 401
    with pytest.raises(ProviderRefused):
        provider.person(tokens, subject=SUBJECT)


def test_a_provider_that_is_down_at_the_start_is_asked_again(server: Issuer, ticks: Ticks) -> None:
    """E14: discovery is lazy; nothing is remembered for ever."""
    internal = "http://127.0.0.1:1"
    provider = Provider(settings_for(server.url, oidc_internal_url=internal), ticks=ticks)
    with pytest.raises(ProviderUnreachable, match="does not answer"):
        provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)
    provider._internal = None  # it is up now
    with pytest.raises(ProviderUnreachable):
        provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)
    assert provider.state == "away"
    assert server.asked == [], "right after a failure not every page waits for it"
    ticks.now += 11
    assert provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)


def test_what_is_known_serves_on_while_the_provider_is_down(server: Issuer, provider: Provider, ticks: Ticks) -> None:
    assert exchange(provider).claims["sub"] == SUBJECT
    assert provider.state == "ok"
    provider._internal = "http://127.0.0.1:1"
    ticks.now += 3600
    assert provider.authorization_url(redirect_uri=BACK, state="s", nonce="n", verifier="v" * 43)
    assert provider.state == "away"
    assert provider.end_session_url(id_token="t", return_to="https://portal.example.org/signed-out")


def test_a_provider_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, ticks: Ticks) -> None:
    """E16: it takes the connection and says nothing."""
    monkeypatch.setattr(oidc, "_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ProviderUnreachable, match="ReadTimeout"):
            exchange(Provider(settings_for(url), ticks=ticks))


def test_a_provider_that_calls_itself_otherwise_is_not_believed(server: Issuer, provider: Provider) -> None:
    server.metadata = {"issuer": "https://other.example.org"}
    with pytest.raises(ProviderUnreachable, match="calls itself"):
        exchange(provider)


def test_the_internal_address_is_called_by_the_public_name(server: Issuer, ticks: Ticks) -> None:
    settings = settings_for("http://id.localhost:1", oidc_internal_url=server.url)
    public, server.url = server.url, "http://id.localhost:1"
    provider = Provider(settings, ticks=ticks)
    try:
        assert exchange(provider).claims["iss"] == "http://id.localhost:1"
    finally:
        server.url = public
    assert {headers["Host"] for _, _, headers in server.asked} == {"id.localhost:1"}


def logout_token(server: Issuer, **changes: Any) -> str:
    claims = {**server.default_claims(), "events": {LOGOUT: {}}, "sid": "their session", "jti": "1", **changes}
    del claims["nonce"]
    return server.signed({key: value for key, value in claims.items() if value != ""})


def test_a_logout_token_names_session_and_person(server: Issuer, provider: Provider) -> None:
    logout = provider.logout(logout_token(server))
    assert (logout.session, logout.subject) == ("their session", SUBJECT)


@pytest.mark.parametrize(
    "changes",
    [{"events": ""}, {"events": {"other": {}}}, {"aud": "another-client"}, {"iss": "https://other.example.org"},
     {"sid": "", "sub": ""}, {"exp": 1}],
    ids=str,
)  # fmt: skip
def test_any_other_token_signs_nobody_out(server: Issuer, provider: Provider, changes: dict[str, Any]) -> None:
    with pytest.raises(ProviderRefused):
        provider.logout(logout_token(server, **changes))


def test_an_id_token_signs_nobody_out(server: Issuer, provider: Provider) -> None:
    with pytest.raises(ProviderRefused):
        provider.logout(server.signed(server.default_claims() | {"events": {LOGOUT: {}}}))
    with pytest.raises(ProviderRefused):
        provider.logout(issuers.foreign(server.default_claims()))
