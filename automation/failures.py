"""How an operation can fail: one class and one clear sentence each, found in what the engine said."""

from __future__ import annotations

import re
from collections.abc import Iterable


class OperationFailed(Exception):
    """An operation ended without success; nothing is lost, and the next run repairs what was half made.

    `operation` is its id and `log` the path of its record (both empty if it never began).
    """

    def __init__(self, message: str, *, operation: str = "", log: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.log = log


class StoreDown(OperationFailed):
    """The store of the stacks' state cannot be reached, or has no such bucket."""


class WrongCredentials(OperationFailed):
    """The state store refuses the access key."""


class WrongPassphrase(OperationFailed):
    """The passphrase does not fit the stack's state."""


class CorruptState(OperationFailed):
    """The state of stack `slug` cannot be read."""

    def __init__(self, message: str, *, slug: str = "") -> None:
        super().__init__(message)
        self.slug = slug


class StackLocked(OperationFailed):
    """Another owner, not proven dead, holds the stack's lock in the state store."""


class StackMissing(OperationFailed):
    """There is no such stack."""


class OnOtherTarget(OperationFailed):
    """The stack is on another target than the one named: nothing of it is found here."""


class PortTaken(OperationFailed):
    """A network port that the hub needs is used by something else."""


class DiskFull(OperationFailed):
    """A disk, or the store behind the state, has no space left."""


class IdentityProviderFailed(OperationFailed):
    """The identity provider is down or refused."""


class ObjectStoreFailed(OperationFailed):
    """The store of the course's buckets is down or refused."""


class ClusterFailed(OperationFailed):
    """The cluster is down or refused."""


class HubFailed(OperationFailed):
    """The hub did not come up, or did not go."""


class EngineUnusable(OperationFailed):
    """The chosen Pulumi engine cannot run: missing, too old, or without a plugin."""


class Cancelled(OperationFailed):
    """Somebody asked for the operation to stop."""


class DeadlinePassed(OperationFailed):
    """The operation did not end in its time and was stopped."""


class LeaseLost(OperationFailed):
    """The right to work on the course could not be renewed, or the process that started the operation is gone."""


class Died(OperationFailed):
    """The operation's process was killed from outside."""


def by_name(name: str) -> type[OperationFailed]:
    """The class of a `Finished.failure`; `OperationFailed` itself for a name of another release."""
    return next((cls for cls in OperationFailed.__subclasses__() if cls.__name__ == name), OperationFailed)


# What the engines, boto3 and our providers say, most telling first. The order matters: a full disk shows itself
# inside a provider's or the store's error.
_SIGNS: tuple[tuple[type[OperationFailed], re.Pattern[str], str], ...] = tuple(
    (failure, re.compile("|".join(signs), re.IGNORECASE), message)
    for failure, signs, message in (
        (
            DiskFull,
            ("no space left on device", "ENOSPC", "disk quota exceeded", "StorageFull", "InsufficientStorage"),
            "No space is left on the disk: {detail}. Make space, then run this again.",
        ),
        (
            PortTaken,
            ("PortError", "address already in use", r"port \d+ .{0,40}(taken|in use|used by)"),
            "A network port is taken: {detail}",
        ),
        # Our own providers' errors are whole sentences, whatever else stands in them.
        (IdentityProviderFailed, ("IdentityError",), "{detail}."),
        (ObjectStoreFailed, ("ObjectStoreError",), "{detail}."),
        (HubFailed, ("HubError", "SupervisorError"), "{detail}."),
        (
            WrongPassphrase,
            ("incorrect passphrase", "passphrase must be set"),
            (
                "The state's passphrase is wrong: this stack was made with another one. Set the one that it was made "
                "with (JHAAS_STATE_PASSPHRASE_FILE, or credentials/state-passphrase)."
            ),
        ),
        (
            WrongCredentials,
            ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "StatusCode: 40[13]"),
            "The state store refuses the access key: {detail}. Check JHAAS_STATE_ACCESS_KEY_ID and its secret.",
        ),
        (StackLocked, ("currently locked by",), "The stack is locked: {detail}"),
        (StackMissing, ("no stack named .* found",), "There is no such stack: {detail}"),
        (
            CorruptState,
            (
                *("snapshot integrity failure", "unexpected end of JSON input", "invalid character .* looking for"),
                *("could not deserialize deployment", "failed to load checkpoint"),
            ),
            "The stack's state cannot be read: {detail}",
        ),
        (
            StoreDown,
            (
                *("connection refused", "EndpointConnectionError", "no such host", "NoSuchBucket", "dial tcp"),
                *("unable to open (bucket|state)", "could not connect to the endpoint", "request send failed"),
            ),
            "The state store cannot be reached: {detail}. Check its address (JHAAS_STATE_URL) and that it runs.",
        ),
        (
            EngineUnusable,
            ("no resource plugin '", "could not find plugin", "failed to load plugin", "executable file not found"),
            "The Pulumi engine lacks a plugin: {detail}",
        ),
        (Cancelled, ("update cancell?ed", "context cancell?ed"), "The operation was cancelled."),
    )
)


def classify(diagnostics: Iterable[str], output: str = "") -> OperationFailed:
    """The failure behind what the engine reported.

    `diagnostics` are the engine's error messages, in order; `output` is its plain output, used where there are none.
    """
    messages = [message for message in map(_plain, diagnostics) if message]
    text = "\n".join(messages) or _plain(output)
    for failure, sign, message in _SIGNS:
        if found := sign.search(text):
            return failure(message.format(detail=_line_around(text, found.start()).rstrip(".")))
    return OperationFailed(f"The engine reports: {_first_line(text) or 'nothing; see the log'}")


_COLOURS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_PROVIDER_ERROR = re.compile(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception|Taken|Failed)): (.+)$", re.MULTILINE)


def _plain(text: str) -> str:
    return _COLOURS.sub("", text).strip()


def _line_around(text: str, position: int) -> str:
    """The line at a position; of a Python traceback, the exception's own words, which stand in its last line."""
    if raised := _PROVIDER_ERROR.findall(text):
        return str(raised[-1][1]).strip()
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : end if end >= 0 else len(text)].strip()
    if line.endswith(
        ("by 1 lock(s). Either wait for the other process(es) to end or delete the lock file with `pulumi cancel`.",)
    ):
        line = f"{line} {text[end:].strip()}"
    return line.removeprefix("error: ")


def _first_line(text: str) -> str:
    if raised := _PROVIDER_ERROR.findall(text):
        return str(raised[-1][1]).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[0].removeprefix("error: ")
