"""Settings: what is missing, unknown or wrong stops the start with one sentence, and no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from automation.settings import SettingsError
from portal.config import load
from portal.settings_guide import guide

WHOLE = {
    "DATABASE_URL": "postgresql://user:the-database-password@127.0.0.1/portal",
    "JHAAS_SECRET_KEY": "a key that is long enough to be a key of the portal",
    "JHAAS_PUBLIC_URL": "https://courses.example.org/",
    "JHAAS_OIDC_ISSUER": "https://id.example.org",
    "JHAAS_OIDC_CLIENT_ID": "jhaas-portal",
    "JHAAS_OIDC_CLIENT_SECRET": "the-secret-of-the-client",
}


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with all that is needed and nothing else of ours."""
    import os

    for name in os.environ:
        if name.startswith("JHAAS_"):
            monkeypatch.delenv(name)
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_what_is_needed_is_enough(whole: pytest.MonkeyPatch) -> None:
    settings = load()
    assert settings.public_url == "https://courses.example.org"
    assert settings.database_url.get_secret_value() == WHOLE["DATABASE_URL"]
    assert settings.warn_days == (14, 7, 1)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_missing_is_named(whole: pytest.MonkeyPatch, name: str) -> None:
    """E5: no default stands in for a secret."""
    whole.delenv(name)
    with pytest.raises(SettingsError, match=f"^{name} is not set: "):
        load()


def test_an_unknown_setting_stops_the_start(whole: pytest.MonkeyPatch) -> None:
    whole.setenv("JHAAS_GRACE_DAY", "3")
    with pytest.raises(SettingsError, match=r"JHAAS_GRACE_DAY \(nearest: JHAAS_GRACE_DAYS\)"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JHAAS_SECRET_KEY", "short"),
        ("JHAAS_PUBLIC_URL", "http://courses.example.org"),
        ("JHAAS_PUBLIC_URL", "courses.example.org"),
        ("JHAAS_PUBLIC_URL", "https://example.org/courses"),
        ("JHAAS_TIMEZONE", "Berlin"),
        ("JHAAS_GRACE_DAYS", "-1"),
        ("JHAAS_SMTP_TLS", "perhaps"),
        ("JHAAS_WARN_DAYS", "soon"),
        ("JHAAS_ROLE_CHECK_MINUTES", "0"),
    ],
)
def test_a_setting_out_of_its_bounds_is_named_and_no_secret_shown(
    whole: pytest.MonkeyPatch, name: str, value: str
) -> None:
    whole.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert name in str(refused.value)
    for secret in ("the-database-password", "the-secret-of-the-client", "long enough to be a key"):
        assert secret not in str(refused.value)
        assert secret not in repr(refused.value.__cause__)


def test_plain_http_is_for_this_machine_only(whole: pytest.MonkeyPatch) -> None:
    whole.setenv("JHAAS_PUBLIC_URL", "http://portal.localhost:8000")
    assert load().public_url == "http://portal.localhost:8000"


def test_a_secret_may_stand_in_a_file(whole: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-the-file\n")
    whole.delenv("JHAAS_OIDC_CLIENT_SECRET")
    whole.setenv("JHAAS_OIDC_CLIENT_SECRET_FILE", str(file))
    assert load().oidc_client_secret.get_secret_value() == "from-the-file"
    file.unlink()
    with pytest.raises(SettingsError, match=r"JHAAS_OIDC_CLIENT_SECRET_FILE: .* cannot be read"):
        load()


def test_the_databases_address_may_stand_in_a_file_and_is_a_portals(whole: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from portal.local import has_portal

    file = tmp_path / "database-url"
    file.write_text("postgresql://user:password@db/portal\n")
    whole.delenv("DATABASE_URL")
    whole.setenv("DATABASE_URL_FILE", str(file))
    assert load().database_url.get_secret_value() == "postgresql://user:password@db/portal"
    assert has_portal()


def test_an_empty_group_of_teachers_lets_everybody_ask_and_an_empty_mail_server_sends_nothing(
    whole: pytest.MonkeyPatch,
) -> None:
    for name in ("JHAAS_TEACHERS_GROUP", "JHAAS_SMTP_HOST", "JHAAS_GOVERNANCE_GROUP"):
        whole.setenv(name, "")
    settings = load()
    assert (settings.teachers_group, settings.smtp_host) == ("", "")
    # nobody means to have no governance: what is empty there says nothing
    assert settings.governance_group == "jhaas-governance"


def test_the_environment_goes_before_what_a_machine_knows(whole: pytest.MonkeyPatch) -> None:
    whole.setenv("JHAAS_GRACE_DAYS", "5")
    settings = load({"grace_days": 9, "retention_days": 9, "oidc_client_id": "of-the-machine"})
    assert (settings.grace_days, settings.retention_days) == (5, 9)
    assert settings.oidc_client_id == "jhaas-portal"


def test_no_secret_is_shown_where_settings_are_printed(whole: pytest.MonkeyPatch) -> None:
    shown = f"{load()!r} {load()}"
    for secret in ("the-database-password", "the-secret-of-the-client", "long enough to be a key"):
        assert secret not in shown


def test_the_guide_to_settings_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == guide(), "run: jhaas portal settings > docs/settings.md"
