"""Loaded by JupyterHub: `jupyterhub --config=jupyterhub_config.py`, in the hub's own folder.

Reads config.json there; everything else is `hub_config.hub_settings`.
"""

from pathlib import Path

from course_stack.local.hub_config import Edge, HubConfig, hub_settings, layout_of
from course_stack.local.isolation import isolation

c = get_config()  # type: ignore[name-defined]  # noqa: F821 (given by traitlets)

config = HubConfig.model_validate_json(Path("config.json").read_text())
for section, values in hub_settings(config, Edge.of(layout_of(config.target)), isolation()).items():
    c[section].update(values)
