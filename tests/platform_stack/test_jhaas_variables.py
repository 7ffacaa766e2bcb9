"""The table of JHaaS-Deployment's variables names settings that exist."""

from __future__ import annotations

import re

from pydantic import BaseModel

from tests.platform_stack.conftest import ROOT

ROWS = dict(
    re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs/jhaas-variables.md").read_text(), re.MULTILINE),
)


def test_all_152_variables_have_a_place_or_a_reason() -> None:
    assert len(ROWS) == 152
    for name, here in ROWS.items():
        assert "`" in here or here.startswith("Gone: ") or here == "as above.", name


def test_every_setting_that_the_table_names_is_there() -> None:
    from config import PlatformConfig

    known = set(paths(PlatformConfig))
    sections = set(PlatformConfig.model_fields)
    for name, here in ROWS.items():
        # a target's own settings are described elsewhere
        text = here if "docs/targets.md" not in here else ""
        for key in re.findall(r"`(\w+\.[\w.]+)(?:: \w+)?`", text):
            if key.partition(".")[0] in sections:
                assert key in known, f"{name}: {key}"


def paths(model: type[BaseModel], before: str = "") -> list[str]:
    from stack_file import models_in

    found = []
    for name, field in model.model_fields.items():
        found.append(f"{before}{name}")
        for inner in models_in(field.annotation):
            found += paths(inner, f"{before}{name}.")
    return found
