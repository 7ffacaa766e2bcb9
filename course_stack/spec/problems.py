"""What is wrong with an input, in sentences for the person who typed it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

LONGEST_ECHO = 60
"""Characters of an input that a message repeats at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right.

    `field` is the path of the field (`profiles[0].resources.memory_limit`; empty for the whole input) and `label` its
    name in words. `text` is a template with named places and `values` fill it, so that a page can translate the
    template; `message` is the English sentence and stands beside a form's field as it is.
    """

    field: str
    text: str
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label: str = ""

    @property
    def message(self) -> str:
        return self.text.format_map(self.values)

    def __str__(self) -> str:
        if not self.field:
            return self.message
        name = f"{self.label} ({self.field})" if self.label not in ("", self.field) else self.field
        return f"{name}: {self.message}"


class SpecError(ValueError):
    """The input is no course spec. `problems` lists everything found; `source` is where it was read, if from a file."""

    def __init__(self, problems: Sequence[Problem], source: str | None = None) -> None:
        self.problems = list(problems)
        self.source = source
        super().__init__(self.problems, source)

    def __str__(self) -> str:
        head = f"{self.source}: " if self.source else ""
        if len(self.problems) == 1:
            return f"{head}{self.problems[0]}"
        return "\n".join([f"{head}{len(self.problems)} problems", *(f"  - {problem}" for problem in self.problems)])


def refuse(text: str, **values: Any) -> PydanticCustomError:
    """The error for validators to raise: a template and what fills it. Never put a secret into `values`."""
    return PydanticCustomError("refused", "{text}", {"text": text, "values": values})


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Everything that pydantic found in an input for `model`, each at the path of its field."""
    found = error.errors(include_url=False)
    inner = {details["loc"][:-1] for details in found}
    # pydantic does not count entries that are wrong themselves, and then calls their list too short
    return [_problem(each, model) for each in found if not (each["type"] == "too_short" and each["loc"] in inner)]


def _problem(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    location = details["loc"]
    if location[-1:] == ("[key]",):
        location = location[:-1]
    if details["type"] == "invalid_key" or location != details["loc"]:
        location = (*location[:-1], str(location[-1]))  # a key that is a number is no place in a list
    location, labels, info, owner = _walk(location, model)
    text, values = _sentence(details, info, owner)
    return Problem(field=path_of(location), text=text, values=values, label=", ".join(labels))


def path_of(location: Sequence[int | str]) -> str:
    """`("profiles", 0, "image")` → `profiles[0].image`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _walk(
    location: Sequence[int | str], model: type[BaseModel]
) -> tuple[tuple[int | str, ...], list[str], FieldInfo | None, type[BaseModel] | None]:
    """The path as people write it; names in words along it; the last field; and the model that the last key was looked
    up in.

    Behind a field that is one of several models, pydantic's path has the value that tells which: nobody writes that.
    """
    path: list[int | str] = []
    labels: list[str] = []
    info: FieldInfo | None = None
    owner: type[BaseModel] | None = None
    inside: type[BaseModel] | None = model
    for part in location:
        if info is not None and (tag := info.discriminator) is not None:
            models = _models_in(info.annotation)
            inside = next((one for one in models if part in get_args(one.model_fields[str(tag)].annotation)), inside)
            info = None
            continue
        path.append(part)
        if isinstance(part, int):
            labels.append(f"entry {part + 1}")
            continue
        if inside is not None and owner is not None and labels and not labels[-1].startswith("entry "):
            labels.pop()  # the fields of a part bear names that stand alone
        owner, info = inside, inside.model_fields.get(part) if inside else None
        if info is None:
            labels.append(part)
            inside = None
        else:
            labels.append(info.title or part.replace("_", " "))
            inside = next(_models_in(info.annotation), None)
    return tuple(path), labels, info, owner


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotation marks",
    "string_too_short": "is too short; at least {min_length} characters",
    "string_too_long": "is too long; at most {max_length} characters",
    "int_parsing": "{input} is not a whole number",
    "int_parsing_size": "{input} is not a whole number of sensible size",
    "int_type": "must be a whole number",
    "int_from_float": "{input} is not a whole number",
    "float_parsing": "{input} is not a number",
    "float_type": "must be a number",
    "finite_number": "{input} is not a number",
    "greater_than_equal": "{input} is too little; at least {ge}{unit}",
    "less_than_equal": "{input} is too much; at most {le}{unit}",
    "bool_parsing": "{input} is neither true nor false",
    "bool_type": "must be true or false",
    "literal_error": "{input} is not one of the choices: {expected}",
    "tuple_type": "must be a list",
    "too_long": "has too many entries; at most {max_length}",
    "too_short": "has too few entries; at least {min_length}",
    "dict_type": "must be a list of names with a value each",
    "invalid_key": "has a name that is not text; put it in quotation marks",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "union_tag_invalid": "{tag} is not one of the choices: {expected_tags}",
    "union_tag_not_found": "must say which of its forms it has, by {discriminator}",
    "path_type": "must be a path",
}


def _sentence(
    details: ErrorDetails, info: FieldInfo | None, owner: type[BaseModel] | None
) -> tuple[str, dict[str, Any]]:
    """Template and values for one of pydantic's errors."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "refused":
        return context["text"], context["values"]
    if details["input"] is None and kind.endswith("_type"):
        return "is empty; give a value or leave it out", {}
    if kind == "extra_forbidden" and owner is not None:
        key, known = str(details["loc"][-1]), list(owner.model_fields)
        if nearest := difflib.get_close_matches(key, known, n=1):
            return "is unknown here; did you mean {nearest}?", {"nearest": nearest[0]}
        return "is unknown here; known are {known}", {"known": ", ".join(known)}
    if kind in ("model_type", "model_attributes_type"):
        return "must have fields of its own, each on a line with a name and a value", {}
    if kind not in _SENTENCES:
        return "{message}", {"message": details["msg"].removeprefix("Value error, ")}
    extra = info.json_schema_extra if info else None
    unit = extra.get("unit") if isinstance(extra, dict) else None
    numbers = {name: _plain(value) for name, value in context.items()}
    if "tag" in numbers:
        numbers["tag"] = echo(numbers["tag"])
    return _SENTENCES[kind], {**numbers, "unit": f" {unit}" if unit else "", "input": echo(details["input"])}


def echo(value: object) -> str:
    """A short input, fit for a message; anything that is not a short text or number is only named."""
    if isinstance(value, float):
        return str(_plain(value))
    if isinstance(value, str):
        text = "".join(character if character.isprintable() else "�" for character in value)
        return f"“{text}”" if len(text) <= LONGEST_ECHO else f"“{text[:LONGEST_ECHO]}…”"
    return str(value) if isinstance(value, int) and value.bit_length() < 64 else "this"


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
