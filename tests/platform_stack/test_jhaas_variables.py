"""The table of JHaaS-Deployment's variables names settings that exist."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from course_stack.spec import CourseSpec
from course_stack.targets import TargetFile
from tests.platform_stack.conftest import ROOT

ROWS = dict(
    re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs/jhaas-variables.md").read_text(), re.MULTILINE),
)


def test_all_152_variables_have_a_place_or_a_reason() -> None:
    assert len(ROWS) == 152
    for name, here in ROWS.items():
        assert "`" in here or here.startswith("Gone: ") or here == "as above.", name


def fixed() -> set[str]:
    """What the table names beside settings and their values: names that are always the same, and schemes."""
    import identity
    import identity_values
    import ingress
    import shared_storage

    names = {ingress.NAMESPACE, shared_storage.Nfs.NAMESPACE, identity_values.NAMESPACE, identity.CLIENT_ID}
    return {*names, "https://", "http://"}


def test_everything_that_the_table_names_is_there() -> None:
    from config import PlatformConfig

    platform = values(PlatformConfig)
    settings = {*platform, *paths(TargetFile), *CourseSpec.model_fields}
    for name, here in ROWS.items():
        named = [one.partition(": ") for one in re.findall(r"`([^`]+)`", here)]
        keys = {key for key, _, _ in named} & settings
        # kinds of a section that is named beside them
        allowed = {value for key in keys if key.endswith(".kind") for value in platform[key]}
        assert {key for key, _, _ in named} - settings - fixed() <= allowed, name
        assert {value for key, _, value in named if value and value not in platform.get(key, ())} == set(), name
        assert here.startswith("Gone: ") or here == "as above." or keys, name


def values(model: type[BaseModel], before: str = "") -> dict[str, set[str]]:
    """Each key of the platform's settings → the values that it may have, where they are a list."""
    from stack_file import models_in

    found: dict[str, set[str]] = {}
    for name, field in model.model_fields.items():
        key = f"{before}{name}"
        found.setdefault(key, set()).update(_listed(field.annotation))
        for inner in models_in(field.annotation):
            for below, listed in values(inner, f"{key}.").items():
                found.setdefault(below, set()).update(listed)
    return found


def _listed(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {value for inner in get_args(annotation) for value in _listed(inner)}


def paths(model: type[BaseModel]) -> list[str]:
    """Every key of a file's settings."""
    return [*values(model)]
