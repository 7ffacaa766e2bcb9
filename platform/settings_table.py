"""docs/platform-settings.md: every key with its default and its meaning, written from the configuration itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from charts import Charts
from config import PlatformConfig
from stack_file import PROJECT, models_in, tags

_HEAD = f"""# Settings of the platform

Everything is in `Pulumi.STACK.yaml`, section by section. `examples/platform/` has three whole ones. Set a key by hand
or by `pulumi config set --path '{PROJECT}:site.name' 'Courses of Example University'`; what is marked *secret* only by
`pulumi config set --secret --path …`. A key that is not listed here stops the preview, with the one that was probably
meant. Nothing is touched before the whole configuration fits.

This page is written by `jhaas platform settings > docs/platform-settings.md`.
"""


def table() -> str:
    """The page, in Markdown."""
    return _HEAD + "".join(_section(name, field) for name, field in PlatformConfig.model_fields.items())


def _section(name: str, field: FieldInfo) -> str:
    models = list(models_in(field.annotation))
    needed = "" if not field.is_required() else " Needed."
    text = f"\n## `{name}`\n\n{field.description}{needed}\n"
    if models == [Charts]:
        return text + _charts()
    if len(models) == 1:
        return text + "\n" + _table(("key", "default", "meaning"), _rows(models[0]))
    for model in models:
        (kind,) = tags(model)
        is_default = not field.is_required() and getattr(field.default, "kind", None) == kind
        text += f"\n### `{name}.kind: {kind}`{' (default)' if is_default else ''}\n\n{_summary(model)}\n\n"
        text += _table(("key", "default", "meaning"), _rows(model))
    return text


def _charts() -> str:
    rows = (
        (f"`{name}`", f"{field.default.repository or ''} {field.default.chart}".strip(), f"`{field.default.version}`")
        for name, field in Charts.model_fields.items()
    )
    keys = ", ".join(f"`{name}`" for name in Charts.model_fields["traefik"].default.model_dump())
    return (
        f"\nFor each chart: {keys}. A mirror's is named by `chart: oci://MIRROR/PATH`, by another `repository`, "
        "or by the full path of a folder; `values` go before ours.\n\n"
    ) + _table(("chart", "place", "version"), rows)


def _rows(model: type[BaseModel], before: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{before}{name}"
        inner = list(models_in(field.annotation))
        if tags(model) and name == "kind":
            continue
        if not inner:
            yield f"`{key}`", _default(field), _meaning(field)
        elif len(inner) == 1:
            if field.default is None:
                yield f"`{key}`", "", _meaning(field)
            yield from _rows(inner[0], f"{key}.")
        else:
            yield f"`{key}.kind`", f"`{field.default.kind}`", f"{field.description} Each kind has keys of its own:"
            for one in inner:
                (kind,) = tags(one)
                yield f"`{key}.kind: {kind}`", "", _summary(one)
                yield from _rows(one, f"{key}.")


def _summary(model: type[BaseModel]) -> str:
    return str(model.model_fields["kind"].description)


def _meaning(field: FieldInfo) -> str:
    secret = " *Secret.*" if is_secret(field) else ""
    return f"{field.description}{secret}"


def is_secret(field: FieldInfo) -> bool:
    """Whether a key is to be set by `--secret`."""
    return "SecretStr" in str(field.annotation) or field.annotation is SecretStr


def _default(field: FieldInfo) -> str:
    default: Any = field.default
    if default is PydanticUndefined:
        return "**needed**"
    if default in (None, "", (), {}):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default}`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
