"""Property values as the engine holds them: JSON's types, plus secrets and values that are not known yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Value = Any
"""None, bool, int, float, str, list, dict with string keys, `Secret` or `UNKNOWN`."""
Properties = dict[str, Value]

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key that marks an object as something special, in the state and on the wire."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a mark, no secret
ASSETS = frozenset({"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"})
"""Signatures of assets and archives."""


class Secret:
    """A value that never leaves the engine in plain text, except to the program and to a provider.

    `ciphertext` is what the value is written as; it stays with the value, so that unchanged states stay the same file.
    """

    __slots__ = ("ciphertext", "value")

    def __init__(self, value: Value, ciphertext: str | None = None) -> None:
        self.value = value
        self.ciphertext = ciphertext

    def __repr__(self) -> str:
        return "[secret]"


class _Unknown:
    __slots__ = ()

    def __repr__(self) -> str:
        return "[unknown]"


UNKNOWN = _Unknown()
"""A value that a preview cannot know."""


def equal(left: Value, right: Value) -> bool:
    """Deep equality; a secret equals a secret of equal value only, and True is not 1."""
    if isinstance(left, Secret) or isinstance(right, Secret):
        return isinstance(left, Secret) and isinstance(right, Secret) and equal(left.value, right.value)
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(left[key], right[key]) for key in left)
        )
    if isinstance(left, list):
        return (
            isinstance(right, list)
            and len(left) == len(right)
            and all(equal(one, other) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def plain(value: Value) -> Value:
    """The value without any secret marks."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def masked(value: Value, mask: Value = "[secret]") -> Value:
    """The value with `mask` in place of every secret."""
    if isinstance(value, Secret):
        return mask
    if isinstance(value, dict):
        return {key: masked(item, mask) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return value


def has_secret(value: Value) -> bool:
    if isinstance(value, dict):
        return any(map(has_secret, value.values()))
    if isinstance(value, list):
        return any(map(has_secret, value))
    return isinstance(value, Secret)


def has_unknown(value: Value) -> bool:
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(has_unknown, value))
    return value is UNKNOWN


def mark_secrets(outputs: Properties, inputs: Mapping[str, Value]) -> None:
    """Mark in `outputs`, in place, what is secret in `inputs`: a provider that takes no secrets returns none either."""
    for key, given in inputs.items():
        if key not in outputs:
            continue
        got = outputs[key]
        if isinstance(got, dict) and isinstance(given, dict):
            mark_secrets(got, given)
        elif not isinstance(got, Secret) and has_secret(given):
            outputs[key] = Secret(got)


def keep_ciphertexts(new: Value, old: Value) -> None:
    """Give each secret of `new` the ciphertext of an equal secret in the same place of `old`."""
    if isinstance(new, Secret):
        if new.ciphertext is None and isinstance(old, Secret) and old.ciphertext is not None and equal(new, old):
            new.ciphertext = old.ciphertext
    elif isinstance(new, dict) and isinstance(old, dict):
        for key, item in new.items():
            if key in old:
                keep_ciphertexts(item, old[key])
    elif isinstance(new, list) and isinstance(old, list):
        for item, before in zip(new, old, strict=False):
            keep_ciphertexts(item, before)


def changed_keys(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Top-level keys that differ, sorted."""
    return sorted(
        key for key in old.keys() | new.keys() if key not in old or key not in new or not equal(old[key], new[key])
    )
