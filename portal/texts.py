"""Texts that are translated where they are shown."""

from __future__ import annotations


def N_(text: str) -> str:  # noqa: N802 - gettext's name for it
    """Marks a text for the translators and gives it back as it is."""
    return text
