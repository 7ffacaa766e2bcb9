"""The text of an operation on stdout, close to the CLI's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from automation.embedded.events import Event
from automation.embedded.values import SIGNATURE, Properties, Secret

_PREFIXES = {
    "same": "   ", "create": " + ", "update": " ~ ", "delete": " - ", "replace": " +-", "create-replacement": " ++",
    "delete-replaced": " --", "refresh": " ~ ", "discard": " < ",
}  # fmt: skip
_DOING = {
    "create": "creating", "update": "updating", "delete": "deleting", "replace": "replacing",
    "create-replacement": "creating replacement", "delete-replaced": "deleting original", "refresh": "refreshing",
    "discard": "discarding",
}  # fmt: skip
_DONE = {
    "create": "created", "update": "updated", "delete": "deleted", "replace": "replaced",
    "create-replacement": "created replacement", "delete-replaced": "deleted original", "discard": "discarded",
}  # fmt: skip
_PLANNED = {
    "create": "create", "update": "update", "delete": "delete", "replace": "replace",
    "create-replacement": "create replacement", "delete-replaced": "delete original", "discard": "discard",
}  # fmt: skip
_SUMMARY = (
    ("create", "+ ", "created", "to create"),
    ("update", "~ ", "updated", "to update"),
    ("replace", "+-", "replaced", "to replace"),
    ("delete", "- ", "deleted", "to delete"),
    ("discard", "< ", "discarded", "to discard"),
)
_HEADLINES = {
    ("update", False): "Updating", ("update", True): "Previewing update", ("refresh", False): "Refreshing",
    ("refresh", True): "Previewing refresh", ("destroy", False): "Destroying", ("destroy", True): "Previewing destroy",
}  # fmt: skip


class Display:
    """Writes a line for each thing that happens, and at the end diagnostics, outputs and counts."""

    def __init__(self, kind: str, stack: str, write: Callable[[str], None], *, preview: bool) -> None:
        self._write = write
        self._preview = preview
        self._started: dict[tuple[str, str], float] = {}
        self._diagnostics: dict[str, list[str]] = {}
        self._errors: dict[str, int] = {}
        self.root = ""
        write(f"{_HEADLINES[kind, preview]} ({stack}):")

    def __call__(self, event: Event) -> None:
        if step := event.get("resourcePreEvent"):
            self._pre(step["metadata"])
        elif step := event.get("resOutputsEvent"):
            self._outputs(step["metadata"])
        elif step := event.get("resOpFailedEvent"):
            self._failed(step["metadata"])
        elif diagnostic := event.get("diagnosticEvent"):
            self._diagnostic(diagnostic)

    def _pre(self, step: Event) -> None:
        op, urn = step["op"], step["urn"]
        self._started[urn, op] = time.monotonic()
        if op == "same" or _is_default_provider(step):
            return
        self._line(step, (_PLANNED.get(op) or _DOING[op]) if self._preview else f"{_DOING[op]} (0s)")

    def _outputs(self, step: Event) -> None:
        op, urn = step["op"], step["urn"]
        if op == "same" or _is_default_provider(step) or self._preview:
            return
        seconds = time.monotonic() - self._started.get((urn, op), time.monotonic())
        self._line(step, f"{_DONE[op]} ({_duration(seconds)})")

    def _failed(self, step: Event) -> None:
        text = f"**{_DOING[step['op']]} failed**" if step["op"] in _DOING else "**failed**"
        self._line(step, text)

    def _line(self, step: Event, text: str) -> None:
        changed = _changed(step)
        self._write(f"{_PREFIXES[step['op']]} {_type(step['type'])} {_name(step['urn'])} {text}{changed}")

    def _diagnostic(self, event: Event) -> None:
        severity = event["severity"]
        if severity == "debug" or event.get("ephemeral"):
            return
        urn = event.get("urn") or self.root
        text = event["prefix"] + event["message"].rstrip("\n")
        self._diagnostics.setdefault(urn, []).append(text)
        if severity == "error":
            self._errors[urn] = self._errors.get(urn, 0) + 1

    def finish(self, changes: dict[str, int], old: Properties | None, new: Properties | None, seconds: float) -> None:
        """Diagnostics, outputs (none where `new` is None), counts and time."""
        if self._diagnostics:
            self._write("Diagnostics:")
            for urn, texts in self._diagnostics.items():
                self._write(f"  {_type(_type_of(urn))} ({_name(urn)}):")
                for text in texts:
                    for line in text.split("\n"):
                        self._write(f"    {line}" if line else "")
                self._write("")
        else:
            self._write("")
        if new or old:
            lines = _output_lines(old or {}, new or {}) if new is not None else []
            if lines:
                self._write("Outputs:")
                for line in lines:
                    self._write(line)
                self._write("")
        self._write("Resources:")
        for op, sign, done, planned in _SUMMARY:
            if count := changes.get(op):
                self._write(f"    {sign}{count} {planned if self._preview else done}")
        if count := changes.get("same"):
            self._write(f"    {count} unchanged")
        if errored := len(self._errors):
            self._write(f"    {errored} errored")
        if not self._preview:
            self._write("")
            self._write(f"Duration: {max(1, round(seconds))}s")


def _duration(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.0f}s"


def _is_default_provider(step: Event) -> bool:
    return step["type"].startswith("pulumi:providers:") and _name(step["urn"]).startswith("default")


def _name(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


def _type_of(urn: str) -> str:
    parts = urn.split("::")
    return parts[2].rsplit("$", 1)[-1] if len(parts) > 3 else "pulumi:pulumi:Stack"


def _type(token: str) -> str:
    """`random:index/randomPassword:RandomPassword` as people read it: without the module's file."""
    parts = token.split(":")
    if len(parts) == 3 and "/" in parts[1]:
        module, _, file = parts[1].partition("/")
        if file.lower() == parts[2].lower():
            parts[1] = module
    return ":".join(parts)


