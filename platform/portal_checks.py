"""What the portal would refuse at its start, told before anything is made: its settings, and the target's file.

Each is read by its own owner's code. These two are the only modules of other packages that the platform asks, and only
once a site says something of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import ValidationError, create_model

from stack_file import reason


def setting_problems(given: Mapping[str, str]) -> list[str]:
    """`NAME: why` of each value that the portal would refuse; values as they stand in variables."""
    if not given:
        return []
    from portal.config import PortalSettings

    problems = []
    for name, text in given.items():
        field = PortalSettings.model_fields[name]
        alone: Any = {name: (field.annotation, field)}
        try:
            create_model("Setting", **alone).model_validate({name: text})
        except ValidationError as error:
            problems += [f"{name}: {reason(dict(one), field)}" for one in error.errors(include_url=False)]
    return problems


def target_problems(name: str, content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a target's file of this content, sentence by sentence."""
    from course_stack.targets import TargetError, load_target

    with TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        path.write_text(yaml.safe_dump(dict(content)))
        try:
            load_target(path)
        except TargetError as error:
            return [str(one) for one in error.problems]
    return []
