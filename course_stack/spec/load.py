"""Reading a spec from a file, and the schema that editors check such files with."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from course_stack.spec.model import CourseSpec
from course_stack.spec.problems import Problem, SpecError, echo, problems_of

MAX_BYTES = 1_000_000
"""Size of a file; a spec with a thousand people is below a tenth of this."""


def load_spec(source: str | Path | Mapping[str, Any], defaults: Mapping[str, Any] = {}) -> CourseSpec:
    """The spec of a mapping, or of a file: JSON where its name ends in `.json`, else YAML.

    `defaults` stand in for fields that it leaves out. Raises SpecError with everything that is wrong.
    """
    if isinstance(source, Mapping):
        return _validate({**defaults, **source}, None)
    path = Path(source)
    try:
        return _validate({**defaults, **read_fields(path)}, str(path))
    except RecursionError:
        raise SpecError([Problem("", "is nested too deeply to be a course")], str(path)) from None


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a spec: what can be said of one field at a time. Sizes carry their `unit`."""
    return CourseSpec.model_json_schema()


def _validate(content: object, source: str | None) -> CourseSpec:
    try:
        return CourseSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(problems_of(error, CourseSpec), source) from None


def read_fields(path: Path) -> dict[str, Any]:
    """The fields of a file: JSON where its name ends in `.json`, else YAML. Raises SpecError with its path."""

    def refuse(text: str, **values: Any) -> SpecError:
        return SpecError([Problem("", text, values)], str(path))

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse("cannot be read: {reason}", reason=error.strerror or str(error)) from None
    if len(data) > MAX_BYTES:
        raise refuse("is too large to be a course; at most {most} bytes", most=MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("is not text in UTF-8 (byte {position}); save it as UTF-8", position=error.start + 1) from None
    try:
        content = _parse_json(text) if path.suffix.lower() == ".json" else _parse_yaml(text)
    except _NotReadableError as error:
        raise refuse(error.text, **error.values) from None
    if content is None:
        raise refuse("is empty")
    if not isinstance(content, dict):
        raise refuse("must have one field a line, for example “slug: python-intro”")
    return content


class _NotReadableError(Exception):
    def __init__(self, text: str, **values: Any) -> None:
        super().__init__(text)
        self.text, self.values = text, values


def _parse_json(text: str) -> object:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise _NotReadableError("{key} is given twice", key=echo(key))
            found[key] = value
        return found

    def no_constant(name: str) -> object:
        raise _NotReadableError("{name} is not a number", name=name)

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise _NotReadableError(
            "line {line}, column {column}: this is not JSON ({reason})",
            line=error.lineno,
            column=error.colno,
            reason=error.msg,
        ) from None
    except ValueError:  # a number with thousands of digits
        raise _NotReadableError("holds a number that is too long") from None


def _parse_yaml(text: str) -> object:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark else {"line": "?", "column": "?"}
        reason = error.problem or "it cannot be read"
        if "'\\t'" in reason:
            reason = "a tab; indent with spaces"
        raise _NotReadableError("line {line}, column {column}: {reason}", reason=reason, **place) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _NotReadableError("line {line}: a character that YAML does not allow", line=line) from None
    except ValueError:  # a number with thousands of digits
        raise _NotReadableError("holds a number that is too long") from None


class _Loader(yaml.SafeLoader):
    """YAML as people write it by hand: each key once, days as they are written, no references within the file."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "references (*name) are not understood; write it out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value} is given twice, first in line {lines[key.value]}", key.start_mark
                    )
                lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


# Days stay as they are written, so that a day that does not exist is a problem of its field, not of the file.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
