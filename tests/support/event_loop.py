"""Pulumi outside of a program of its own."""

from __future__ import annotations

import asyncio


def ensure_event_loop() -> None:
    """Pulumi's mocks and outputs take the thread's own event loop, and keep it; `asyncio.run` in another test leaves
    none."""
    policy = asyncio.get_event_loop_policy()
    try:
        policy.get_event_loop()
    except RuntimeError:
        policy.set_event_loop(policy.new_event_loop())
