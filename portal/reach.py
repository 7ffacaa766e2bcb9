"""Addresses of our own hubs, as this machine can reach them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Reach:
    """Where to connect (`url`), which name to call for (`host`, with port), and whether that is this machine."""

    url: str
    host: str
    is_local: bool


def reach(url: str) -> Reach:
    """How to call an address. Names below `localhost` are this machine (RFC 6761), but the C library resolves none:
    the address is ours, and the name goes into the header."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    local = name == "localhost" or name.endswith(".localhost")
    if not local:
        return Reach(url, parts.netloc, name.startswith("127."))
    port = f":{parts.port}" if parts.port else ""
    return Reach(urlunsplit(parts._replace(netloc=f"127.0.0.1{port}")), parts.netloc, is_local=True)
