"""Forms from pydantic models: what a page shows of a field, and what a browser sent as an instance of the model.

A model is the only validation: a page's fields, their bounds and their errors all come from it. Names of inputs are
paths of fields: `resources.memory_limit`; entries of a list have their number between hyphens (`profiles-0-name`,
`start_commands-2`), entries of a mapping a key and a value (`environment-0-key`, `environment-0-value`).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from flask_babel import gettext as _
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MultiDict

from course_stack.spec import Problem, problems_of
from portal.i18n import translate

Model = TypeVar("Model", bound=BaseModel)
Schema = dict[str, Any]

_EARLIEST, _LATEST = dt.date(2000, 1, 1), dt.date(2100, 1, 1)


@dataclass(frozen=True, slots=True)
class _Found:
    """A field in a model's schema: whether it must be given, and what it is if nothing is (perhaps by the default of
    a part that holds it)."""

    schema: Schema
    required: bool
    """Within the part that holds it."""
    always: bool
    """The part that holds it must be given too: a browser may ask for it."""
    default: Any


@dataclass(frozen=True, slots=True)
class Field:
    """One input of a page. Texts are message ids; `translate` them where they are shown."""

    name: str
    kind: str
    """text, lines, number, date, check or choice."""
    value: str
    """What stands in it: what was typed before, else what there is; for `check` "true" or "false"."""
    label: str = ""
    help: str = ""
    unit: str = ""
    required: bool = False
    optional: bool = False
    """May be left blank, and nothing stands for it then."""
    minimum: float | None = None
    maximum: float | None = None
    step: str = ""
    min_length: int | None = None
    max_length: int | None = None
    choices: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """Whole sentences in the language of the request."""

    @property
    def id(self) -> str:
        """Of the element: an address within the page."""
        return "f-" + re.sub(r"[^A-Za-z0-9_-]", "-", self.name)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a model, what stands in them, and what is wrong with it."""

    model: type[BaseModel]
    values: Mapping[str, str]
    """By the inputs' names."""
    problems: tuple[Problem, ...] = ()

    def field(self, path: str) -> Field:
        """The input for a path (`resources.memory_limit`, `profiles[0].name`) or for a name of an input."""
        name = name_of(path)
        parts = _parts(name)
        found = _lookup(self.model, parts)
        part, default = found.schema, _text(found.default)
        kind = _kind(part)
        value = self.values.get(name, default)
        return Field(
            name=name,
            kind=kind,
            value=value,
            label=part.get("title") or str(parts[-1]).replace("_", " "),
            help=part.get("description", ""),
            unit=part.get("unit", ""),
            required=found.always and not default,
            optional=not found.required and not default,
            minimum=part.get("minimum"),
            maximum=part.get("maximum"),
            step="1" if part.get("type") == "integer" else "any" if kind == "number" else "",
            min_length=part.get("minLength"),
            max_length=part.get("maxLength"),
            choices=tuple(map(str, part.get("enum", ()))),
            errors=tuple(self._errors_at(name)),
        )

    def rows(self, path: str, spare: int = 0) -> list[str]:
        """The entries of a list or mapping as paths (`profiles[0]`, …), with some empty ones at the end."""
        start = name_of(path) + "-"
        numbers = {int(rest[1]) for name in self.values if (rest := re.match(re.escape(start) + r"(\d+)", name))}
        return [f"{path}[{number}]" for number in range(max(numbers, default=-1) + 1 + spare)]

    def errors_of(self, path: str) -> list[str]:
        """Sentences about a part as a whole (a list, a mapping, or the form for the empty path)."""
        return list(self._errors_at(name_of(path)))

    @property
    def summary(self) -> list[tuple[str, str]]:
        """(id of the field, or empty; “Label: sentence”) for each problem: what stands above a form that came back."""
        found = []
        for problem in self.problems:
            name = name_of(problem.field)
            label = translate(_label(self.model, _parts(name))) if name else ""
            sentence = in_words(problem)
            found.append((f"f-{re.sub(r'[^A-Za-z0-9_-]', '-', name)}" if name else "", _headed(label, sentence)))
        return found

    def _errors_at(self, name: str) -> Iterator[str]:
        keys = {value: key for key, value in self.values.items() if key.endswith("-key")}
        for problem in self.problems:
            at = name_of(problem.field)
            parent, _dot, key = problem.field.rpartition(".")
            if (row := keys.get(key)) and row.startswith(f"{name_of(parent)}-"):
                at = row  # an entry of a mapping: shown beside its name
            if at == name:
                yield _sentence(in_words(problem))


class FormErrors(Form):
    """A form that was sent and is not right: show it again."""


def blank_form(model: type[BaseModel], initial: BaseModel | Mapping[str, Any] | None = None) -> Form:
    """A form for a page that is shown first; `initial` are values of fields, or an instance."""
    content = initial.model_dump(mode="json", exclude_none=True) if isinstance(initial, BaseModel) else initial or {}
    return Form(model, dict(_flatten(model, content)))


