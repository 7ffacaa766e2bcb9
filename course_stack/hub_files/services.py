"""The hub's own services, as its chart sets them up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

CLUSTER = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
"""Variables by which a pod finds its cluster's API."""

SETTINGS = Path(__file__).parents[1] / "placeholders.json"
"""There where the target wants placeholders."""


def with_own_python(c: Any) -> None:
    """Let the hub's services that are Python programs run in the Python that runs the hub.

    The chart says `python3`, which is whatever comes first on the image's PATH; where that is another one, the culler
    is not installed there, ends at once, and idle servers run on.
    """
    for service in c.JupyterHub.services:
        if service.get("command", [""])[0] == "python3":
            service["command"][0] = sys.executable


def with_placeholders(c: Any, settings: Path = SETTINGS) -> None:
    """Let the hub keep room for the next notebooks, where it was given settings for that."""
    if settings.exists():
        program = str(Path(__file__).with_name("placeholders.py"))
        c.JupyterHub.services.append(
            {
                "name": "jhaas-placeholders",
                "command": [sys.executable, program, str(settings)],
                # the hub hands its services little of its environment, and not where the cluster is
                "environment": {name: os.environ[name] for name in CLUSTER if name in os.environ},
            }
        )
