"""Kubernetes' own schemas of its objects, as a library bundles them: a referee that needs no cluster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kubernetes_validate import ValidationError, utils, validate

VERSION = "1.34"

# it reads the definitions of everything anew for each object
utils.schema_contents = cache(utils.schema_contents)


def problems(manifest: Mapping[str, Any]) -> list[str]:
    """What Kubernetes would refuse in the object; a field that it does not know is one of them."""
    try:
        validate(dict(manifest), VERSION, strict=True)
    except ValidationError as error:
        return [f"{manifest['kind']}: {error}"]
    return []
