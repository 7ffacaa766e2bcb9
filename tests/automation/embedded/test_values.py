"""Property values: in the state, on the wire, and compared."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from automation.embedded.errors import Unsupported
from automation.embedded.secrets import Crypter
from automation.embedded.state import value_from_json, value_to_json
from automation.embedded.values import (
    SECRET,
    SIGNATURE,
    UNKNOWN,
    Secret,
    equal,
    has_unknown,
    keep_ciphertexts,
    mark_secrets,
    masked,
    plain,
)
from automation.embedded.wire import from_struct, to_struct

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text("abcdef_", min_size=1)
VALUES = st.recursive(
    LEAVES | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3) | inner.map(Secret),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(NAMES, VALUES, max_size=4)


def once(value: Any) -> Any:
    """Secrets of secrets as one, as every receiver sees them."""
    if isinstance(value, Secret):
        return Secret(plain(value))
    if isinstance(value, dict):
        return {key: once(item) for key, item in value.items()}
    if isinstance(value, list):
        return [once(item) for item in value]
    return value


@given(PROPERTIES)
def test_values_survive_the_wire(properties: dict[str, Any]) -> None:
    found = from_struct(to_struct(properties, secrets=True, unknowns=True))

    assert equal(once(found), once(properties))


@given(PROPERTIES)
def test_a_receiver_without_secrets_gets_plain_values(properties: dict[str, Any]) -> None:
    message = to_struct(properties, secrets=False)

    assert equal(from_struct(message), plain(properties))
    assert SECRET not in str(message)


@given(PROPERTIES)
def test_values_survive_the_state(properties: dict[str, Any]) -> None:
    crypter = Crypter(b"k" * 32)
    written = value_to_json(properties, crypter.encrypt)

    assert equal(value_from_json(written, crypter.decrypt), properties)


def test_unknown_values_are_left_out_where_they_are_not_understood() -> None:
    properties = {"a": UNKNOWN, "b": [1, UNKNOWN], "c": {"d": UNKNOWN}}

    assert from_struct(to_struct(properties, secrets=True)) == {"b": [1], "c": {}}
    assert from_struct(to_struct(properties, secrets=True, unknowns=True)) == properties
    assert has_unknown({"x": Secret([UNKNOWN])})


def test_a_secret_in_the_state_is_the_cli_s_object() -> None:
    written = value_to_json({"b": 1, "a": Secret({"x": 1})}, lambda text: f"<{text}>")

    assert list(written) == ["a", "b"]
    assert written["a"] == {SIGNATURE: SECRET, "ciphertext": '<{"x":1}>'}
    assert value_to_json(Secret("x"), None) == {SIGNATURE: SECRET, "plaintext": '"x"'}


def test_true_is_not_one_and_a_secret_is_not_its_value() -> None:
    assert not equal(True, 1)
    assert not equal({"a": False}, {"a": 0})
    assert not equal(Secret("x"), "x")
    assert equal(Secret([1, {"a": None}]), Secret([1, {"a": None}]))


def test_a_secret_keeps_its_ciphertext_while_its_value_is_the_same() -> None:
    old = {"a": Secret("x", "old-a"), "b": Secret("y", "old-b"), "c": [{"d": Secret(1, "old-d")}]}
    new = {"a": Secret("x"), "b": Secret("z"), "c": [{"d": Secret(1)}], "e": Secret("x")}

    keep_ciphertexts(new, old)

    assert [new["a"].ciphertext, new["b"].ciphertext, new["c"][0]["d"].ciphertext, new["e"].ciphertext] == [
        "old-a", None, "old-d", None
    ]  # fmt: skip


def test_what_came_from_a_secret_input_is_secret_again() -> None:
    outputs = {"a": "x", "b": {"c": 1, "d": 2}, "e": [1], "f": "free"}

    mark_secrets(outputs, {"a": Secret("x"), "b": {"c": Secret(1)}, "e": [Secret(1)], "gone": Secret(0)})

    assert masked(outputs) == {"a": "[secret]", "b": {"c": "[secret]", "d": 2}, "e": "[secret]", "f": "free"}


def test_assets_are_refused_by_name() -> None:
    message = struct_pb2.Struct()
    message.update({"file": {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}})

    with pytest.raises(Unsupported, match="assets and archives"):
        from_struct(message)
