"""`jhaas schema`: what may stand in a course spec, for editors and other programs."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a course spec."""
    from course_stack.spec import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
