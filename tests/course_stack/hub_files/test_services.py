"""The hub's own services run in the Python that has what they need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from course_stack.hub_files.services import with_own_python, with_placeholders


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


def test_room_is_kept_only_where_the_hub_was_told_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    c = Config()
    c.JupyterHub.services = []
    with_placeholders(c, tmp_path / "placeholders.json")
    assert c.JupyterHub.services == []
    (tmp_path / "placeholders.json").write_text("{}")
    with_placeholders(c, tmp_path / "placeholders.json")
    (service,) = c.JupyterHub.services
    python, program, settings = service["command"]
    assert (python, settings) == (sys.executable, str(tmp_path / "placeholders.json"))
    assert Path(program).exists()
    assert service["environment"]["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"
