from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from automation.settings import KNOWN_SETTINGS, SettingsError, StateSettings, check_environment
from course_stack.local.layout import Layout

URL = "s3://jhaas-state/site?endpoint=http://127.0.0.1:8333"
WHOLE = {
    "JHAAS_STATE_URL": URL,
    "JHAAS_STATE_ACCESS_KEY_ID": "AKIA",
    "JHAAS_STATE_SECRET_ACCESS_KEY": "access-secret",
    "JHAAS_STATE_PASSPHRASE": "correct horse",
}


def test_region_and_path_style_become_part_of_the_address() -> None:
    settings = StateSettings.of_environment(
        {**WHOLE, "JHAAS_STATE_REGION": "eu-central-1", "JHAAS_STATE_PATH_STYLE": "yes"}
    )

    assert settings is not None
    parts = urlsplit(settings.backend_url)
    assert (parts.scheme, parts.netloc, parts.path) == ("s3", "jhaas-state", "/site")
    assert parse_qs(parts.query) == {
        "endpoint": ["http://127.0.0.1:8333"],
        "region": ["eu-central-1"],
        "use_path_style": ["true"],
    }


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("from a file\n")
    environment = {name: value for name, value in WHOLE.items() if name != "JHAAS_STATE_PASSPHRASE"}

    settings = StateSettings.of_environment(
        {**environment, "JHAAS_STATE_PASSPHRASE_FILE": str(tmp_path / "passphrase")}
    )

    assert settings is not None
    assert settings.passphrase is not None
    assert settings.passphrase.get_secret_value() == "from a file"


def test_without_settings_in_the_environment_the_machine_s_own_are_taken(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.credentials.mkdir()
    state = {"url": URL, "region": "us-east-1", "access_key_id": "AKIA", "secret_access_key": "s"}
    (layout.credentials / "state.json").write_text(json.dumps(state))
    (layout.credentials / "state-passphrase").write_text("of the machine\n")

    assert StateSettings.of_environment({"PATH": "/bin"}) is None
    settings = StateSettings.load(layout, {"PATH": "/bin"})

    assert settings.secrets() == ("s", "of the machine")


def test_a_machine_without_settings_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"credentials/state\.json cannot be read"):
        StateSettings.load(Layout(tmp_path), {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("JHAAS_STATE_PASPHRASE", "JHAAS_STATE_PASSPHRASE"),
        ("JHAAS_HOMES", "JHAAS_HOME"),
        ("JHAAS_PULUMMI", "JHAAS_PULUMI"),
    ],
)
def test_an_unknown_setting_stops_the_start_and_the_nearest_known_one_is_named(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=rf"no setting {name} \(nearest: {nearest}\)"):
        check_environment({"PATH": "/bin", name: "x"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JHAAS_STATE_URL": "http://127.0.0.1"}, r"JHAAS_STATE_URL: must be s3://BUCKET"),
        ({"JHAAS_STATE_URL": "file://folder"}, r"JHAAS_STATE_URL: must name a folder by its full path"),
        ({"JHAAS_STATE_URL": f"{URL}&use_pathstyle=true"}, r"'use_pathstyle' \(nearest: use_path_style\)"),
        ({"JHAAS_STATE_URL": "s3://key:word@bucket"}, r"JHAAS_STATE_URL: must hold no credentials"),
        ({"JHAAS_STATE_SECRETS_PROVIDER": "awskms://alias/jhaas"}, r"exactly one of passphrase and secrets_provider"),
        ({"JHAAS_STATE_PATH_STYLE": "perhaps"}, r"JHAAS_STATE_PATH_STYLE: "),
    ],
)
def test_a_setting_out_of_its_bounds_is_one_sentence_that_names_it(change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        StateSettings.of_environment({**WHOLE, **change})
    assert "correct horse" not in str(refused.value)
    assert "access-secret" not in str(refused.value)


def test_an_access_key_without_its_secret_is_refused() -> None:
    environment = {name: value for name, value in WHOLE.items() if name != "JHAAS_STATE_SECRET_ACCESS_KEY"}

    with pytest.raises(SettingsError, match="access_key_id and secret_access_key belong together"):
        StateSettings.of_environment(environment)


def test_no_secret_is_shown_where_settings_are_printed() -> None:
    settings = StateSettings.of_environment(WHOLE)

    assert "access-secret" not in f"{settings!r} {settings} {settings.model_dump()}"  # type: ignore[union-attr]
    assert "correct horse" not in f"{settings!r} {settings} {settings.model_dump()}"  # type: ignore[union-attr]


def test_every_setting_that_the_guides_name_exists() -> None:
    import portal.config  # noqa: F401 - it makes the portal's settings known

    root = Path(__file__).parents[2]
    guides = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    named = {name for guide in guides for name in re.findall(r"JHAAS_[A-Z_]*[A-Z]", guide.read_text())}
    assert len(named) > 10
    # settings of tests are the tests' own: no process of ours is given them
    assert {name for name in named if not name.startswith("JHAAS_TEST_")} - set(KNOWN_SETTINGS) == set()
