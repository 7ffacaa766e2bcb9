"""The hub's own services run in the Python that has what they need."""

from __future__ import annotations

import sys
from typing import Any

from traitlets.config import Config

from course_stack.hub_files.services import with_own_python


def test_the_culler_runs_in_the_hubs_own_python_and_other_services_as_they_are() -> None:
    services: list[dict[str, Any]] = [
        {"name": "jupyterhub-idle-culler", "command": ["python3", "-m", "jupyterhub_idle_culler"]},
        {"name": "another", "command": ["/bin/another"]},
        {"name": "jhaas-portal", "api_token": "a-token"},
    ]
    c = Config()
    c.JupyterHub.services = services
    with_own_python(c)
    assert services[0]["command"] == [sys.executable, "-m", "jupyterhub_idle_culler"]
    assert services[1:] == [
        {"name": "another", "command": ["/bin/another"]},
        {"name": "jhaas-portal", "api_token": "a-token"},
    ]
