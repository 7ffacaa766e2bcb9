"""A dynamic provider that ends its own process, until there is a file `live`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class DyingProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        if not (Path(props["folder"]) / "live").exists():
            os._exit(3)
        return CreateResult("id", props)


class Dying(Resource):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(DyingProvider(), name, {"folder": str(folder)})
