"""What we set in charts that bring no schema: keys that somebody looked up, of the version that is installed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, sections
from tests.support import charts

if TYPE_CHECKING:
    from rehearsal import Made

LOOKED_UP: dict[str, Any] = yaml.safe_load((ROOT / "tests/platform_stack/chart_keys.yaml").read_text())
MOST = {
    "monitoring": {"install": True},
    "cluster": {"storage_class": "fast-disks"},
    **switches.SWITCHES["mail"]["starttls"],
}
"""With this, everything is set that the platform may set in kube-prometheus-stack."""


@cache
def release(name: str) -> Made:
    from rehearsal import rehearse

    shared = {"csi-driver-nfs": "nfs", "longhorn": "longhorn"}
    given = switches.SWITCHES["shared_storage"][shared[name]] if name in shared else MOST
    (found,) = [one for one in rehearse(sections(**given)).of("Release") if one.name == name]
    return found


def known(name: str) -> set[str]:
    """Every key that was looked up."""
    entry = LOOKED_UP[name]
    below = {f"{path}.{key}" for path, keys in entry.get("free", {}).items() for key in keys}
    return {*entry["keys"], *below}


def leaves(values: dict[str, Any], known: set[str], path: str = "") -> Iterator[str]:
    """Paths of what is set; a key that was looked up ends a path."""
    for key, value in values.items():
        place = f"{path}.{key}" if path else key
        if isinstance(value, dict) and place not in known:
            yield from leaves(value, known, place)
        else:
            yield place


@pytest.mark.parametrize("name", LOOKED_UP)
def test_every_key_that_we_set_was_looked_up_in_the_version_that_is_installed(name: str) -> None:
    inputs = release(name).inputs
    assert inputs["version"] == LOOKED_UP[name]["version"]
    assert {*leaves(inputs["values"], known(name))} == known(name)


@pytest.mark.parametrize("name", LOOKED_UP)
def test_the_chart_itself_knows_every_key_that_we_set(name: str) -> None:
    entry = LOOKED_UP[name]
    free = frozenset(entry.get("free", ()))
    assert charts.unknown(f"{name}-{entry['version']}", release(name).inputs["values"], free) == []
