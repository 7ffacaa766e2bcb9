"""Passphrase secrets in the CLI's own format: AES-256-GCM with a key from PBKDF2.

A salt line is `v1:SALT:v1:NONCE:CIPHERTEXT`; its last part is the word `pulumi`, encrypted to tell a wrong passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from automation.embedded.errors import EngineError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROVIDER = "passphrase"
ITERATIONS = 1_000_000
"""PBKDF2-SHA256 rounds, as the CLI has it."""
WRONG_PASSPHRASE = "incorrect passphrase"  # noqa: S105 -- a message
_PROOF = "pulumi"


class Crypter:
    """Encrypts and decrypts texts with one key."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher: AESGCM = AESGCM(key)

    def encrypt(self, text: str) -> str:
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, text.encode(), None)
        return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, text: str) -> str:
        """The plain text; a text of another key or form is an `EngineError`."""
        from cryptography.exceptions import InvalidTag

        try:
            version, nonce, sealed = text.split(":")
            if version != "v1":
                raise ValueError(version)
            return self._cipher.decrypt(base64.b64decode(nonce), base64.b64decode(sealed), None).decode()
        except (InvalidTag, ValueError) as error:
            raise EngineError("a secret of the stack cannot be decrypted: it was written with another key") from error


def passphrase(env: Mapping[str, str]) -> str:
    """The passphrase that the environment gives, directly or by file."""
    if (given := env.get("PULUMI_CONFIG_PASSPHRASE")) is not None:
        return given
    if path := env.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise EngineError(f"unable to read PULUMI_CONFIG_PASSPHRASE_FILE: {path}: {error.strerror}") from error
    raise EngineError(
        "passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE environment variables"
    )


class Keys:
    """Derives keys in the background, each once: a derivation takes an eighth of a second."""

    def __init__(self) -> None:
        self._keys: dict[tuple[bytes, bytes], Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(1, "pbkdf2")

    def derive(self, phrase: str, salt: bytes) -> Future[bytes]:
        name = hashlib.sha256(phrase.encode()).digest(), salt
        if name not in self._keys:
            begun = threading.Event()
            self._keys[name] = self._pool.submit(_derive, phrase, salt, begun)
            # A thread whose interpreter is busy elsewhere would begin some 30 ms late.
            begun.wait(0.05)
        return self._keys[name]


def _derive(phrase: str, salt: bytes, begun: threading.Event) -> bytes:
    # Its OpenSSL is newer than most Pythons', and takes half the time (measured); like `hashlib` it frees the others.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    begun.set()
    return PBKDF2HMAC(SHA256(), 32, salt, ITERATIONS).derive(phrase.encode())


class PassphraseSecrets:
    """The secrets manager of one stack: its salt line, and the crypter once a key is there."""

    def __init__(self, keys: Keys, phrase: str, salt: str | None = None) -> None:
        """`salt` is the stack's salt line; without one a new stack's is made. A salt line of another form is an
        `EngineError`. The key is derived in the background."""
        self._given = salt
        self._crypter: Crypter | None = None
        if salt is None:
            self._raw = os.urandom(8)
        else:
            try:
                version, raw, self._check = salt.split(":", 2)
                self._raw = base64.b64decode(raw, validate=True)
            except ValueError as error:
                raise EngineError("malformed state value") from error
            if version != "v1":
                raise EngineError("unknown state version")
        self._key = keys.derive(phrase, self._raw)

    @property
    def crypter(self) -> Crypter:
        """Waits for the key; a wrong passphrase is an `EngineError` with the CLI's words."""
        if self._crypter is None:
            crypter = Crypter(self._key.result())
            if self._given is None:
                self._given = f"v1:{base64.b64encode(self._raw).decode()}:{crypter.encrypt(_PROOF)}"
            else:
                try:
                    proof = crypter.decrypt(self._check)
                except EngineError:
                    proof = ""
                if proof != _PROOF:
                    raise EngineError(WRONG_PASSPHRASE)
            self._crypter = crypter
        return self._crypter

    @property
    def salt(self) -> str:
        """The salt line, as stack settings and state hold it."""
        if self._given is None:
            _ = self.crypter
        assert self._given is not None
        return self._given


def checked(secrets: PassphraseSecrets) -> PassphraseSecrets:
    """The secrets with their key verified; a wrong passphrase fails with the CLI's words."""
    try:
        _ = secrets.crypter
    except EngineError as error:
        raise EngineError(f"getting stack configuration: get stack secrets manager: {error}") from error
    return secrets
