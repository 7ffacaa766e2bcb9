"""Run the benchmarks named on the command line (all without names), print a table, write benchmarks/results/."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.figure import Figure

FRAMEWORK = {"figure", "machine", "university", "__main__"}


def main(names: list[str]) -> int:
    console = Console()
    known = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in FRAMEWORK)
    if unknown := set(names) - set(known):
        console.print(f"No benchmark called {', '.join(sorted(unknown))}; there are: {', '.join(known)}.", style="red")
        return 2
    figures: list[Figure] = []
    for name in names or known:
        with console.status(f"measuring {name}"):
            figures += importlib.import_module(f"benchmarks.{name}").measure()
    console.print(_table(figures))
    console.print(f"Written to {_write(figures)}")
    return 0


def _table(figures: list[Figure]) -> Table:
    table = Table(title=f"{os.cpu_count()} cores, Python {platform.python_version()}")
    for heading in ("promise", "median", "min", "max", "bound", "of bound", "note"):
        table.add_column(heading, justify="left" if heading in ("promise", "note") else "right")
    for figure in figures:
        share = figure.ratio
        colour = "" if share is None else "green" if share <= 1 else "red"
        table.add_row(
            figure.name,
            f"{figure.median:.2f} {figure.unit}",
            f"{min(figure.samples):.2f}",
            f"{max(figure.samples):.2f}",
            "" if figure.bound is None else f"{figure.bound:g} {figure.unit}",
            "" if share is None else f"[{colour}]{share:.0%}[/]",
            figure.note,
        )
    return table


def _write(figures: list[Figure]) -> Path:
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "time": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "median": figure.median,
                "samples": figure.samples,
                "bound": figure.bound,
                "note": figure.note,
                "detail": figure.detail,
            }
            for figure in figures
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