def sent_form(model: type[BaseModel], form: MultiDict[str, str], problems: Iterable[Problem] = ()) -> FormErrors:
    """What was typed, with problems beside the fields."""
    values = {name: text for name, text in _flatten(model, _unflatten(model, form)) if not _is_of_pair(model, name)}
    for name in _fields_that_can_be(model, form):
        # lists stand without their blank entries, as their errors are counted; pairs as they were typed, doubles and
        # all; and what was cleared stays blank, or its default would come back
        if _is_of_pair(model, name) or _is_alone(name):
            values.setdefault(name, form.getlist(name)[-1])
    return FormErrors(model, values, tuple(problems))


def parse_form(model: type[Model], form: MultiDict[str, str]) -> Model | FormErrors:
    """An instance of the model from what a browser sent, or the form with its errors and everything that was typed.

    Only fields of the model are read; blank inputs count as not given, and entries that are blank altogether are left
    out. A box that is not ticked is false if it was sent hidden before (as the macros do), else not given.
    """
    doubles = list(_named_twice(model, form))
    try:
        made = model.model_validate(_unflatten(model, form))
    except ValidationError as error:
        return sent_form(model, form, [*problems_of(error, model), *doubles])
    return sent_form(model, form, doubles) if doubles else made


def moved_form(
    model: type[BaseModel], form: MultiDict[str, str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[MultiDict[str, str], list[str]]:
    """A form that began with the values `before`, as if it had begun with `after`: what nobody has changed follows.

    A list counts as a whole. Gives the form, and the labels (message ids) of the fields that are others now.
    """
    old, new = blank_form(model, before), blank_form(model, after)
    typed, was, becomes = (_unflatten(model, MultiDict(each)) for each in (form, old.values, new.values))
    moved, changed = form.copy(), []
    for name in filter(_is_alone, _fields_that_can_be(model, form)):
        value = new.field(name).value
        if form.getlist(name)[-1] == old.field(name).value != value:
            moved.setlist(name, [value])
            changed.append(name)
    for field in dict.fromkeys(name.split("-")[0] for name in (*old.values, *new.values) if not _is_alone(name)):
        if typed.get(field) == was.get(field) != becomes.get(field):
            for name in [name for name in moved if name.startswith(f"{field}-")]:
                del moved[name]
            moved.update({name: value for name, value in new.values.items() if name.startswith(f"{field}-")})
            changed.append(field)
    return moved, list(dict.fromkeys(_label(model, _parts(name)) for name in changed))


def day_of(text: str | None) -> dt.date | None:
    """A day as browsers send it; None for nothing, for no day, and for one that no course could be on."""
    try:
        found = dt.date.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found if _EARLIEST <= found <= _LATEST else None


def in_words(problem: Problem) -> str:
    """A problem's sentence in the language of the request."""
    values = {key: translate(value) if isinstance(value, str) else value for key, value in problem.values.items()}
    if unit := problem.values.get("unit"):
        values["unit"] = f" {translate(str(unit).strip())}"
    if problem.values.get("input") == "this":
        values["input"] = _("this")
    return translate(problem.text).format_map(values)


def name_of(path: str) -> str:
    """`profiles[0].resources.memory_limit` → `profiles-0-resources.memory_limit`."""
    return re.sub(r"\[(\d+)\]\.?", r"-\1-", path).rstrip("-").replace("--", "-")


def _is_alone(name: str) -> bool:
    """Whether an input is of no entry of a list or mapping."""
    return not any(isinstance(part, int) for part in _parts(name))


def _parts(name: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"[.-]", name)] if name else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _headed(label: str, sentence: str) -> str:
    return f"{label[:1].upper()}{label[1:]}: {sentence}" if label else _sentence(sentence)


# ---------------------------------------------------------------- what a model says of its fields


@lru_cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(mode="validation")


def _resolved(part: Schema, whole: Schema) -> Schema:
    """A part with references followed and `X | None` taken for X; what stands beside them wins."""
    beside = {key: value for key, value in part.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in part:
        target = whole["$defs"][part["$ref"].rsplit("/", 1)[1]]
        return {**_resolved(target, whole), **beside}
    for one in part.get("anyOf") or part.get("allOf") or ():
        if one.get("type") != "null":
            return {**_resolved(one, whole), **beside}
    return part


def _lookup(model: type[BaseModel], parts: Sequence[str | int]) -> _Found:
    """What a model says of a field. Raises `KeyError` for no such field."""
    whole = _schema(model)
    here, required, always, default = _resolved(whole, whole), True, True, None
    for part in parts:
        always = always and required and not isinstance(part, int)
        if "properties" in here:
            required = part in here.get("required", ())
            given = default.get(part) if isinstance(default, dict) else None
            here = _resolved(here["properties"][part], whole)
            default = given if given is not None else here.get("default")
        elif here.get("type") == "array":
            here, default = _resolved(here["items"], whole), None
        elif _is_mapping(here):
            here, required, default = _entry(here, whole, part), True, None
        else:
            raise KeyError(part)
    return _Found(here, required, always and required, default)


def _is_mapping(part: Schema) -> bool:
    """Whether its keys are the user's own."""
    return "properties" not in part and ("additionalProperties" in part or "patternProperties" in part)


def _is_of_pair(model: type[BaseModel], name: str) -> bool:
    """Whether an input is the key or the value of a mapping's entry."""
    parts = _parts(name)
    return parts[-1] in ("key", "value") and len(parts) > 2 and _is_mapping(_lookup(model, parts[:-2]).schema)


def _entry(part: Schema, whole: Schema, key: str | int) -> Schema:
    """Of a mapping: the entry itself (a number), its key, or its value."""
    if isinstance(key, int):
        return part
    if key == "value":
        values = part.get("additionalProperties") or next(iter(part["patternProperties"].values()))
        return {**_resolved(values, whole), "title": "value", "description": ""}
    return {**part.get("propertyNames", {}), "type": "string", "title": "name", "description": ""}


def _label(model: type[BaseModel], parts: Sequence[str | int]) -> str:
    """The title of the last part of a path that has one."""
    for end in range(len(parts), 0, -1):
        try:
            part = _lookup(model, parts[:end]).schema
        except KeyError:
            continue
        if title := part.get("title"):
            return str(title)
    return ""


_LONG = 1000
"""Characters from which on a text may be that it gets several lines."""


def _kind(part: Schema) -> str:
    if "enum" in part:
        return "choice"
    match part.get("type"):
        case "boolean":
            return "check"
        case "integer" | "number":
            return "number"
        case "string" if part.get("format") == "date":
            return "date"
        case "string" if part.get("maxLength", 0) >= _LONG:
            return "lines"
    return "text"


def _text(value: object) -> str:
    if value is None or isinstance(value, dict | list | tuple):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


# ---------------------------------------------------------------- between names of inputs and nested content


def _flatten(model: type[BaseModel], content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Names of inputs and their texts, for nested content."""
    if isinstance(content, Mapping):
        if name and _is_mapping(_lookup(model, _parts(name)).schema):
            for number, (key, value) in enumerate(content.items()):
                yield f"{name}-{number}-key", _text(key)
                yield f"{name}-{number}-value", _text(value)
            return
        for key, value in content.items():
            before = "" if not name else f"{name}-" if isinstance(_parts(name)[-1], int) else f"{name}."
            yield from _flatten(model, value, f"{before}{key}")
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from _flatten(model, value, f"{name}-{number}")
    elif content is not None:
        yield name, _text(content)


def _unflatten(model: type[BaseModel], form: MultiDict[str, str]) -> dict[str, Any]:
    """Nested content for a model from the inputs of a form."""
    tree: dict[str | int, Any] = {}
    for name in _fields_that_can_be(model, form):
        value = form.getlist(name)[-1]
        parts = _parts(name)
        # in a spare entry of a list some inputs show what they are by default, which makes no entry of it
        is_default = any(isinstance(part, int) for part in parts) and value == _text(_lookup(model, parts).default)
        if not value.strip() or is_default:
            continue
        here = tree
        *parents, last = parts
        for part in parents:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                break
        else:
            here[last] = value
    # boxes that are not ticked do not make an entry of their own
    return {str(key): _dense(value) for key, value in tree.items() if not _is_blank(value)}


def _named_twice(model: type[BaseModel], form: MultiDict[str, str]) -> Iterator[Problem]:
    """A mapping keeps one of two entries with the same key: the person says which."""
    seen: set[tuple[str, str]] = set()
    for name in _fields_that_can_be(model, form):
        if name.endswith("-key") and (key := form[name].strip()):
            mapping = name.rsplit("-", 2)[0]
            if (mapping, key) in seen:
                yield Problem(mapping, "two are named {name}; each needs a name of its own", {"name": key})
            seen.add((mapping, key))


def _is_blank(value: Any) -> bool:
    """Only boxes that are not ticked, of a part that has other fields."""
    return isinstance(value, dict) and all(_is_blank(one) or one == "false" for one in value.values())


def _dense(value: Any) -> Any:
    """Numbered entries as a list, key-and-value entries as a mapping; blank entries left out."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(key, int) for key in value):
        entries = [value[number] for number in sorted(value) if not _is_blank(value[number])]
        if entries and all(isinstance(one, dict) and set(one) <= {"key", "value"} for one in entries):
            return {one.get("key", ""): one.get("value", "") for one in entries}
        return [_dense(entry) for entry in entries]
    return {str(key): _dense(one) for key, one in value.items() if not (isinstance(one, dict) and _is_blank(one))}


def _fields_that_can_be(model: type[BaseModel], form: MultiDict[str, str]) -> Iterator[str]:
    """Names of the form that name a field of the model."""
    for name in form:
        parts = _parts(name)
        if not parts or not isinstance(parts[0], str) or parts[0] not in model.model_fields:
            continue
        try:
            found = _lookup(model, parts).schema
        except KeyError:
            continue
        if "properties" not in found and found.get("type") not in ("array", "object"):
            yield name
