"""The programs that engines are compared on. States name dynamic providers by module and class: neither may change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pulumi
import pulumi_random as random
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

Properties = dict[str, Any]


class BoxProvider(ResourceProvider):
    """Makes nothing: what the recordings were made with."""

    def check(self, _olds: Properties, news: Properties) -> CheckResult:
        failures = [CheckFailure("size", "must be below 100")] if int(news["size"]) >= 100 else []
        return CheckResult(news, failures)

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        moved = olds["label"] != news["label"]
        return DiffResult(
            changes=moved or olds["size"] != news["size"],
            replaces=["label"] if moved else [],
            delete_before_replace=False,
        )

    def create(self, props: Properties) -> CreateResult:
        if props["label"] == "boom":
            raise RuntimeError("box cannot be made")
        return CreateResult(id_="box-" + props["label"], outs={**props, "address": "at-" + props["label"]})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        return UpdateResult(outs={**news, "address": "at-" + news["label"]})

    def delete(self, _id: str, _props: Properties) -> None:
        pass


class Box(Resource):
    address: pulumi.Output[str]

    def __init__(self, name: str, label: str, size: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(BoxProvider(), name, {"label": label, "size": size, "address": None}, opts)


class Room(pulumi.ComponentResource):
    def __init__(self, name: str, label: str, size: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("jhaas:index:Room", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        self.key = random.RandomPassword(name + "-key", length=24, special=False, opts=inside)
        self.box = Box(name + "-box", label, size, pulumi.ResourceOptions(parent=self, depends_on=[self.key]))
        self.register_outputs({"address": self.box.address})


def room() -> None:
    """The recorded program; configuration: label, size, token (secret)."""
    config = pulumi.Config()
    made = Room("room", config.require("label"), config.require_int("size"))
    pulumi.export("address", made.box.address)
    pulumi.export("key", made.key.result)
    pulumi.export("token", config.require_secret("token"))
    pulumi.export("plain", {"a": [1, 2, {"b": True}]})


def broken() -> None:
    raise ValueError("the program has a mistake")


class FileProvider(ResourceProvider):
    """Writes a file below the folder of the input `folder`, and a line into its `log` for everything it does."""

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        replaces = [key for key in ("folder", "name") if olds[key] != news[key]]
        changed = replaces or [key for key in ("text", "note") if olds.get(key) != news.get(key)]
        return DiffResult(bool(changed), replaces, delete_before_replace=bool(news.get("first")))

    def create(self, props: Properties) -> CreateResult:
        if props["text"] == "refused":
            raise RuntimeError(f"no file for {props['name']}")
        self._log(props, "create")
        self._path(props).write_text(str(props["text"]))
        return CreateResult(str(self._path(props)), {**props, "length": len(str(props["text"]))})

    def read(self, id_: str, props: Properties) -> ReadResult:
        path = Path(id_)
        if not path.exists():
            return ReadResult("", {**props})
        text = path.read_text()
        return ReadResult(id_, {**props, "text": text, "length": len(text)})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        if news["text"] == "refused":
            raise RuntimeError(f"no change for {news['name']}")
        self._log(news, "update")
        self._path(news).write_text(str(news["text"]))
        return UpdateResult({**news, "length": len(str(news["text"]))})

    def delete(self, id_: str, props: Properties) -> None:
        if (Path(props["folder"]) / "stuck").exists():
            raise RuntimeError(f"{props['name']} is stuck")
        self._log(props, "delete")
        Path(id_).unlink(missing_ok=True)

    def _path(self, props: Properties) -> Path:
        return Path(props["folder"]) / props["name"]

    def _log(self, props: Properties, what: str) -> None:
        with (Path(props["folder"]) / "log").open("a") as log:
            log.write(f"{what} {props['name']}\n")


class MeetingProvider(ResourceProvider):
    """Makes and deletes one of two only while the other is being made or deleted too."""

    def create(self, props: Properties) -> CreateResult:
        self._meet(props, "create")
        return CreateResult(props["name"], props)

    def delete(self, _id: str, props: Properties) -> None:
        self._meet(props, "delete")

    def _meet(self, props: Properties, what: str) -> None:
        folder = Path(props["folder"])
        (folder / f"{what}-{props['name']}").touch()
        deadline = time.monotonic() + 30
        while not (folder / f"{what}-{props['other']}").exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{props['name']} is alone")
            time.sleep(0.01)


class Meeting(Resource):
    def __init__(self, name: str, folder: Path, other: str) -> None:
        super().__init__(MeetingProvider(), name, {"folder": str(folder), "name": name, "other": other})


class ComparedFileProvider(FileProvider):
    """Leaves it to the engine to compare inputs."""

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        return DiffResult()


class File(Resource):
    text: pulumi.Output[str]
    name: pulumi.Output[str]
    length: pulumi.Output[int]

    def __init__(
        self,
        urn_name: str,
        folder: Path,
        text: pulumi.Input[str],
        *,
        name: pulumi.Input[str] | None = None,
        first: bool = False,
        note: pulumi.Input[str] | None = None,
        compared: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "folder": str(folder), "name": name or urn_name, "text": text, "first": first, "note": note, "length": None
        }  # fmt: skip
        super().__init__(ComparedFileProvider() if compared else FileProvider(), urn_name, props, opts)
