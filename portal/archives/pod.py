"""What a Job on a cluster runs: copies the homes that are mounted into its pod, and tells what came of each.

It runs with Python's own library, boto3 and zstandard alone, from a zip file of the few modules that it needs
(`portal.archives.bundle`). It tells by lines of JSON: `{"home", "facts"}` or `{"home", "failure", "kind"}` for each
home, and `{"store"}` where the store keeps nothing, which ends it. The lines go to the pod's log, where they can be
read as they come, and into its last words, which the cluster keeps with the pod where a log cannot be reached.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

from course_stack.hub_files.trust import bundle
from course_stack.object_store import ObjectStoreError
from portal.archives.copy import Order, Outcome, archive_homes
from portal.archives.pack import ArchiveDamaged, ArchiveFacts
from portal.archives.store import CREDENTIALS, ArchiveStore
from portal.archives.walk import HomeUnreadable, Skipped, walk

ORDER = "order.json"
"""`{"store": ObjectStoreTarget, "bucket", "homes": [Order]}`, in the order's folder."""
AUTHORITY = "authority.crt"
"""Beside it, where the target names an authority that vouches for the store."""
_KINDS = {kind.__name__: kind for kind in (HomeUnreadable, ArchiveDamaged)}
_MOST_TOLD = 3
_LONGEST = 200
"""Bounds on what a line tells: a container's log breaks lines of 16 KiB, and last words end at 4 KiB."""


def main(order: Path, key: Path, homes: Path, last_words: Path) -> int:
    """Carry out the order; folders as the pod has them: the order's, the store's key's, and that of the homes."""
    signal.signal(signal.SIGTERM, _end)

    def tell(content: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(content) + "\n")
        sys.stdout.flush()
        with last_words.open("a") as file:
            file.write(json.dumps(brief(content), separators=(",", ":")) + "\n")

    if (authority := order / AUTHORITY).is_file():
        os.environ.update(bundle(authority.read_text(), Path.cwd() / "authorities.crt"))
    content = json.loads((order / ORDER).read_text())
    access = json.loads((key / CREDENTIALS).read_text())
    place = cast(Any, SimpleNamespace(**content["store"]))
    store = ArchiveStore(place, content["bucket"], access["access_key_id"], access["secret_access_key"])
    orders = [Order(**one) for one in content["homes"]]
    try:
        # a volume's own folder belongs to root: the person's account is ours
        for home, outcome in archive_homes(lambda home: walk(homes / home, os.getuid()), orders, store):
            tell(line(home, outcome))
    except ObjectStoreError as error:
        tell({"store": str(error)})
        return 1
    return 0


def line(home: str, outcome: ArchiveFacts | Exception) -> dict[str, Any]:
    """The outcome as it is told."""
    if not isinstance(outcome, ArchiveFacts):
        return {"home": home, "failure": str(outcome), "kind": type(outcome).__name__}
    told = [
        {"path": ascii(one.path)[1:-1][:_LONGEST], "why": one.why[:_LONGEST]}
        for one in outcome.first_skipped[:_MOST_TOLD]
    ]
    return {"home": home, "facts": {**asdict(outcome), "first_skipped": told}}


def brief(content: Mapping[str, Any]) -> dict[str, Any]:
    """What is told, in few words."""
    if "facts" in content:
        return {**content, "facts": {**content["facts"], "first_skipped": []}}
    return {name: text[:_LONGEST] for name, text in content.items()}


def outcome_of(told: Mapping[str, Any]) -> Outcome:
    """The outcome of a line. Raises `ObjectStoreError` where that was told, and `ValueError` for anything else."""
    if "store" in told:
        raise ObjectStoreError(str(told["store"]))
    try:
        home = str(told["home"])
        if "failure" in told:
            return home, _KINDS[told["kind"]](str(told["failure"]))
        facts = {field.name: told["facts"][field.name] for field in fields(ArchiveFacts)}
        return home, ArchiveFacts(**{**facts, "first_skipped": tuple(Skipped(**one) for one in facts["first_skipped"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an outcome: {told}") from error


def _end(_number: int, _frame: FrameType | None) -> None:
    """What is under way is given up in order: nothing half written stays at the store."""
    raise SystemExit(128 + signal.SIGTERM)
