"""What a rehearsal recorded, for people: a tree of everything that would be made, and every manifest as YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from rehearsal import Made, Rehearsal

HIDDEN = "[secret]"


def tree(record: Rehearsal, title: str) -> str:
    """The parts as the program names them, each with what it makes, after what that needs."""
    return "\n".join([title, *_branch(record, "", ""), "", summary(record)])


def summary(record: Rehearsal) -> str:
    """How much that is, in one line."""
    kinds = {
        "charts": len(record.of("Release")),
        "objects of Kubernetes": len(record.objects),
        "passwords": len(record.of("RandomPassword")),
        "resources of AWS": sum(one.type.startswith("aws:") for one in record.made),
    }
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def _branch(record: Rehearsal, parent: str, indent: str) -> Iterator[str]:
    children = [one for one in record.made if one.parent == parent and not _is_hidden(one)]
    for index, one in enumerate(children):
        is_last = index == len(children) - 1
        yield f"{indent}{'└── ' if is_last else '├── '}{described(one)}"
        yield from _branch(record, one.urn, indent + ("    " if is_last else "│   "))


def _is_hidden(one: Made) -> bool:
    return one.type.startswith("pulumi:providers:") or one.is_read


def described(one: Made) -> str:
    """One resource in one line."""
    inputs = one.inputs
    if one.type.startswith("jhaas:platform:"):
        return one.name
    if one.type.endswith(":Release"):
        place = f"{inputs['repositoryOpts']['repo']} " if inputs.get("repositoryOpts") else ""
        version = f" {inputs['version']}" if inputs.get("version") else ""
        return f"chart {one.name}: {place}{inputs['chart']}{version}"
    if "apiVersion" in inputs and "kind" in inputs:
        metadata = inputs["metadata"]
        where = f" in {metadata['namespace']}" if "namespace" in metadata else ""
        return f"{inputs['kind']} {metadata['name']}{where}"
    if one.type == "pulumi-python:dynamic:Resource" and "hosts" in inputs:
        return f"waits until host names lead to {inputs['address']}: {', '.join(inputs['hosts'])}"
    return f"{_KINDS.get(one.type, one.type.rpartition(':')[2])} {one.name}"


_KINDS = {"random:index/randomPassword:RandomPassword": "password"}


def manifests(record: Rehearsal, *, objects: bool = True, charts: bool = True) -> str:
    """Every object, and every chart with its values, as YAML documents; secrets as placeholders."""
    documents: list[dict[str, Any]] = []
    for one in record.made:
        if objects and one in record.objects:
            documents.append(hidden(one))
        elif charts and one.type.endswith(":Release"):
            given = hidden(one)
            documents.append({"helm": _helm(given), "values": given.get("values", {})})
    return "---\n".join(_yaml(document) for document in documents)


def _helm(given: dict[str, Any]) -> dict[str, Any]:
    repository = (given.get("repositoryOpts") or {}).get("repo")
    return {key: given[key] for key in ("name", "namespace", "chart", "version") if key in given} | (
        {"repository": repository} if repository else {}
    )


def hidden(one: Made) -> dict[str, Any]:
    """The inputs without what is secret in them."""
    made: dict[str, Any] = _without(one.inputs, one.secrets, "")
    return made


def _without(value: Any, secrets: Iterable[str], path: str) -> Any:
    if path in secrets:
        return _placeholders(value)
    if isinstance(value, dict):
        return {key: _without(inner, secrets, f"{path}.{key}" if path else key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, secrets, f"{path}.{index}") for index, inner in enumerate(value)]
    return value


def _placeholders(value: Any) -> Any:
    return {key: _placeholders(inner) for key, inner in value.items()} if isinstance(value, dict) else HIDDEN


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, and nothing by reference: people read this."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the library's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
