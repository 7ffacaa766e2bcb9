"""Secrets at rest: sealed before they go into the database or into a browser, opened only where they are used."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from portal.config import PortalSettings

_VERSION = b"\x01"
_NONCE = 12


class Unsealable(ValueError):
    """The text was sealed with another key, for another purpose, or was changed since."""


def derived(secret_key: str, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose (HKDF-SHA256): what one of them opens, no other does."""
    return HKDF(SHA256(), length=32, salt=None, info=f"jhaas {purpose}".encode()).derive(secret_key.encode())


class Sealer:
    """AES-256-GCM with keys that follow from the portal's secret key.

    `former` is the key before the last change: what was sealed with it can still be opened, and is sealed with the
    present one when it is next written.
    """

    def __init__(self, secret_key: str, former: str | None = None, *, purpose: str = "sealing") -> None:
        self._keys = [AESGCM(derived(key, purpose)) for key in (secret_key, former) if key]

    @classmethod
    def of(cls, settings: PortalSettings, purpose: str = "sealing") -> Self:
        """With the keys of the settings."""
        former = settings.former_secret_key
        return cls(
            settings.secret_key.get_secret_value(), former.get_secret_value() if former else None, purpose=purpose
        )

    def seal(self, text: str) -> bytes:
        """Version, nonce, ciphertext and tag; another value each time."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._keys[0].encrypt(nonce, text.encode(), _VERSION)

    def open(self, sealed: bytes) -> str:
        """The text. Raises `Unsealable`."""
        if sealed[:1] == _VERSION:
            nonce, content = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
            for key in self._keys:
                try:
                    return key.decrypt(nonce, content, _VERSION).decode()
                except (InvalidTag, ValueError):
                    continue
        raise Unsealable("A sealed value cannot be opened: it was sealed with another JHAAS_SECRET_KEY, or changed.")
