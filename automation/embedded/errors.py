"""What a command of the embedded engine fails with."""

from __future__ import annotations


class EngineError(Exception):
    """One clear sentence for the person who ran the command; `code` is the command's exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Unsupported(EngineError):
    """Something of Pulumi that this engine leaves to the real CLI."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"the embedded engine does not support {feature}: use the pulumi CLI for it")


class OperationFailed(EngineError):
    """An operation ended with errors that are already in its output."""

    def __init__(self) -> None:
        super().__init__("")
