"""The secrets of a course's hub, generated with the stack and kept encrypted in its state."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_random import RandomPassword

LENGTH = 48
"""Letters and digits: 285 bits."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Each a secret output. RandomPassword only: RandomBytes and RandomId have their value as their id, in clear."""

    cookie_secret: pulumi.Output[str]
    """Signs sessions: as long as it stays, people stay signed in over a restart."""
    crypt_key: pulumi.Output[str]
    """Encrypts people's tokens in the hub's database."""
    api_token: pulumi.Output[str]
    """Opens the hub's API to the portal; another one with each `rotation`."""


def secrets(rotation: str) -> Secrets:
    """The hub's secrets; a new value of `rotation` renews the token alone."""
    return Secrets(
        cookie_secret=_password("cookie-secret"),
        crypt_key=_password("crypt-key"),
        api_token=_password("api-token", keepers={"rotation": rotation}),
    )


def _password(name: str, keepers: dict[str, str] | None = None) -> pulumi.Output[str]:
    return RandomPassword(name, length=LENGTH, special=False, keepers=keepers).result