def _changed(step: Event) -> str:
    if step["op"] in ("create", "delete", "same", "refresh") or not step.get("diffs"):
        return ""
    old = (step.get("old") or {}).get("inputs") or {}
    new = (step.get("new") or (old and {})).get("inputs") or {} if step.get("new") else old
    signs = []
    for key in step["diffs"]:
        if key == "__provider":
            continue
        signs.append(f"{'+' if key not in old else '-' if key not in new else '~'}{key}")
    return f" [diff: {','.join(signs)}]" if signs else ""


def _output_lines(old: Properties, new: Properties) -> list[str]:
    width = max((len(key) for key in {**old, **new}), default=0)
    lines = []
    for key in sorted({**old, **new}):
        label = f"{key:<{width}}: "
        if key not in new:
            lines.append(f"  - {label}{_text(old[key], 1)}")
        elif key not in old:
            lines.append(f"    {label}{_text(new[key], 1)}" if not old else f"  + {label}{_text(new[key], 1)}")
        else:
            before, after = _text(old[key], 1), _text(new[key], 1)
            if before == after:
                lines.append(f"    {label}{after}")
            else:
                lines.append(f"  ~ {label}{before} => {after}")
    return lines


def _text(value: Any, depth: int) -> str:
    indent = "    " * (depth + 1)
    if isinstance(value, Secret):
        return "[secret]"
    if isinstance(value, dict) and SIGNATURE not in value:
        if not value:
            return "{}"
        width = max(map(len, value))
        items = "".join(f"{indent}{key:<{width}}: {_text(value[key], depth + 1)}\n" for key in sorted(value))
        return "{\n" + items + "    " * depth + "}"
    if isinstance(value, list):
        if not value:
            return "[]"
        items = "".join(f"{indent}[{index}]: {_text(item, depth + 1)}\n" for index, item in enumerate(value))
        return "[\n" + items + "    " * depth + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    return f'"{value}"' if isinstance(value, str) else str(value)
