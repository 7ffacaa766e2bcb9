"""Everything that a course's stack would make on a cluster, as YAML: for reading, review, or another tool's hands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

import yaml

from course_stack.kubernetes.network import Manifest
from course_stack.kubernetes.objects import course_objects
from course_stack.kubernetes.release import release_plan
from course_stack.kubernetes.values import HubKeys, hub_values
from course_stack.spec import CourseSpec
from course_stack.target import Target


def placeholders() -> HubKeys:
    """Stand-ins for what is only known while a stack comes up: `[secret: …]` for secrets, else the name in brackets."""
    shown = {one.name: f"[{one.name}]" if one.repr else f"[secret: {one.name}]" for one in fields(HubKeys)}
    return HubKeys(**shown)


def release_document(spec: CourseSpec, target: Target) -> dict[str, Any]:
    """The Helm release with its values, secrets and certificates as placeholders."""
    plan = {name: value for name, value in asdict(release_plan(spec, target)).items() if value is not None}
    named = target.cluster.authority if target.cluster is not None else None
    return {"release": plan, "values": hub_values(spec, target, placeholders(), named and f"[certificates: {named}]")}


def manifests(spec: CourseSpec, target: Target) -> list[Manifest]:
    """Every object in the order of creation, then the release. Raises `SpecError` for what the target cannot give."""
    return [*course_objects(spec, target), release_document(spec, target)]


def to_yaml(documents: Iterable[Any]) -> str:
    """One YAML document each, keys in their order, long texts as blocks."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """YAML as people read it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is the base class's
        """Equal parts are written out: references are no part of Kubernetes' YAML."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
