"""Addresses of our own pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import url_for

from portal.web.context import portal


def absolute(endpoint: str, **values: object) -> str:
    """The full address of a page as browsers outside see it, whatever this request was called by."""
    return portal().settings.public_url.rstrip("/") + url_for(endpoint, **values)  # type: ignore[arg-type]


def own_path(given: str | None, otherwise: str = "/") -> str:
    """A path of this portal, fit to be redirected to. Anything that leads, or might lead, elsewhere becomes
    `otherwise`: another host, a scheme, `//host`, backslashes (browsers read them as slashes), control characters."""
    if not given or not given.startswith("/") or given.startswith("//") or len(given) > 2000:
        return otherwise
    if "\\" in given or not given.isprintable():
        return otherwise
    try:
        parts = urlsplit(given)
    except ValueError:
        return otherwise
    return otherwise if parts.scheme or parts.netloc else given
