"""Property values on the wire: protobuf structs, in which agreed keys and texts mark secrets and unknown values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from automation.embedded.errors import Unsupported
from automation.embedded.values import ASSETS, SECRET, SIGNATURE, UNKNOWN, Properties, Secret, Value

_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""One text for each type that an unknown value will have; the engine does not tell them apart."""
_UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def to_struct(
    properties: Mapping[str, Value], *, secrets: bool, unknowns: bool = False, nulls: bool = True
) -> struct_pb2.Struct:
    """The message of `properties`. Without `secrets` the receiver gets plain values; without `unknowns` it gets none of
    those that are not known; without `nulls` no top-level null."""
    found = struct_pb2.Struct()
    for key, value in properties.items():
        if value is None and not nulls:
            continue
        _put(found.fields[key], value, secrets, unknowns)
        if found.fields[key].WhichOneof("kind") is None:
            del found.fields[key]
    return found


def _put(message: struct_pb2.Value, value: Value, secrets: bool, unknowns: bool) -> None:
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int | float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, Secret):
        if secrets:
            message.struct_value.fields[SIGNATURE].string_value = SECRET
            _put(message.struct_value.fields["value"], value.value, secrets, unknowns)
        else:
            _put(message, value.value, secrets, unknowns)
    elif isinstance(value, dict):
        message.struct_value.CopyFrom(to_struct(value, secrets=secrets, unknowns=unknowns))
    elif isinstance(value, list):
        message.list_value.CopyFrom(struct_pb2.ListValue())
        for item in value:
            added = message.list_value.values.add()
            _put(added, item, secrets, unknowns)
            if added.WhichOneof("kind") is None:
                del message.list_value.values[-1]
    elif value is UNKNOWN and unknowns:
        message.string_value = _UNKNOWN


def from_struct(message: struct_pb2.Struct) -> Properties:
    """The properties of a message. Whole numbers become int. Assets and resource references are refused."""
    return {key: from_value(value) for key, value in message.fields.items()}


def from_value(message: struct_pb2.Value) -> Value:
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        text: str = message.string_value
        return UNKNOWN if text in _UNKNOWNS else text
    if kind == "number_value":
        number: float = message.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return bool(message.bool_value)
    if kind == "list_value":
        return [from_value(item) for item in message.list_value.values]
    if kind == "struct_value":
        return _object(message.struct_value)
    return None


def _object(message: struct_pb2.Struct) -> Value:
    found: dict[str, Any] = from_struct(message)
    signature = found.get(SIGNATURE)
    if signature is None:
        return found
    if signature == SECRET:
        value = found.get("value")
        return value if isinstance(value, Secret) else Secret(value)
    if signature == _OUTPUT:
        value = found.get("value", UNKNOWN)
        return Secret(value) if found.get("secret") else value
    if signature == _RESOURCE:
        return found.get("id") or found.get("urn")
    if signature in ASSETS:
        raise Unsupported("assets and archives as resource properties")
    raise Unsupported(f"properties with the signature {signature}")
