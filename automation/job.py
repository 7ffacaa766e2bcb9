"""What an operation's process is given to do, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from automation.events import OperationKind


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `deadline` is for the whole operation."""

    deadline: float = 1800.0
    graceful: float = 60.0
    """After a cancel: how long running steps may take to end."""
    abandoned: float = 5.0
    """The same where the process that started the operation is gone: somebody else may begin any moment."""
    abort: float = 5.0
    """After that: how long the engine may take to end at once, before the tree is killed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What an operation's process is given."""

    operation: str
    kind: OperationKind
    slug: str
    project: str
    program: str
    """`module:function` that takes (spec, target, rotation) and returns the Pulumi program."""
    spec: dict[str, Any] | None
    target: dict[str, Any]
    rotation: str | None
    """Generation of the hub's tokens; None keeps the last one."""
    settings: dict[str, Any] = field(repr=False)
    folder: str
    engine: Literal["auto", "cli", "embedded"]
    lease_lifetime: float | None
    """Seconds within which the lease is renewed; None where the kind needs none."""
    timing: Timing

    def to_line(self) -> bytes:
        """One line, with secrets in clear text: for the pipe only."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Job:
        content = json.loads(line)
        return cls(**{**content, "timing": Timing(**content["timing"])})
