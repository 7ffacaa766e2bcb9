"""Pulumi outside of a program of its own."""

from __future__ import annotations

import asyncio
from functools import cache


def ensure_event_loop() -> None:
    """Pulumi's mocks and outputs take the thread's own event loop, and keep it; `asyncio.run` in another test leaves
    none. It is one for the whole run: one that `asyncio.run` drops is never closed, and told of in whichever test
    is the next to collect garbage."""
    asyncio.set_event_loop(_loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()
