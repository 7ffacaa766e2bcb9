"""The table of JHaaS-Deployment's variables names settings that exist."""

from __future__ import annotations

import re

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


NAMES = {"traefik", "csi-driver-nfs", "jhaas-identity", "jhaas-portal", "https://", "http://"}
"""What the table names beside settings and their kinds: names that are always the same."""


def test_everything_that_the_table_names_is_there() -> None:
    from config import PlatformConfig

    settings = {*paths(PlatformConfig), *paths(TargetFile), *CourseSpec.model_fields}
    allowed = {"bundled", "external", "rds", "existing", "nfs", "longhorn", "authentik", "oidc"}
    for name, here in ROWS.items():
        named = re.findall(r"`([^`]+)`", here)
        keys = [one.partition(": ")[0] for one in named]
        assert {*keys} - settings - NAMES <= (allowed if any(key.endswith(".kind") for key in keys) else set()), name
        assert here.startswith("Gone: ") or here == "as above." or {*keys} & settings, name


def paths(model: type[BaseModel], before: str = "") -> list[str]:
    from stack_file import models_in

    found = []
    for name, field in model.model_fields.items():
        found.append(f"{before}{name}")
        for inner in models_in(field.annotation):
            found += paths(inner, f"{before}{name}.")
    return found
