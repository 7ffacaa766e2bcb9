"""`python -m tools.platform_schemas`: what the portal allows in its settings and in a target's file, as JSON Schemas.

They are for the platform, which imports nothing of the portal's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from course_stack.spec import CourseSpec
from course_stack.targets import OWN_TO_EACH_COURSE, TargetFile
from portal.config import PortalSettings, is_secret

FOLDER = Path(__file__).parents[1] / "platform" / "schemas"
Schema = dict[str, Any]

_NOT_BELOW = {"memory_limit": "memory_guarantee", "cpu_limit": "cpu_guarantee"}
"""Of a notebook: key → the key of which it must have at least the number. JSON Schema has no word for it: `notBelow` is
one of ours (`platform/portal_checks.py`)."""
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""As pydantic writes a bound that it cannot place, behind a validator of ours → its name in JSON Schema."""


def portal_settings() -> Schema:
    """Every setting that is no secret."""
    found = PortalSettings.model_json_schema(by_alias=False)
    open_ones = {
        name: one
        for name, one in found["properties"].items()
        if not is_secret(PortalSettings.model_fields[name].annotation)
    }
    plain: Schema = _plain({"type": "object", "additionalProperties": False, "properties": open_ones})
    return plain


def target() -> Schema:
    """The content of a target's file on a cluster. Its name is the file's; its `defaults` are fields of a course."""
    found, course = TargetFile.model_json_schema(), CourseSpec.model_json_schema()
    fields = {name: one for name, one in course["properties"].items() if name not in OWN_TO_EACH_COURSE}
    keys = {name: one for name, one in found["properties"].items() if name not in ("name", "home")}
    keys["kind"] = {"const": "kubernetes"}
    keys["cluster"] = {"$ref": "#/$defs/ClusterTarget"}
    definitions = {**course["$defs"], **found["$defs"]}
    definitions["Resources"]["notBelow"] = dict(_NOT_BELOW)
    for form in found["$defs"]["ClusterTarget"]["properties"]["edge"]["oneOf"]:
        # pydantic asks for the kind by the union, not by its members
        definitions[_name(form)]["required"] = ["kind", *definitions[_name(form)].get("required", ())]
    for model in ({"properties": keys}, *found["$defs"].values()):
        for key in model["properties"].values():
            if "$ref" in key:
                key.setdefault(
                    "description", definitions[_name(key)]["description"].split("\n\n")[0].replace("\n", " ")
                )
    keys["defaults"] = {"type": "object", "additionalProperties": False, "properties": fields}
    plain: Schema = _plain(
        {
            "type": "object",
            "additionalProperties": False,
            "required": [name for name in (*found["required"], "cluster") if name in keys and name != "kind"],
            "properties": keys,
            "$defs": definitions,
        }
    )
    return plain


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _plain(schema: Any, is_names: bool = False) -> Any:
    """A schema without what nobody checks by: defaults, titles, units."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if is_names:
        return {name: _plain(one) for name, one in schema.items()}
    return {
        _BOUNDS.get(key, key): _plain(one, is_names=key in ("properties", "$defs"))
        for key, one in schema.items()
        if key not in ("default", "title", "unit", "$schema")
    }


SCHEMAS = {"portal_settings": portal_settings, "target": target}


def text(name: str) -> str:
    """A schema as its file holds it."""
    return json.dumps(SCHEMAS[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SCHEMAS:
        (FOLDER / f"{name}.json").write_text(text(name))
