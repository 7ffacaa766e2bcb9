"""What the portal would refuse at its start, told before anything is made: its settings, and the target's file.

What the portal allows is data here, `schemas/` (`make schema` writes it from the portal's own models): the platform
imports nothing of the portal's. One word of these schemas is ours, since JSON Schema compares no two numbers:
`notBelow: {KEY: OTHER}`, KEY's number must be at least OTHER's (a notebook's limit, and what it is guaranteed).
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

SCHEMAS = Path(__file__).with_name("schemas")
Schema = dict[str, Any]
_NUMBER = re.compile(r"[+-]?[0-9]+([.][0-9]+)?")


@cache
def schema(name: str) -> Schema:
    """`portal_settings` or `target`."""
    found: Schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    return found


def setting_problems(given: Mapping[str, Any]) -> list[str]:
    """`NAME: why` of each value that the portal would refuse."""
    known = schema("portal_settings")["properties"]
    read = {name: _read(value, known[name]) for name, value in given.items()}
    return _problems("portal_settings", read)


def target_problems(content: Mapping[str, Any]) -> list[str]:
    """`KEY: why` of everything that the portal would refuse in a target's file of this content."""
    return _problems("target", content)


def _read(value: Any, kind: Schema) -> Any:
    """A value as the portal reads it out of a variable: numbers and switches may be written as texts, lists with
    commas. What cannot be read stays as it is."""
    text = str(value).strip()
    match kind.get("type"):
        case "array":
            return [_read(one, kind["items"]) for one in text.split(",") if one.strip()]
        case "boolean" if isinstance(value, str):
            return {"true": True, "false": False}.get(text.lower(), value)
        case "integer" | "number" if not isinstance(value, bool):
            if not (found := _NUMBER.fullmatch(text)):
                return value if isinstance(value, str) else text
            return float(text) if found[1] else int(text)
        case _:
            return value


def _problems(name: str, content: Mapping[str, Any]) -> list[str]:
    found = sorted(_validator(name).iter_errors(content), key=lambda error: [*map(str, error.absolute_path)])
    return [*dict.fromkeys(told for one in found for error in _meant(one) for told in _sentences(error))]


@cache
def _validator(name: str) -> Draft202012Validator:
    # jsonschema builds a parser of internationalised addresses where it finds this module: seconds, for a format that
    # no schema of ours has. A module that is None counts as not installed.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    made: Draft202012Validator = extend(Draft202012Validator, {"notBelow": _not_below})(schema(name))
    return made


def _not_below(_: Any, keys: Mapping[str, str], instance: Any, __: Schema) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    for key, other in keys.items():
        high, low = (instance.get(one) for one in (key, other)) if isinstance(instance, dict) else (None, None)
        if isinstance(high, (int, float)) and isinstance(low, (int, float)) and high < low:
            yield ValidationError(f"{high:g} is less than {other} ({low:g})", path=[key])


def _meant(error: ValidationError) -> Iterator[ValidationError]:
    """Of a value that has several forms, what is wrong with the one that was meant: that of its `kind`, or the one that
    is not none."""
    if error.validator not in ("anyOf", "oneOf"):
        yield error
        return
    forms: list[Schema] = error.validator_value
    by_kind: dict[str, str] = error.schema.get("discriminator", {}).get("mapping", {})
    if by_kind:
        kind = error.instance.get("kind") if isinstance(error.instance, dict) else None
        chosen = [index for index, form in enumerate(forms) if form["$ref"] == by_kind.get(str(kind))]
    else:
        chosen = [index for index, form in enumerate(forms) if form.get("type") != "null"][:1]
    if not chosen:
        yield error
    for one in error.context or ():
        if one.schema_path[0] in chosen:
            yield from _meant(one)


def _sentences(error: ValidationError) -> Iterator[str]:
    path = [*map(str, error.absolute_path)]
    keys: Schema = error.schema.get("properties", {})
    match error.validator:
        case "additionalProperties":
            for name in error.instance.keys() - keys.keys():
                near = difflib.get_close_matches(name, keys, n=1, cutoff=0.0)[0]
                yield f"{'.'.join([*path, name])}: there is no such key (nearest: {near})"
        case "required":
            for name in error.validator_value:
                if name not in error.instance:
                    meaning = keys[name].get("description")
                    yield f"{'.'.join([*path, name])} is needed{f': {meaning}' if meaning else ''}"
        case "oneOf" if isinstance(error.instance, dict):
            allowed = ", ".join(error.schema["discriminator"]["mapping"])
            given = error.instance.get("kind")
            refused = "is needed" if given is None else f"{given!r} is not allowed"
            yield f"{'.'.join([*path, 'kind'])}{'' if given is None else ':'} {refused}; allowed: {allowed}"
        case _:
            yield f"{'.'.join(path)}: {_reason(error)}"


def _reason(error: ValidationError) -> str:
    rule: Schema = error.schema
    example = next((f", for example {one}" for one in rule.get("examples", ())), "")
    refused = f"{error.instance!r} is not allowed"
    match error.validator, rule.get("type"):
        case "oneOf", _:
            return f"must have keys below it, among them kind: {' or '.join(rule['discriminator']['mapping'])}"
        case "enum", _:
            return f"{refused}; allowed: {', '.join(map(repr, error.validator_value))}"
        case "const", _:
            return f"{refused}; allowed: {error.validator_value!r}"
        case "not", _:
            return str(rule["message"])
        case _, "integer" | "number":
            return f"{refused}; allowed: {_numbers(rule)}"
        case "type", "boolean":
            return f"{refused}; allowed: true, false"
        case "type", "string" if error.instance is not None:
            return f"{error.instance!r} is no text; put it into quotes{example}"
        case "type" | "minLength", "string":
            return f"must not be empty{example}"
        case "pattern", _:
            return f"{error.instance!r} does not have its form{example}"
        case "maxLength", _:
            return f"is too long; allowed: {error.validator_value} characters"
        case "minItems" | "maxItems" as bound, _:
            return f"needs at {'least' if bound == 'minItems' else 'most'} {error.validator_value} entries"
        case "type", "array":
            return "must be a list, each entry on a line of its own after `- `"
        case "type", "object":
            known = ", ".join(rule.get("properties", ()))
            return f"must have keys below it{f': {known}' if known else ''}"
        case _:
            return str(error.message)


def _numbers(rule: Schema) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    bounds = [f"{word} {rule[key]:g}" for key, word in words.items() if key in rule]
    return " ".join(["whole numbers" if rule["type"] == "integer" else "numbers", *bounds])
