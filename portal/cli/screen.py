"""What a person sees: one console for results, one for complaints, and the two ways in which long work shows itself."""

from __future__ import annotations

import time
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from automation.events import Event

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

BAD_INPUT = 2
FAILED = 1


def complain(error: Exception) -> int:
    """Say what went wrong in one sentence and return the exit code; an error that nobody foresaw is raised again."""
    from automation.failures import OperationFailed
    from automation.lease import Busy
    from automation.settings import SettingsError
    from course_stack.credentials import CredentialsError
    from course_stack.identity import IdentityError
    from course_stack.kubernetes.api import ClusterError
    from course_stack.local.machine import MachineError
    from course_stack.local.services import ServiceError
    from course_stack.local.supervisor import SupervisorError
    from course_stack.object_store import ObjectStoreError
    from course_stack.spec import SpecError

    match error:
        case SpecError() | MachineError() | SettingsError():
            err.print(Text(str(error), style="red"), soft_wrap=True)
            return BAD_INPUT
        case OperationFailed() as failure:
            err.print(Text(str(failure), style="red"), soft_wrap=True)
            if failure.log:
                err.print(Text(f"The whole log: {failure.log}", style="dim"), soft_wrap=True)
            return FAILED
        case (
            Busy()
            | ClusterError()
            | CredentialsError()
            | IdentityError()
            | ObjectStoreError()
            | ServiceError()
            | SupervisorError()
        ):
            err.print(Text(str(error), style="red"), soft_wrap=True)
            return FAILED
        case _:
            raise error


def moment(time: datetime | None) -> str:
    """A point in time in this machine's time zone; nothing for none."""
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


class Checklist:
    """A line for each thing that is under way: what it does now, and how long it took. On a screen it is redrawn in
    place; anywhere else each change is a line of its own."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rows: dict[str, tuple[str, float, float | None]] = {}
        self._live = Live(console=out, refresh_per_second=8, get_renderable=self._draw) if out.is_terminal else None

    def report(self, name: str, state: str, *, done: bool | None = None) -> None:
        """`name` is now `state`; it counts as done when it is `ready`, or as `done` says."""
        now = time.monotonic()
        _, begun, _ = self._rows.get(name, ("", now, None))
        finished = (state == "ready") if done is None else done
        self._rows[name] = (state, begun, now if finished else None)
        if self._live is None:
            out.print(f"{self._title}: {name}: {state}", markup=False)

    def note(self, text: str) -> None:
        """A remark; it stays on the screen above the list."""
        out.print(Text(f"{self._title}: {text}", style="dim"))

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def _draw(self) -> Table:
        table = Table(title=self._title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.show_header = False
        now = time.monotonic()
        for name, (state, begun, ended) in self._rows.items():
            mark = "[green]✓[/]" if ended else "[yellow]…[/]"
            table.add_row(
                mark, name, Text(state, style="green" if ended else ""), f"[dim]{(ended or now) - begun:.1f} s[/]"
            )
        return table


class Operation(Checklist):
    """The resources of a running operation, one line each; call it with every event."""

    def __call__(self, event: Event) -> None:
        """Show one event. Steps that leave a resource as it is are not worth a line."""
        from automation.events import Finished, ResourceStep, Started, Warned

        match event:
            case Started(engine=engine):
                self.note(engine)
            case Warned(text=text):
                self.note(text)
            case ResourceStep(action="same"):
                pass
            case ResourceStep(name=name, action=action, state=state):
                self.report(name, f"{action}{_ENDINGS[state]}", done=state == "done")
            case Finished(seconds=seconds):
                self.note(f"{seconds:.1f} s")
            case _:
                pass


_ENDINGS = {"begun": "", "done": ": done", "failed": ": failed"}
