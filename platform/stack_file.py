"""From a stack's configuration to `PlatformConfig`, and from its mistakes to sentences.

Pulumi hands each section over as JSON, with what is secret in clear text and a list of the keys that are.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pulumi.runtime.config as pulumi_config
import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from config import PlatformConfig

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
    config = parsed({name: _section(name, text) for name, text in sections.items()})
    open_secrets = [path for path in _secrets(config) if begin + path.partition(".")[0] not in secret]
    if open_secrets:
        raise ConfigError(_in_clear_text(path) for path in open_secrets)
    return config


def parsed(sections: Mapping[str, Any]) -> PlatformConfig:
    """The configuration of these sections: plain mappings, as YAML reads them. Raises `ConfigError`."""
    try:
        return PlatformConfig.model_validate(sections)
    except ValidationError as error:
        found = [_sentence(dict(one)) for one in error.errors(include_url=False)]
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
            return f"[secret: {path}]"
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
        for path, field, _ in places:
            if field is not None and _is_secret(field.annotation):
                filled.append(".".join(path))
                below = sections
                for part in path[:-1]:
                    below = below[part]
                below[path[-1]] = f"[secret: {'.'.join(path)}]"
        return filled
    return []


def _section(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if name not in PlatformConfig.model_fields:
            return text
        raise ConfigError([f"{PROJECT}:{name} is no section with keys below it, but {text!r}"]) from None


def _sentence(error: dict[str, Any]) -> str:
    path, field, keys = _place(error["loc"])
    key = f"{PROJECT}:{'.'.join(path)}" if path else PROJECT
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(path[-1], keys, n=1, cutoff=0.0)
            return f"{key}: there is no such key (nearest: {near[0]})" if near else f"{key}: there is no such key"
        case "missing":
            return f"{key} is needed: {(field.description if field else None) or 'see docs/platform-settings.md'}"
        case "literal_error":
            return f"{key}: {error['input']!r} is not allowed; allowed: {context['expected']}"
        case "union_tag_invalid":
            return f"{key}.kind: {context['tag']!r} is not allowed; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            return f"{key}.kind is needed; allowed: {', '.join(sorted(_kinds(field)))}"
        case "string_pattern_mismatch" if field is not None and not _is_secret(field.annotation):
            example = next((f", for example {one}" for one in field.examples or _examples(field)), "")
            return f"{key}: {error['input']!r} does not have its form{example}"
        case _:
            return f"{key}: {error['msg'].removeprefix('Value error, ')}"


def _place(loc: tuple[int | str, ...]) -> tuple[list[str], FieldInfo | None, list[str]]:
    """Where a mistake is: its path without the kinds that pydantic puts between, its field if there is one, and the
    keys that are known there."""
    path: list[str] = []
    models: tuple[type[BaseModel], ...] = (PlatformConfig,)
    field: FieldInfo | None = None
    keys: list[str] = list(PlatformConfig.model_fields)
    for part in loc:
        chosen = [model for model in models if len(models) > 1 and part in tags(model)]
        if chosen:
            models = (chosen[0],)
            keys = list(chosen[0].model_fields)
            continue
        path.append(str(part))
        known = [model for model in models if part in model.model_fields]
        keys = [name for model in models for name in model.model_fields] or keys
        field = known[0].model_fields[str(part)] if known else field if isinstance(part, int) else None
        models = tuple(models_in(field.annotation)) if field else ()
    return path, field, keys


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
