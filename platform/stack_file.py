"""From a stack's configuration to `PlatformConfig`, and from its mistakes to sentences.

Pulumi hands each section over as JSON, with what is secret in clear text and a list of the keys that are.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import pulumi.runtime.config as pulumi_config
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
        raise ConfigError(
            f"{begin}{path} stands in the stack's file in clear text; set it by "
            f"`pulumi config set --secret --path '{begin}{path}'`, and give it another value"
            for path in open_secrets
        )
    return config


def parsed(sections: Mapping[str, Any]) -> PlatformConfig:
    """The configuration of these sections: plain mappings, as YAML reads them. Raises `ConfigError`."""
    try:
        return PlatformConfig.model_validate(sections)
    except ValidationError as error:
        found = [_sentence(dict(one)) for one in error.errors(include_url=False)]
        raise ConfigError(dict.fromkeys(found)) from None


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
        chosen = [model for model in models if len(models) > 1 and part in _tags(model)]
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


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind is not None and get_origin(kind.annotation) is Literal else ()


def _kinds(field: FieldInfo | None) -> set[str]:
    return {tag for model in models_in(field.annotation if field else None) for tag in _tags(model)}


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
