"""`python -m tools.targets`: docs/targets.md, every key of a target's file, written from the models that read it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from course_stack.targets import TargetFile

PAGE = Path(__file__).parents[1] / "docs" / "targets.md"

_HEAD = """# A target's file, key by key

A cluster is described by one file, `NAME.yaml`, in the folder that `JHAAS_TARGETS_DIR` names (else `targets/` in the
data folder). The file's name is the target's. No secret stands in it: [kubernetes.md](kubernetes.md) tells where they
lie. [examples/targets/cluster.yaml](../examples/targets/cluster.yaml) is one to begin with. An unknown key, or a value
out of its bounds, stops every command before anything is touched.

This page is written by `make schema`.

| key | value | default | meaning |
|---|---|---|---|
"""


def guide() -> str:
    """The page, in Markdown."""
    return _HEAD + "".join(f"| {' | '.join(_cell(one) for one in row)} |\n" for row in _rows(TargetFile, ""))


def _rows(
    model: type[BaseModel], above: str, shown: dict[type[BaseModel], str] | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """Key, value, default and meaning; what was shown under another key is not shown again."""
    shown = {} if shown is None else shown
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        if key in ("name", "kind", "home"):
            continue
        inner = _models(field.annotation)
        if not inner:
            yield f"`{key}`", _value(field), _default(field), field.description or ""
            continue
        many = "[]" if _is_list(field.annotation) else ""
        if inner[0] in shown:
            yield f"`{key}`", f"as `{shown[inner[0]]}`", "as there", field.description or ""
            continue
        if field.get_default() is not None and not field.is_required():
            yield f"`{key}`", _of_models(inner, many), _default(field), field.description or _about(inner)
        for one in inner:
            shown[one] = key
            of = f" ({_kind(one)})" if len(inner) > 1 else ""
            for row in _rows(one, f"{key}{many}.", shown):
                if not (len(inner) > 1 and row[0].endswith(".kind`")):
                    yield f"{row[0]}{of}", *row[1:]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field holds, itself or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) if not isinstance(part, str) for found in _models(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (tuple, list)


def _kind(model: type[BaseModel]) -> str:
    """What `kind` says where a field may hold several models."""
    return str(model.model_fields["kind"].default)


def _about(models: list[type[BaseModel]]) -> str:
    return " ".join(str(model.__doc__).split("\n\n")[0].replace("\n", " ").strip() for model in models)


def _of_models(models: list[type[BaseModel]], many: str) -> str:
    if len(models) > 1:
        return "by `kind`: " + ", ".join(f"`{_kind(one)}`" for one in models)
    return "list" if many else "keys below"


def _value(field: FieldInfo) -> str:
    bounds = [
        f"{word} {getattr(one, sign):g}"
        for one in field.metadata
        for sign, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
        if isinstance(getattr(one, sign, None), int | float)
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if one is type(None) else _type(one) for one in parts)
    if origin in (tuple, list):
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"{_type(parts[1])} by name"
    return {str: "text", int: "number", float: "number", bool: "true or false"}.get(annotation, "any")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "as below" if type(value).model_fields else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict | str):
        texts = [value] if isinstance(value, str) else value
        return ", ".join(f"`{one}`" for one in texts if one) or "empty"
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(guide())
