"""Helm charts' schemas and defaults, which are read but not kept in this repository.

They are in the folders that `CHARTS_FOLDER` names (one or more, separated like `PATH`), else in `../shared/charts`
beside the checkout: a folder for each chart, named `NAME-VERSION`, as `helm pull --untar` makes it. A test that needs
one skips, and says why, where it is missing.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


def folder(chart: str) -> Path:
    """Where the chart's files are, for example `jupyterhub-4.4.0`; skips the test where they are not."""
    given = os.environ.get("CHARTS_FOLDER")
    places = [Path(one) for one in given.split(os.pathsep)] if given else [ROOT.parent / "shared/charts"]
    for place in places:
        if (place / chart).is_dir():
            return place / chart
    pytest.skip(f"the chart {chart} is not in {', '.join(map(str, places))}; name its folder in CHARTS_FOLDER")


def problems(chart: str, values: dict[str, Any]) -> list[str]:
    """What Helm would refuse in these values: the schema is applied to the chart's defaults with ours over them."""
    found = _validator(folder(chart)).iter_errors(merged(chart, values))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def unknown(chart: str, values: dict[str, Any], free: frozenset[str] = frozenset()) -> list[str]:
    """Keys that the chart's defaults do not know, for a chart without a schema. Below an empty mapping of the defaults,
    below lists, and below the paths that are `free`, everything goes."""
    return list(_unknown(_defaults(folder(chart)), values, "", free))


def _unknown(known: dict[str, Any], given: dict[str, Any], path: str, free: frozenset[str]) -> Iterator[str]:
    for key, value in given.items():
        place = f"{path}.{key}" if path else key
        if key not in known:
            yield place
        elif place not in free and isinstance(value, dict) and isinstance(known[key], dict) and known[key]:
            yield from _unknown(known[key], value, place, free)


def merged(chart: str, values: dict[str, Any]) -> dict[str, Any]:
    """The chart's defaults with these values over them, as Helm puts them together: mappings are merged, everything
    else is replaced, and a key whose value is None counts as not given (where the default is not None either)."""
    return _over(copy.deepcopy(_defaults(folder(chart))), values)


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    for key, value in above.items():
        if value is None and below.get(key) is not None:
            del below[key]
        elif isinstance(value, dict) and isinstance(below.get(key), dict):
            _over(below[key], value)
        else:
            below[key] = value
    return below


@cache
def _defaults(chart: Path) -> dict[str, Any]:
    """Of a chart that is made of others, theirs stand below their names, with what it says of them over them."""
    loaded: dict[str, Any] = {
        inner.parent.name: yaml.safe_load(inner.read_text()) for inner in chart.glob("charts/*/values.yaml")
    }
    return _over(loaded, yaml.safe_load((chart / "values.yaml").read_text()))


@cache
def _validator(chart: Path) -> Any:
    as_json = chart / "values.schema.json"
    schema = (
        json.loads(as_json.read_text())
        if as_json.exists()
        else yaml.safe_load((chart / "values.schema.yaml").read_text())
    )
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)
