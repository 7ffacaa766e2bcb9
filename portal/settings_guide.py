"""docs/settings.md: every setting with its default and its meaning, written from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from automation.settings import KNOWN_SETTINGS
from portal.config import PREFIX, PortalSettings, is_secret, variable

_HEAD = """# Settings

Every setting is an environment variable. A variable that begins with `JHAAS_` and is not listed here stops the start,
with the name that was probably meant. On one machine (`jhaas demo`, `jhaas services up`) none is needed: what is not
set comes from the data folder.

This page is written by `jhaas portal settings > docs/settings.md`.

## The portal

For web, scheduler and worker processes alike. Each secret may stand in a file instead: `NAME_FILE` holds its path.

"""
_BELOW = """
## Machine, engine and state

"""


def guide() -> str:
    """The page, in Markdown."""
    own = {variable(name) for name in PortalSettings.model_fields}
    below = {
        name: text
        for name, text in KNOWN_SETTINGS.items()
        if name not in own and name.removesuffix("_FILE") not in own and name.startswith(PREFIX)
    }
    portal = _table(("setting", "default", "meaning"), _portal())
    others = _table(("setting", "meaning"), ((f"`{name}`", text) for name, text in below.items()))
    return _HEAD + portal + _BELOW + others


def _portal() -> Iterator[tuple[str, str, str]]:
    for name, field in PortalSettings.model_fields.items():
        if field.is_required():
            default = "**needed**"
        elif is_secret(field.annotation) or field.default in (None, ""):
            default = ""
        elif isinstance(field.default, tuple):
            default = f"`{','.join(map(str, field.default))}`"
        else:
            default = f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
        meaning = (field.description or "") + (" Secret." if is_secret(field.annotation) else "")
        yield f"`{variable(name)}`", default, meaning


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
