"""From a stack's configuration to `PlatformConfig`, and from its mistakes to sentences.

Pulumi hands each section over as JSON, with what is secret in clear text and a list of the keys that are.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pulumi.runtime.config as pulumi_config
import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from config import STANDS_FOR, PlatformConfig

PROJECT = "jhaas-platform"


class ConfigError(ValueError):
    """The configuration cannot be used; a line for each mistake, with the key and what would be allowed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def of_pulumi() -> PlatformConfig:
    """The configuration of the stack that is being run. Raises `ConfigError`."""
    given = {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
    secret = {*pulumi_config.get_config_secret_keys_env(), *pulumi_config._SECRET_KEYS.get()}  # noqa: SLF001 - no other way
    begin = f"{PROJECT}:"
    sections = {key.removeprefix(begin): value for key, value in given.items() if key.startswith(begin)}
    config = parsed({name: _section(text) for name, text in sections.items()})
    open_secrets = [path for path in _secrets(config) if begin + path.partition(".")[0] not in secret]
    if open_secrets:
        raise ConfigError(_in_clear_text(path) for path in open_secrets)
    return config


def parsed(sections: Mapping[str, Any]) -> PlatformConfig:
    """The configuration of these sections: plain mappings, as YAML reads them. Raises `ConfigError`."""
    try:
        return PlatformConfig.model_validate(sections)
    except ValidationError as error:
        found = [told for one in error.errors(include_url=False) for told in _sentences(dict(one))]
        raise ConfigError(dict.fromkeys(found)) from None


def of_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The sections of a stack's file, with placeholders for what is secret, and the paths of the secrets that are still
    to be set. Raises `ConfigError` for everything else that is wrong, and for secrets in clear text."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"{path} cannot be read: {error}"]) from None
    begin = f"{PROJECT}:"
    given = {
        key.removeprefix(begin): value for key, value in (content.get("config") or {}).items() if key.startswith(begin)
    }
    closed: set[str] = set()
    sections: dict[str, Any] = {name: _closed(section, name, closed) for name, section in given.items()}
    missing = _fill(sections)
    open_secrets = [one for one in _secrets(parsed(sections)) if one not in closed and one not in missing]
    if open_secrets:
        raise ConfigError(_in_clear_text(one) for one in open_secrets)
    return sections, missing


def how_to_set(path: str) -> str:
    """The command that sets a secret."""
    return f"pulumi config set --secret --path '{PROJECT}:{path}'"


def _in_clear_text(path: str) -> str:
    return (
        f"{PROJECT}:{path} stands in the stack's file in clear text; set it by `{how_to_set(path)}`, "
        "and give it another value"
    )


def _closed(value: Any, path: str, found: set[str]) -> Any:
    """The value with a placeholder for each that Pulumi has encrypted, whose paths are added to `found`."""
    if isinstance(value, dict):
        if value.keys() == {"secure"}:
            found.add(path)
            return f"{STANDS_FOR}{path}]"
        return {key: _closed(inner, f"{path}.{key}", found) for key, inner in value.items()}
    if isinstance(value, list):
        return [_closed(inner, f"{path}.{index}", found) for index, inner in enumerate(value)]
    return value


def _fill(sections: dict[str, Any]) -> list[str]:
    """Put a placeholder wherever a secret is needed and not there; the paths of these."""
    try:
        PlatformConfig.model_validate(sections)
    except ValidationError as error:
        places = [_place(one["loc"]) for one in error.errors(include_url=False) if one["type"] == "missing"]
        filled = []
        for place in places:
            if place.field is not None and _is_secret(place.field.annotation):
                filled.append(".".join(place.path))
                below = sections
                for part in place.path[:-1]:
                    below = below[part]
                below[place.path[-1]] = f"{STANDS_FOR}{'.'.join(place.path)}]"
        return filled
    return []


def _section(text: str) -> Any:
    """What Pulumi hands over is JSON, but for a section that is plain text by mistake: then it is that text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _sentences(error: dict[str, Any]) -> Iterator[str]:
    place = _place(error["loc"])
    key = f"{PROJECT}:{'.'.join(place.path)}" if place.path else PROJECT
    if error["type"] == "missing":
        yield from (f"{PROJECT}:{path} is needed: {field.description}" for path, field in _needed(place))
    elif error["type"] == "extra_forbidden":
        yield f"{key}: {_unknown(place)}"
    elif error["type"] == "union_tag_invalid":
        yield f"{key}.kind: {error['ctx']['tag']!r} is not allowed; allowed: {error['ctx']['expected_tags']}"
    elif error["type"] == "union_tag_not_found":
        yield f"{key}.kind is needed; allowed: {', '.join(sorted(_kinds(place.field)))}"
    elif not place.path:
        # the sentences of the whole begin with a key
        yield f"{PROJECT}:{reason(error, place.field)}"
    else:
        yield f"{key}: {reason(error, place.field)}"


def reason(error: Mapping[str, Any], field: FieldInfo | None) -> str:
    """Why a value is refused, and what would be allowed in its place. Nothing of a secret is told."""
    context = error.get("ctx", {})
    hidden = field is None or _is_secret(field.annotation)
    given = "what is given" if hidden else repr(error["input"])
    example = next((f", for example {one}" for one in (field.examples or _examples(field))), "") if field else ""
    match error["type"]:
        case "literal_error":
            return f"{given} is not allowed; allowed: {context['expected']}"
        case "bool_type" | "bool_parsing":
            return f"{given} is not allowed; allowed: true, false"
        case kind if kind.startswith(("int_", "float_", "greater_than", "less_than")) and field is not None:
            return f"{given} is not allowed; allowed: {numbers(field)}"
        case "string_type" if error["input"] is None:
            return f"must not be empty{example}"
        case "string_type":
            return f"{given} is no text; put it into quotes{example}"
        case "string_too_short":
            return f"must not be empty{example}"
        case "string_pattern_mismatch" if not hidden:
            return f"{given} does not have its form{example}"
        case "too_short":
            return f"needs at least {context['min_length']} entries{example}"
        case "tuple_type":
            return f"must be a list, each entry on a line of its own after `- `{example}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must have keys below it{_first_keys(field)}"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")


def _first_keys(field: FieldInfo | None) -> str:
    models = [*models_in(field.annotation)] if field else []
    if len(models) > 1:
        return f", among them kind: {' or '.join(sorted(_kinds(field)))}"
    return f": {', '.join(models[0].model_fields)}" if models else ""


def numbers(field: FieldInfo) -> str:
    """Which numbers a key may have, in words."""
    bounds = [one for part in (field, *_annotated(field)) for one in part.metadata]
    low = next((f"from {one.ge}" for one in bounds if hasattr(one, "ge")), None)
    low = low or next((f"above {one.gt}" for one in bounds if hasattr(one, "gt")), None)
    high = next((f"to {one.le}" for one in bounds if hasattr(one, "le")), None)
    what = "whole numbers" if int in (field.annotation, *get_args(field.annotation)) or _annotated(field) else "numbers"
    return " ".join(part for part in (what, low, high) if part)


def _unknown(place: _Place) -> str:
    wrong = place.path[-1]
    if place.others:
        parent = ".".join(place.path[:-1])
        return f"kind {place.kind} has no such key; it belongs to {parent}.kind: {' or '.join(place.others)}"
    if len(place.path) == 1 and wrong.partition(".")[0] in place.keys:
        return (
            f"there is no such key; with `--path`, `pulumi config set` sets {wrong.rpartition('.')[2]} in its section"
        )
    near = difflib.get_close_matches(wrong, place.keys, n=1, cutoff=0.0)
    return f"there is no such key (nearest: {near[0]})" if near else "there is no such key"


def _needed(place: _Place) -> Iterator[tuple[str, FieldInfo]]:
    """What is missing: the key, or of a section with one kind each key that it cannot do without."""
    assert place.field is not None  # a key that is needed is one that there is
    yield from _needed_below(".".join(place.path), place.field)


def _needed_below(path: str, field: FieldInfo) -> Iterator[tuple[str, FieldInfo]]:
    inner = [*models_in(field.annotation)]
    if len(inner) != 1:
        yield path, field
        return
    for name, one in inner[0].model_fields.items():
        if one.is_required():
            yield from _needed_below(f"{path}.{name}", one)


@dataclass(frozen=True)
class _Place:
    """Where a mistake is."""

    path: list[str]
    """Without the kinds that pydantic puts between."""
    field: FieldInfo | None
    keys: list[str]
    """That are known there."""
    kind: str = ""
    """Of the section, where it has more than one."""
    others: tuple[str, ...] = ()
    """Its other kinds, if the key is one of theirs."""


def _place(loc: tuple[int | str, ...]) -> _Place:
    path: list[str] = []
    models: tuple[type[BaseModel], ...] = (PlatformConfig,)
    every = models
    field: FieldInfo | None = None
    keys: list[str] = list(PlatformConfig.model_fields)
    for part in loc:
        chosen = [model for model in models if len(models) > 1 and part in tags(model)]
        if chosen:
            every, models = models, (chosen[0],)
            keys = list(chosen[0].model_fields)
            continue
        path.append(str(part))
        here = every if len(models) == 1 and models[0] in every else models
        known = [model for model in models if part in model.model_fields]
        elsewhere = [model for model in here if part in model.model_fields and not known]
        kind = next((tag for model in models for tag in tags(model)), "")
        others = tuple(tag for model in elsewhere for tag in tags(model))
        keys = [name for model in models for name in model.model_fields] or keys
        field = known[0].model_fields[str(part)] if known else field if isinstance(part, int) else None
        models = tuple(models_in(field.annotation)) if field else ()
    return _Place(path, field, keys, kind, others) if loc else _Place(path, field, keys)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation names, however deep: one, or the kinds of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def tags(model: type[BaseModel]) -> tuple[str, ...]:
    """The kind that a model of a section is; nothing where the section has one kind only."""
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind is not None and get_origin(kind.annotation) is Literal else ()


def _kinds(field: FieldInfo | None) -> set[str]:
    return {tag for model in models_in(field.annotation if field else None) for tag in tags(model)}


def _annotated(field: FieldInfo) -> list[FieldInfo]:
    """What annotated types inside an optional one carry."""
    inner = [one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ())]
    return [one for one in inner if isinstance(one, FieldInfo)]


def _examples(field: FieldInfo) -> list[Any]:
    """Examples that an annotated type carries; pydantic keeps them in the type's own metadata where it is optional."""
    inner = [one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ())]
    return [example for one in inner for example in getattr(one, "examples", None) or ()]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_is_secret(inner) for inner in get_args(annotation))


def _secrets(config: BaseModel) -> Iterator[str]:
    """Paths of everything secret that is given."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, SecretStr):
            yield name
        elif isinstance(value, dict):
            yield from (f"{name}.{key}" for key, inner in value.items() if isinstance(inner, SecretStr))
        elif isinstance(value, BaseModel):
            yield from (f"{name}.{below}" for below in _secrets(value))
