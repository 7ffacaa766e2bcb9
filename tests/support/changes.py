"""A file's content with some of its values changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

GONE = object()
"""As a value: the key is taken away."""


def changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with these values; keys are paths with dots."""
    made = copy.deepcopy(dict(content))
    for path, value in changes.items():
        *above, last = path.split(".")
        inner = made
        for part in above:
            inner = inner[part]
        if value is GONE:
            del inner[last]
        else:
            inner[last] = value
    return made
