"""What is different between two designs, field by field, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from course_stack.spec import CourseDesign, GitRepository


@dataclass(frozen=True, slots=True)
class Difference:
    """One field with two values; None where the value, or the thing it belongs to, does not exist.

    `labels` name it from outside to inside: message ids, and names that people gave (`("profiles", "GPU", "image")`).
    Values are text, numbers, truth values or days, with `unit` for numbers.
    """

    field: str
    labels: tuple[str, ...]
    before: Any
    after: Any
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Value:
    labels: tuple[str, ...]
    value: Any
    unit: str


def differences(before: CourseDesign, after: CourseDesign) -> list[Difference]:
    """All fields that differ, in the order of the spec."""
    old, new = dict(_fields(before)), dict(_fields(after))
    found = []
    for path in [*old, *(path for path in new if path not in old)]:
        one, other = old.get(path), new.get(path)
        known = one or other
        if known is not None and (one is None or other is None or one.value != other.value):
            found.append(Difference(path, known.labels, one and one.value, other and other.value, known.unit))
    return found


def facts_of(design: CourseDesign) -> list[Difference]:
    """Every field of a design that says something, as what it is (`after`)."""
    return [
        Difference(path, each.labels, None, each.value, each.unit)
        for path, each in _fields(design)
        if each.value not in (None, "")
    ]


def changed_fields(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Top-level fields of two stored designs that differ, with their new values."""
    return {field: value for field, value in after.items() if value != before.get(field)}


def _fields(part: BaseModel, path: str = "", labels: tuple[str, ...] = ()) -> Iterator[tuple[str, _Value]]:
    for name, info in type(part).model_fields.items():
        title = info.title or name.replace("_", " ")
        extra = info.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        yield from _values(getattr(part, name), f"{path}.{name}" if path else name, (*labels, title), unit)


def _values(value: Any, path: str, labels: tuple[str, ...], unit: str) -> Iterator[tuple[str, _Value]]:
    match value:
        case BaseModel():
            # the fields of a part bear names that stand alone
            yield from _fields(value, path, labels[:-1])
        case dict():
            for key, each in value.items():
                yield f"{path}[{key}]", _Value((*labels, key), each, unit)
        case tuple() if value and isinstance(value[0], BaseModel):
            for each in value:
                name = _name(each)
                yield from _fields(each, f"{path}[{name}]", (*labels, name))
        case tuple():
            yield path, _Value(labels, "\n".join(map(str, value)), unit)
        case _:
            yield path, _Value(labels, value, unit)


def _name(part: BaseModel) -> str:
    return part.target if isinstance(part, GitRepository) else str(getattr(part, "name", ""))
