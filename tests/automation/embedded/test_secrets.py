"""Secrets in the CLI's own format."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from automation.embedded.errors import EngineError
from automation.embedded.secrets import Crypter, Keys, PassphraseSecrets, passphrase

RECORDED_SALT = "v1:A1stV1BHbh8=:v1:h80uMfaZl0Xc2npU:5yto4o8iBsBPsAGAQnEm+hJANQMKkw=="
RECORDED_TOKEN = "v1:MnZs0w2LmbtZpeJT:neuMGRqxjZWA+AV+EFQojLq+NDnWMyYFn8ywOLk="


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def test_what_the_cli_encrypted_is_decrypted(keys: Keys) -> None:
    secrets = PassphraseSecrets(keys, "correct horse", RECORDED_SALT)

    assert secrets.crypter.decrypt(RECORDED_TOKEN) == '"very-secret"'
    assert secrets.salt == RECORDED_SALT


def test_a_wrong_passphrase_is_told_in_the_cli_s_words(keys: Keys) -> None:
    with pytest.raises(EngineError, match=r"^incorrect passphrase$"):
        _ = PassphraseSecrets(keys, "wrong horse", RECORDED_SALT).crypter


def test_a_new_salt_opens_with_its_passphrase_only(keys: Keys) -> None:
    made = PassphraseSecrets(keys, "new")
    text = made.crypter.encrypt("hush")

    assert PassphraseSecrets(keys, "new", made.salt).crypter.decrypt(text) == "hush"
    with pytest.raises(EngineError, match="incorrect passphrase"):
        _ = PassphraseSecrets(keys, "old", made.salt).crypter


def test_the_same_text_never_has_the_same_ciphertext() -> None:
    crypter = Crypter(b"k" * 32)
    one, other = crypter.encrypt("hush"), crypter.encrypt("hush")

    assert one != other
    assert crypter.decrypt(one) == crypter.decrypt(other) == "hush"
    assert len(base64.b64decode(one.split(":")[1])) == 12


@pytest.mark.parametrize("text", ["", "v1:a:b", "v2:AAAA:AAAA", "hush", "v1:AAAAAAAAAAAAAAAA:AAAA"])
def test_a_broken_ciphertext_is_one_clear_error(text: str) -> None:
    with pytest.raises(EngineError, match="cannot be decrypted"):
        Crypter(b"k" * 32).decrypt(text)


@pytest.mark.parametrize(("salt", "text"), [("nonsense", "malformed"), ("v2:AAAA:v1:x:y", "unknown state version")])
def test_a_broken_salt_is_one_clear_error(keys: Keys, salt: str, text: str) -> None:
    with pytest.raises(EngineError, match=text):
        PassphraseSecrets(keys, "correct horse", salt)


def test_the_passphrase_comes_from_variable_or_file(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from file\n")

    assert passphrase({"PULUMI_CONFIG_PASSPHRASE": "direct", "PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}) == "direct"
    assert passphrase({"PULUMI_CONFIG_PASSPHRASE": ""}) == ""
    assert passphrase({"PULUMI_CONFIG_PASSPHRASE_FILE": str(file)}) == "from file"
    with pytest.raises(EngineError, match=r"unable to read PULUMI_CONFIG_PASSPHRASE_FILE: .*/nothing: No such file"):
        passphrase({"PULUMI_CONFIG_PASSPHRASE_FILE": str(tmp_path / "nothing")})
    with pytest.raises(EngineError, match="passphrase must be set with PULUMI_CONFIG_PASSPHRASE or"):
        passphrase({})
