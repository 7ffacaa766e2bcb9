"""Reads a blueprint as Authentik does, as far as ours needs it, and knows what Authentik's own API takes.

The tags: https://docs.goauthentik.io/customize/blueprints/v1/tags/. Authentik checks each entry with the serializer
that its API uses; `authentik-client` is made from the same description, so that its models are the referee here.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml


@dataclass(frozen=True)
class KeyOf:
    """The key of another entry of the blueprint."""

    id: str


@dataclass(frozen=True)
class Find:
    """The key of an object of Authentik's."""

    model: str
    conditions: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class FileOf:
    """The content of a file."""

    path: str


@dataclass(frozen=True)
class _Context:
    name: str


@dataclass(frozen=True)
class _Format:
    text: str
    words: tuple[Any, ...]


@dataclass(frozen=True)
class _If:
    condition: Any
    yes: Any
    no: Any


@dataclass(frozen=True)
class Entry:
    """One entry, with its tags resolved."""

    model: str
    state: str
    identifiers: Mapping[str, Any]
    attrs: Mapping[str, Any]
    id: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What Authentik's serializer is given."""
        return {**self.attrs, **self.identifiers}


@dataclass
class Blueprint:
    """All entries that apply."""

    entries: list[Entry] = field(default_factory=list)
    context: dict[str, Any] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    """Parameters that an entry asks for."""

    def of(self, model: str) -> list[Entry]:
        """The entries of this model."""
        return [entry for entry in self.entries if entry.model == model]

    def by_id(self, reference: Any) -> Entry:
        """The entry that a `!KeyOf` means."""
        assert isinstance(reference, KeyOf), reference
        (found,) = [entry for entry in self.entries if entry.id == reference.id]
        return found

    def named(self, name: str) -> Entry:
        """The one entry with this name, slug or identifier."""
        (found,) = [
            entry
            for entry in self.entries
            if name in (entry.identifiers.get(key) for key in ("name", "slug", "username", "domain"))
        ]
        return found

    def steps(self, slug: str) -> list[Entry]:
        """Stage bindings of a flow, in their order."""
        bindings = [
            entry
            for entry in self.of("authentik_flows.flowstagebinding")
            if self.by_id(entry.values["target"]).identifiers.get("slug") == slug
        ]
        return sorted(bindings, key=lambda binding: int(binding.values["order"]))

    def stages(self, slug: str) -> list[str]:
        """Names of a flow's stages, in their order."""
        return [self.by_id(step.values["stage"]).identifiers["name"] for step in self.steps(slug)]

    def policies(self, target: Entry) -> list[tuple[Entry, Entry]]:
        """Bindings of policies to this entry, each with its policy."""
        return [
            (binding, self.by_id(binding.values["policy"]))
            for binding in self.of("authentik_policies.policybinding")
            if target.id is not None and binding.values["target"] == KeyOf(target.id)
        ]


class _Loader(yaml.SafeLoader):
    pass


def _sequence(loader: _Loader, node: yaml.Node) -> list[Any]:
    assert isinstance(node, yaml.SequenceNode)
    return [loader.construct_object(one, deep=True) for one in node.value]  # type: ignore[no-untyped-call]


def _find(loader: _Loader, node: yaml.Node) -> Find:
    model, *conditions = _sequence(loader, node)
    return Find(model, tuple((key, value) for key, value in conditions))


def _format(loader: _Loader, node: yaml.Node) -> _Format:
    text, *words = _sequence(loader, node)
    return _Format(text, tuple(words))


_Loader.add_constructor("!KeyOf", lambda _, node: KeyOf(node.value))
_Loader.add_constructor("!Context", lambda _, node: _Context(node.value))
_Loader.add_constructor("!File", lambda _, node: FileOf(node.value))
_Loader.add_constructor("!Find", _find)
_Loader.add_constructor("!Format", _format)
_Loader.add_constructor("!If", lambda loader, node: _If(*_sequence(loader, node)))


def read(text: str) -> Blueprint:
    """The blueprint of this YAML; a tag or a parameter that does not exist is an error."""
    raw = yaml.load(text, _Loader)
    assert raw["version"] == 1
    assert raw["metadata"]["name"]
    made = Blueprint(context=raw["context"])
    for entry in raw["entries"]:
        assert entry.keys() <= {"model", "id", "state", "identifiers", "attrs", "conditions"}, entry
        if not all(_resolved(one, made) for one in entry.get("conditions", ())):
            continue
        made.entries.append(
            Entry(
                entry["model"],
                entry.get("state", "present"),
                _resolved(entry["identifiers"], made),
                _resolved(entry.get("attrs", {}), made),
                entry.get("id"),
            )
        )
    return made


def _resolved(value: Any, blueprint: Blueprint) -> Any:
    match value:
        case Find(model, conditions):
            return Find(model, tuple((key, _resolved(one, blueprint)) for key, one in conditions))
        case _Context(name):
            blueprint.asked.add(name)
            return blueprint.context[name]
        case _Format(text, words):
            return text % tuple(_resolved(word, blueprint) for word in words)
        case _If(condition, yes, no):
            both = _resolved(yes, blueprint), _resolved(no, blueprint)
            return both[0] if _resolved(condition, blueprint) else both[1]
        case dict():
            return {key: _resolved(inner, blueprint) for key, inner in value.items()}
        case list():
            return [_resolved(inner, blueprint) for inner in value]
    return value


