"""A worker in a process of its own, on real stacks of a small program: `python -m tests.portal.operations.real`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from automation.job import Timing
from automation.lease import Leases
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from course_stack.local.layout import Layout
from course_stack.target import Target
from portal import logs
from portal.config import PortalSettings
from portal.operations.kinds import Kind
from portal.worker.kinds import EngineWork
from portal.worker.main import run
from portal.worker.stacks import Stacks
from tests.automation.tiny import program as tiny_program


def things(home: Path, slug: str) -> Path:
    """Folder of a course's files; `slow.json` in it says where the provider dwells (`TinySpec.slow`)."""
    return home / "things" / slug


def program(spec: dict[str, Any], target: dict[str, Any], rotation: str) -> Callable[[], None]:
    """Two files in place of a hub."""
    folder = things(Path(target["home"]), spec["slug"])
    slow = folder / "slow.json"
    tiny = {
        "slug": spec["slug"],
        "folder": str(folder),
        "slow": json.loads(slow.read_text()) if slow.exists() else {},
    }
    inner = tiny_program(tiny, target, rotation)

    def all_of_it() -> None:
        import pulumi

        inner()
        url = Target.model_validate(target).hub_url(spec["slug"])
        pulumi.export("hub_url", url)
        pulumi.export("api_url", f"{url}hub/api")
        pulumi.export("api_token", pulumi.Output.secret("very-secret-value"))

    return all_of_it


class Here:
    """A place whose state is a folder."""

    def __init__(self, target: Target) -> None:
        assert target.home is not None
        self._target, self._layout = target, Layout(target.home)

    def stacks(self, leases: Leases | None = None) -> Stacks:
        state = StateSettings.model_validate(
            {"url": (self._layout.home / "state").as_uri(), "passphrase": "correct horse battery staple"}
        )
        timing = Timing(deadline=120, graceful=20, abandoned=1, abort=2)
        name = "tests.portal.operations.real:program"
        return CourseStacks(state, self._target, self._layout, leases=leases, timing=timing, program=name)

    def traces(self, slug: str) -> Sequence[str]:
        return [path.name for path in things(self._layout.home, slug).iterdir() if path.name in ("one", "two")]


def main() -> None:
    logs.configure()
    engine = EngineWork(Here, last_archives=lambda _: {})
    works = {Kind.DEPLOY: engine.deploy, Kind.DESTROY: engine.destroy, Kind.CHECK: lambda _: {}}
    run(PortalSettings(), threading.Event(), works, beside=[])


if __name__ == "__main__":
    main()
