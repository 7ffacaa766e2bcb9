"""Loaded by JupyterHub: `jupyterhub --config=jupyterhub_config.py`, in the hub's own folder.

Reads config.json there; everything else is `hub_config.hub_settings`.
"""

from pathlib import Path

from course_stack.local.hub_config import HubConfig, hub_settings
from course_stack.local.isolation import isolation

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (given by traitlets)

for section, values in hub_settings(
    HubConfig.model_validate_json(Path("config.json").read_text()), isolation()
).items():
    c[section].update(values)