def conditions(text: str) -> Iterator[Any]:
    """What each `!If` of a blueprint asks."""
    raw = yaml.load(text, _Loader)
    made = Blueprint(context=raw["context"])
    for entry in raw["entries"]:
        for value in entry["attrs"].values():
            if isinstance(value, _If):
                yield _resolved(value.condition, made)


def references(value: Any) -> Iterator[KeyOf | Find | FileOf]:
    """Everything outside of itself that a value stands on."""
    match value:
        case KeyOf() | Find() | FileOf():
            yield value
        case dict():
            for inner in value.values():
                yield from references(inner)
        case list():
            for inner in value:
                yield from references(inner)


# --- what Authentik takes

BESIDE_THE_API = {
    "authentik_rbac.role": {"permissions"},
    "authentik_core.token": {"key"},
}
"""What blueprints can set and the API cannot: https://docs.goauthentik.io/customize/blueprints/v1/models/."""
NUMBERED = {"authentik_core.user", "authentik_providers_oauth2.oauth2provider", "auth.permission"}
"""Models whose keys are numbers; those of all others are UUIDs."""
SOME_UUID = UUID("00000000-0000-4000-8000-000000000001")


@cache
def models() -> frozenset[str]:
    """Every model of Authentik's, for example `authentik_flows.flow`."""
    from authentik_client.models.model_enum import ModelEnum

    return frozenset(one.value for one in ModelEnum)


@cache
def request_of(model: str) -> Any:
    """The class of `authentik-client` that describes what the API takes for a model."""
    import authentik_client.models

    wanted = model.partition(".")[2] + "request"
    folder = Path(authentik_client.models.__file__).parent
    (path,) = [path for path in folder.glob("*_request.py") if path.stem.replace("_", "") == wanted]
    module = import_module(f"authentik_client.models.{path.stem}")
    (found,) = [one for name, one in vars(module).items() if name.lower() == wanted]
    return found


def problems(entry: Entry, blueprint: Blueprint) -> list[str]:
    """What Authentik's serializer would say against this entry."""
    if entry.model not in models():
        return [f"{entry.model}: there is no such model"]
    beside = BESIDE_THE_API.get(entry.model, set())
    values = {key: value for key, value in entry.values.items() if key not in beside}
    request = request_of(entry.model)
    unknown = [f"{entry.model}: there is no field {key}" for key in values if key not in request.model_fields]
    if unknown:
        return unknown
    try:
        request.model_validate(_plain(values, blueprint))
    except ValueError as error:
        return [f"{entry.model} {dict(entry.identifiers)}: {error}"]
    return []


def schema_problems(entry: Entry, blueprint: Blueprint, schema: Mapping[str, Any]) -> list[str]:
    """What Authentik's own schema of blueprints (`blueprints/schema.json` of its sources) says against this entry.

    It knows fields that only blueprints have, but not which of them may be null.
    """
    from jsonschema import Draft202012Validator

    described = schema["$defs"].get(f"model_{entry.model}")
    if described is None:
        return [f"{entry.model}: there is no such model"]
    values = {key: value for key, value in _plain(entry.values, blueprint).items() if value is not None}
    values = json.loads(json.dumps(values, default=str))
    unknown = [f"{entry.model}: there is no field {key}" for key in values if key not in described["properties"]]
    errors = Draft202012Validator({**described, "$defs": schema["$defs"]}).iter_errors(values)
    return unknown + [f"{entry.model} {dict(entry.identifiers)} {error.json_path}: {error.message}" for error in errors]


def _plain(value: Any, blueprint: Blueprint) -> Any:
    match value:
        case KeyOf():
            return 7 if blueprint.by_id(value).model in NUMBERED else SOME_UUID
        case Find(model):
            return 7 if model in NUMBERED else SOME_UUID
        case FileOf(path):
            return f"content of {path}"
        case dict():
            return {key: _plain(inner, blueprint) for key, inner in value.items()}
        case list():
            return [_plain(inner, blueprint) for inner in value]
    return value


# --- expressions


def body(expression: str) -> str:
    """The function that Authentik makes of an expression."""
    return "def handler(request, context):\n" + textwrap.indent(expression, "    ")


NAMES = {"ak_client_ip", "ak_is_sso_flow", "ak_message", "ak_user_by", "ak_user_has_authenticator"}
"""What Authentik gives to our expressions beside `request` and `context`."""


def evaluate(expression: str, request: Any = None, context: Any = None, **names: Any) -> Any:
    """What an expression answers."""
    assert set(names) <= NAMES
    space: dict[str, Any] = dict(names)
    exec(compile(body(expression), "expression", "exec"), space)
    return space["handler"](request, context)


def permission(text: str) -> bool:
    """Whether a permission like `authentik_core.view_group` is one of a model that exists."""
    match = re.fullmatch(r"(\w+)\.(view|add|change|delete)_(\w+)", text)
    return match is not None and f"{match[1]}.{match[3]}" in models()
