"""A small program in the course program's place: files as resources, with a journal of what was done to each.

`TinySpec.slow` says at which step of which file the provider dwells between its effect and its reply.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
from pydantic import BaseModel

PROGRAM = "tests.automation.tiny:program"


class TinySpec(BaseModel):
    """Files `names` below `folder`, each with `content`; one after the other where `chained`."""

    slug: str
    folder: Path
    names: list[str] = ["one", "two"]
    content: str = "first"
    secret: str = "very-secret-value"
    slow: dict[str, float] = {}
    """Seconds by step: `{"create one": 60}`."""
    failure: str = ""
    chained: bool = True


def journal(folder: Path) -> list[str]:
    """What providers did, in order: `create one`, `update one`, `delete one`."""
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


class _Files(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        self._begin("create", props)
        Path(props["path"]).write_text(props["content"])
        self._dwell("create", props)
        return CreateResult(id_=f"file-{props['name']}", outs=dict(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        path = Path(props["path"])
        if not path.exists():
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs={**props, "content": path.read_text()})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=olds.get("content") != news["content"])

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        self._begin("update", news)
        Path(news["path"]).write_text(news["content"])
        self._dwell("update", news)
        return UpdateResult(outs=dict(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        self._begin("delete", props)
        Path(props["path"]).unlink(missing_ok=True)
        self._dwell("delete", props)

    def _begin(self, what: str, props: dict[str, Any]) -> None:
        if props["failure"]:
            raise RuntimeError(props["failure"])
        with (Path(props["path"]).parent / "journal").open("a") as file:
            file.write(f"{what} {props['name']}\n")

    def _dwell(self, what: str, props: dict[str, Any]) -> None:
        if seconds := props["slow"].get(f"{what} {props['name']}"):
            with (Path(props["path"]).parent / "journal").open("a") as file:
                file.write(f"dwell {what} {props['name']}\n")
            time.sleep(seconds)


class _File(Resource):
    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(_Files(), name, {"name": name, **props}, opts)


def program(spec: dict[str, Any], target: dict[str, Any], rotation: str) -> Callable[[], None]:
    """As `automation.work.course`, for a `TinySpec`."""
    tiny = TinySpec.model_validate(spec)

    def run() -> None:
        before: list[pulumi.Resource] = []
        for name in tiny.names:
            props = {
                "path": str(tiny.folder / name),
                "content": tiny.content,
                "secret": pulumi.Output.secret(tiny.secret),
                "slow": tiny.slow,
                "failure": tiny.failure,
            }
            options = pulumi.ResourceOptions(depends_on=before, additional_secret_outputs=["secret"])
            made = _File(name, props, options)
            before = [made] if tiny.chained else []
        pulumi.export("folder", str(tiny.folder))
        pulumi.export("rotation", rotation)
        pulumi.export("target", json.dumps(target))
        pulumi.export("token", pulumi.Output.secret(tiny.secret))

    return run


def failing(_spec: dict[str, Any], _target: dict[str, Any], _rotation: str) -> Callable[[], None]:
    """A program that always fails."""

    def run() -> None:
        raise ValueError("this program always fails")

    return run
