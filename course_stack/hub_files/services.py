"""The hub's own services, as its chart sets them up."""

from __future__ import annotations

import sys
from typing import Any


def with_own_python(c: Any) -> None:
    """Let the hub's services that are Python programs run in the Python that runs the hub.

    The chart says `python3`, which is whatever comes first on the image's PATH; where that is another one, the culler
    is not installed there, ends at once, and idle servers run on.
    """
    for service in c.JupyterHub.services:
        if service.get("command", [""])[0] == "python3":
            service["command"][0] = sys.executable
