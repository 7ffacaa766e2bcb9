"""Custom resources against the schemas in their CustomResourceDefinitions, which are read like charts' (`charts`)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.support import charts

_BASIC = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """What a cluster with these definitions would refuse in the object, or silently drop; skips the test where the
    definitions are missing."""
    validators = _validators(charts.folder("crds"))
    key = (manifest["apiVersion"], manifest["kind"])
    if key not in validators:
        return [f"{key[0]} {key[1]}: no definition of it"]
    found = validators[key].iter_errors(dict(manifest))
    return [f"{key[1]} {'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def is_custom(manifest: Mapping[str, Any]) -> bool:
    """Whether the object is of a kind that a definition brings: its group is a domain that is not Kubernetes' own."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


@cache
def _validators(folder: Path) -> dict[tuple[str, str], Any]:
    return {key: one for path in sorted(folder.glob("*.yaml")) for key, one in _of_file(path)}


def text(path: Path) -> str:
    """A file of definitions as YAML: charts keep theirs between two lines of template."""
    return "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("{{"))


def _of_file(path: Path) -> list[tuple[tuple[str, str], Any]]:
    return [
        (
            (f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"]),
            jsonschema.Draft202012Validator(_strict(version["schema"]["openAPIV3Schema"], top=True)),
        )
        for definition in yaml.load_all(text(path), yaml.CSafeLoader)
        if definition
        for version in definition["spec"]["versions"]
    ]


def _strict(schema: dict[str, Any], *, top: bool = False) -> dict[str, Any]:
    """The schema as JSON Schema, in which what a cluster would drop silently is an error."""
    made = copy.copy(schema)
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if made.pop("nullable", False) and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    # formats are hints here, as in a cluster, which knows some of them only
    made.pop("format", None)
    made.pop("default", None)
    if isinstance(made.get("properties"), dict):
        made["properties"] = {name: _strict(inner) for name, inner in made["properties"].items()}
        if top:
            made["properties"] |= _BASIC
        if not made.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in made:
            made["additionalProperties"] = False
    for key in ("items", "additionalProperties", "not"):
        if isinstance(made.get(key), dict):
            made[key] = _strict(made[key]) if key != "not" else made[key]
    return made
